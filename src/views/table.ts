/** Columns of text. */
import { escapeControls } from "../byte-path.ts";

export interface Column<Row> {
  readonly title: string;
  readonly right?: boolean;
  cell(row: Row): string;
}

/** A header line and a line a row, columns three spaces apart, as engines print them. Control characters are escaped. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((c) => escapeControls(c.cell(row)))),
  ];
  const widths = columns.map((_, i) =>
    lines.reduce((width, line) => Math.max(width, displayWidth(line[i]!)), 0),
  );
  return lines
    .map((line) =>
      line
        .map((cell, i) => {
          const fill = " ".repeat(widths[i]! - displayWidth(cell));
          return columns[i]!.right ? fill + cell : cell + fill;
        })
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

/** Columns on a terminal: wide East Asian characters take two. */
function displayWidth(text: string): number {
  let width = 0;
  for (const char of text)
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(
        char,
      )
        ? 2
        : 1;
  return width;
}

/** Cuts at `limit` characters, an ellipsis at the end, as `docker images` does. */
export function ellipsis(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** A path for a column: digests in it cut to twelve digits, as IDs are shown. */
export function shortPath(path: string): string {
  return path.replace(/([0-9a-f]{12})[0-9a-f]{20,}/g, "$1…");
}
