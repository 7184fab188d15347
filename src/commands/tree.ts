import { shortId, titleOf } from "../analyses/holdings.ts";
import { layerTree, type TreeRow } from "../analyses/tree.ts";
import { escapeControls } from "../byte-path.ts";
import { formatApparent, paint } from "../views/style.ts";
import { plural } from "../views/units.ts";
import { type Command, type JsonObject, sizeJson } from "./command.ts";

type Options = Record<string, never>;
interface Result {
  readonly rows: readonly TreeRow[];
  /** Images without layers, which stand in no tree. */
  readonly bare: readonly string[];
}

export const command: Command<Options, Result> = {
  takes: "sources",
  flags(flags) {
    flags.option("--recorded", "sizes as the engine has recorded them: quick, without walking the layers");
  },
  options: () => ({}),
  need: () => "index",
  async analyse(holdings) {
    const images = holdings.images.map((id) => holdings.image(id));
    const bare = images.filter((image) => image.layers.length === 0).map(titleOf);
    return { rows: layerTree(holdings), bare };
  },
  text({ rows, bare }, style) {
    const last = lastChildren(rows);
    const lines: string[] = [];
    const bars: string[] = [];
    let source: string | null = null;
    for (const [i, row] of rows.entries()) {
      if (row.depth === 0 && row.source !== source) {
        source = row.source;
        lines.push(paint(style, "bold", escapeControls(source)));
      }
      const ends = last.has(i);
      // A chain of layers thousands deep would not fit a line: deeper ones say how deep they are.
      const shown = Math.min(row.depth, DEEPEST);
      const indent =
        row.depth > DEEPEST
          ? `${bars.slice(0, shown).join("")}(${row.depth} deep) `
          : bars.slice(0, row.depth).join("");
      bars[row.depth] = ends ? "   " : "│  ";
      const name = row.diffId ? shortId(row.diffId) : "layer";
      const sizes = `${formatApparent(row.size, style)} (${formatApparent(row.cumulative, style)} in all)`;
      const users = row.users > 1 ? `  ${paint(style, "dim", plural(row.users, "image"))}` : "";
      const tops =
        row.tops.length > 0 ? `  ${paint(style, "green", escapeControls(row.tops.join(", ")))}` : "";
      lines.push(`${indent}${ends ? "└─ " : "├─ "}${name}  ${sizes}${users}${tops}`);
    }
    if (bare.length > 0) lines.push(`without layers: ${escapeControls(bare.join(", "))}`);
    return lines.join("\n");
  },
  json: ({ rows, bare }) => ({ layers: rows.map(rowJson), withoutLayers: bare }),
  exitCode: () => 0,
};

const DEEPEST = 60;

/** Rows that no sibling follows. */
function lastChildren(rows: readonly TreeRow[]): Set<number> {
  const lastOf = new Map<string, number>();
  rows.forEach((row, i) => {
    lastOf.set(row.parent === null ? `source ${row.source}` : `${row.parent}`, i);
  });
  return new Set(lastOf.values());
}

function rowJson(row: TreeRow, number: number): JsonObject {
  const { parent, depth, source, diffId, chainId, users, tops } = row;
  const sizes = { size: sizeJson(row.size), cumulative: sizeJson(row.cumulative) };
  return { number, parent, depth, source, diffId, chainId, ...sizes, images: users, tops };
}
