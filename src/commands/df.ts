import { type DfEntry, type DfResult, df } from "../analyses/df.ts";
import { type EngineUsage, engineUsage } from "../analyses/engine-usage.ts";
import { escapeControls } from "../byte-path.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { type Column, renderTable } from "../views/table.ts";
import { formatBytes } from "../views/units.ts";
import {
  type Command,
  type JsonObject,
  optionalText,
  parseCount,
  type RawOptions,
  sizeJson,
  sortRows,
} from "./command.ts";
import { engineJson, engineTables } from "./engine-tables.ts";
import { shellQuote } from "./plan-script.ts";

interface Options {
  readonly list: boolean;
  readonly top: number | null;
  readonly sort: string | null;
  readonly sources: readonly string[];
}

interface Result extends DfResult {
  /** Null unless everything is listed. */
  readonly engine: EngineUsage | null;
  readonly sources: readonly string[];
  readonly remarks: readonly string[];
}

export const command: Command<Options, Result> = {
  takes: "sources",
  sorts: true,
  flags(flags) {
    flags.option(
      "-v, --verbose",
      "list containers, volumes, build cache, and every place behind the headings",
    );
    flags.option("--top <n>", "the N largest files");
  },
  options: (raw: RawOptions) => ({
    list: raw.verbose === true,
    top: parseCount(raw.top, "--top"),
    sort: optionalText(raw.sort),
    sources: raw.sources as readonly string[],
  }),
  need: () => "index",
  async analyse(holdings, options) {
    const result = df(holdings, options);
    const categories = sortRows(result.categories, options.sort, categoryJson);
    const remarks = holdings.stores.flatMap((store) => store.remarks);
    const engine = options.list ? engineUsage(holdings) : null;
    return { ...result, engine, categories, remarks, sources: options.sources };
  },
  largest: ({ top }) => top ?? 0,
  text(result, style) {
    const lines = [dfTable(result, style)];
    if (result.engine) lines.push(...engineTables(result.engine, style));
    if (result.entries.length > 0) lines.push("", entryTable(result.entries, style));
    if (result.remarks.length > 0) lines.push("", ...noteLines(result.remarks));
    const next = nextCommand("ullage plan", result.sources);
    return next === null ? lines.join("\n") : [...lines, "", paint(style, "dim", `next: ${next}`)].join("\n");
  },
  json: (result) => ({ ...dfJson(result), ...(result.engine ? engineJson(result.engine) : {}) }),
  exitCode: () => 0,
};

/** What must be told about the sizes; it names files, whose names may hold anything. */
export function noteLines(remarks: readonly string[]): string[] {
  return remarks.map((remark) => escapeControls(`note: ${remark}`));
}

/** A command line on the same sources; null where it could not be typed, since standard input is read up. */
export function nextCommand(command: string, sources: readonly string[]): string | null {
  return sources.includes("-") ? null : escapeControls([command, ...sources.map(shellQuote)].join(" "));
}

/** The headings, their sum, and what is left over. */
export function dfTable(result: DfResult, style: TextStyle): string {
  const inodes = result.total.inodes !== null;
  type Line = { name: string; count: string; size: string; apparent: string; free: string; inodes: string };
  const columns: Column<Line>[] = [
    { title: "WHAT", cell: (line) => line.name },
    { title: "COUNT", right: true, cell: (line) => line.count },
    { title: "SIZE", right: true, cell: (line) => line.size },
    { title: "APPARENT", right: true, cell: (line) => line.apparent },
    ...(inodes ? [{ title: "INODES", right: true, cell: (line: Line) => line.inodes }] : []),
    { title: "RECLAIMABLE", right: true, cell: (line) => line.free },
  ];
  const lines: Line[] = result.categories.map((category) => ({
    name: category.name,
    count: String(category.count),
    size: formatSize(category.size, style),
    apparent: formatBytes(category.size.apparent, style.units),
    free: formatSize(category.reclaimable, style),
    inodes: String(category.size.inodes ?? ""),
  }));
  lines.push({
    name: "total",
    count: "",
    size: formatSize(result.total, style),
    apparent: formatBytes(result.total.apparent, style.units),
    free: "",
    inodes: String(result.total.inodes ?? ""),
  });
  if (result.residual !== null) {
    lines.push({
      name: "unaccounted",
      count: "",
      size: formatBytes(result.residual, style.units),
      apparent: "",
      free: "",
      inodes: "",
    });
  }
  if (result.compressedBytes !== null) {
    const size = formatBytes(result.compressedBytes, style.units);
    lines.push({ name: "on disk, compressed", count: "", size, apparent: "", free: "", inodes: "" });
  }
  return renderTable(columns, lines);
}

function entryTable(entries: readonly DfEntry[], style: TextStyle): string {
  return renderTable<DfEntry>(
    [
      { title: "SIZE", right: true, cell: (entry) => formatSize(entry.size, style) },
      { title: "WHAT", cell: (entry) => entry.heading },
      { title: "IMAGES", right: true, cell: (entry) => String(entry.users) },
      { title: "WHERE", cell: (entry) => `${entry.source}: ${entry.what}` },
    ],
    entries,
  );
}

function categoryJson(category: DfResult["categories"][number]): JsonObject {
  const { name, count, size, reclaimable } = category;
  return { name, count, size: sizeJson(size), reclaimable: sizeJson(reclaimable) };
}

export function dfJson(result: DfResult): JsonObject {
  const { filesystem, residual } = result;
  const entries = result.entries.map(({ heading, source, what, size, users }) => ({
    category: heading,
    source,
    path: what,
    size: sizeJson(size),
    images: users,
  }));
  return {
    categories: result.categories.map(categoryJson),
    total: sizeJson(result.total),
    filesystem: filesystem && { ...filesystem },
    residual,
    compressedBytes: result.compressedBytes,
    ...(entries.length > 0 ? { entries } : {}),
  };
}
