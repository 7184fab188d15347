/**
 * Aligns tab-terminated cells, after docker's cli/command/formatter/tabwriter (Go's text/tabwriter, with display
 * widths) as docker's tables use it: minwidth 10, padding 3, spaces.
 */

const minWidth = 10;
const padding = 3;

/**
 * A column is a run of lines that have a cell there with a tab after it, so a line with fewer tabs parts the columns
 * above from those below; text after a line's last tab is in no column. A form feed is a newline that parts too.
 */
export function alignColumns(text: string): string {
  return text.split("\f").map(alignSection).join("\n");
}

function alignSection(text: string): string {
  const lines = text.split("\n").map((line) => line.split(/[\t\v]/));
  let open: { width: number }[] = [];
  const columns = lines.map((cells) => {
    open = cells.slice(0, -1).map((cell, index) => {
      const column = open[index] ?? { width: minWidth };
      column.width = Math.max(column.width, displayWidth(cell) + padding);
      return column;
    });
    return open;
  });
  return lines.map((cells, index) => alignLine(cells, columns[index] ?? [])).join("\n");
}

function alignLine(cells: readonly string[], columns: readonly { width: number }[]): string {
  return cells
    .map((cell, index) => cell + " ".repeat(Math.max(0, (columns[index]?.width ?? 0) - displayWidth(cell))))
    .join("");
}

const segmenter = new Intl.Segmenter();
const printableAscii = /^[ -~]*$/;
const invisible = /^[\p{Cc}\p{Cf}\p{Mn}\p{Me}]*$/u;
/** East Asian wide and full-width characters (Unicode's EastAsianWidth.txt, in coarse ranges) and emoji. */
const wide =
  /^(?:[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation})/u;

/** Columns on a terminal. */
function displayWidth(text: string): number {
  if (printableAscii.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) {
    if (!invisible.test(segment)) width += wide.test(segment) ? 2 : 1;
  }
  return width;
}
