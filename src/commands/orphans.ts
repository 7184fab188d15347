import { held } from "../analyses/df.ts";
import { type OrphanRow, orphans } from "../analyses/orphans.ts";
import { displayPath, escapeControls } from "../byte-path.ts";
import { sumSizes } from "../graph/graph.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { renderTable, shortPath } from "../views/table.ts";
import { plural } from "../views/units.ts";
import {
  type Command,
  type JsonObject,
  optionalText,
  type RawOptions,
  sizeJson,
  sortRows,
} from "./command.ts";

interface Options {
  readonly all: boolean;
  readonly sort: string | null;
}

interface Result {
  readonly rows: readonly OrphanRow[];
  readonly severalSources: boolean;
}

const SHOWN = 12;

export const command: Command<Options, Result> = {
  takes: "sources",
  sorts: true,
  flags(flags) {
    flags.option("-v, --verbose", "every place, with all that shows it");
  },
  options: (raw: RawOptions) => ({ all: raw.verbose === true, sort: optionalText(raw.sort) }),
  need: () => "index",
  async analyse(holdings, options) {
    const found = orphans(holdings).sort((a, b) => held(b.size) - held(a.size));
    return { rows: sortRows(found, options.sort, rowJson), severalSources: holdings.stores.length > 1 };
  },
  text({ rows, severalSources }, style, { all }) {
    if (rows.length === 0) return "nothing here that nothing refers to";
    const causes = new Map<string, OrphanRow[]>();
    for (const row of rows) causes.set(row.cause, [...(causes.get(row.cause) ?? []), row]);
    const parts = [...causes].map(([cause, group]) => causeText(cause, group, style, all, severalSources));
    const total = `${formatSize(sumSizes(rows.map((row) => row.size)), style)} in ${plural(rows.length, "place")} that nothing wants`;
    return [paint(style, "bold", total), ...parts].join("\n\n");
  },
  json: ({ rows }) => ({ orphans: rows.map(rowJson) }),
  exitCode: () => 0,
};

function causeText(
  cause: string,
  rows: readonly OrphanRow[],
  style: TextStyle,
  all: boolean,
  severalSources: boolean,
): string {
  const safe = rows.filter((row) => row.safe).length;
  const verdict =
    safe === rows.length
      ? paint(style, "green", "safe to delete with the engine stopped")
      : paint(
          style,
          "yellow",
          safe === 0 ? "not safe: somebody may want it" : `${safe} of them safe to delete`,
        );
  const shown = all ? rows : rows.slice(0, SHOWN);
  const table = renderTable<OrphanRow>(
    [
      { title: "SIZE", right: true, cell: (row) => formatSize(row.size, style) },
      { title: "INODES", right: true, cell: (row) => String(row.size.inodes ?? "") },
      { title: "WHAT", cell: (row) => row.kind },
      {
        title: "WHERE",
        cell: (row) =>
          (severalSources ? `${row.source}: ` : "") +
          (all ? displayPath(row.path) : shortPath(displayPath(row.path))),
      },
    ],
    shown,
  );
  const evidence = [...new Set(rows.flatMap((row) => (all ? row.evidence : row.evidence.slice(0, 1))))];
  const told = evidence.slice(0, all ? evidence.length : 3).map((one) => escapeControls(`  ${one}`));
  const unsaid = evidence.length - told.length;
  const more = rows.length - shown.length;
  return [
    `${paint(style, "bold", cause)}: ${formatSize(sumSizes(rows.map((row) => row.size)), style)}; ${verdict}`,
    ...told,
    ...(unsaid > 0 ? [`  and ${unsaid} more like that; -v tells them`] : []),
    table,
    ...(more > 0 ? [`and ${more} more; -v lists them`] : []),
  ].join("\n");
}

function rowJson({ source, path, kind, cause, evidence, size, safe }: OrphanRow): JsonObject {
  return { source, path: displayPath(path), kind, cause, evidence, size: sizeJson(size), safe };
}
