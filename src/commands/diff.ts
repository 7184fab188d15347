import { type DiffFile, type DiffResult, type DiffSide, diff, type Tally } from "../analyses/diff.ts";
import { type Holdings, unitId } from "../analyses/holdings.ts";
import type { OwnChange } from "../analyses/own-changes.ts";
import { displayPath, escapeControls } from "../byte-path.ts";
import { UsageError } from "../errors.ts";
import type { Size } from "../graph/graph.ts";
import { formatApparent, paint, type TextStyle } from "../views/style.ts";
import { renderTable } from "../views/table.ts";
import { formatBytes, plural } from "../views/units.ts";
import {
  type Command,
  type JsonObject,
  optionalText,
  parseCount,
  type RawOptions,
  sizeJson,
} from "./command.ts";

interface Options {
  readonly names: readonly string[];
  readonly platform: string | null;
  readonly top: number;
  readonly depth: number;
}

interface Result {
  readonly found: DiffResult;
  readonly holdings: Holdings;
}

export const command: Command<Options, Result> = {
  takes: "images",
  flags(flags) {
    flags.option("--top <n>", "how many files and folders to name", "20");
    flags.option("--depth <n>", "how deep folders are told apart", "2");
    flags.option("--platform <os/arch>", "which of the images below an index");
  },
  options(raw: RawOptions, names) {
    if (names.length > 2) throw new UsageError(`diff compares two, not ${names.length}`);
    const [top, depth] = [parseCount(raw.top, "--top") ?? 20, parseCount(raw.depth, "--depth") ?? 2];
    return { names, platform: optionalText(raw.platform), top, depth };
  },
  need: () => "content",
  async analyse(holdings, options, run) {
    return { found: await diff(holdings, options, run), holdings };
  },
  text: ({ found }, style, options) => diffText(found, style, options),
  json: ({ found, holdings }) => diffJson(found, holdings),
  exitCode: ({ found }) => (found.unread.length > 0 ? 4 : 0),
};

function diffText(found: DiffResult, style: TextStyle, { top }: Options): string {
  const { a, b, changes } = found;
  const parts = [
    [sideText("A", a, style), sideText("B", b, style), "", summaryTable(found, style)].join("\n"),
  ];
  if (changes) parts.push(changesText(changes, found, style, top));
  else parts.push(...filesText(found, style));
  if (found.unread.length > 0)
    parts.push(found.unread.map((one) => escapeControls(`not read: ${one}`)).join("\n"));
  if (found.remarks.length > 0) parts.push(found.remarks.map(escapeControls).join("\n"));
  return parts.filter((part) => part !== "").join("\n\n");
}

function sideText(letter: string, side: DiffSide, style: TextStyle): string {
  const platform = side.platform === null ? "" : `, ${side.platform}`;
  const size = `${formatApparent(side.files, style)} in ${plural(side.files.inodes!, "inode")}`;
  const title = paint(style, "bold", escapeControls(side.title));
  return `${letter}  ${title}  ${escapeControls(`${side.source}${platform}: ${size}`)}`;
}

interface SummaryRow {
  readonly what: string;
  readonly a: Size | null;
  readonly b: Size | null;
}

function summaryTable(found: DiffResult, style: TextStyle): string {
  const both = (what: string, { a, b }: Tally): SummaryRow => ({ what, a, b });
  const all: SummaryRow[] = [
    both("the same files", found.same),
    { what: "only in A", a: found.onlyA, b: null },
    { what: "only in B", a: null, b: found.onlyB },
    both("changed", found.changed),
    both("same content, kept twice", found.sameContent),
    { what: "all", a: found.a.files, b: found.b.files },
  ];
  const rows = all.filter(({ a, b }) =>
    [a, b].some((size) => size && (size.apparent > 0 || size.inodes! > 0)),
  );
  const bytes = (size: Size | null): string => (size === null ? "" : formatApparent(size, style));
  const inodes = (size: Size | null): string => (size === null ? "" : String(size.inodes));
  const table = renderTable<SummaryRow>(
    [
      { title: "FILES", cell: (row) => row.what },
      { title: "A", right: true, cell: (row) => bytes(row.a) },
      { title: "B", right: true, cell: (row) => bytes(row.b) },
      { title: "B - A", right: true, cell: (row) => deltaText(row.a?.apparent, row.b?.apparent, style) },
      { title: "INODES A", right: true, cell: (row) => inodes(row.a) },
      { title: "INODES B", right: true, cell: (row) => inodes(row.b) },
    ],
    rows,
  );
  const { common, onlyA, onlyB } = found.layers;
  const sum = ({ count, size }: DiffResult["layers"]["common"]): string =>
    count === 0 ? "0" : `${count} (${formatApparent(size, style)})`;
  return `${table}\n\nlayers: ${sum(common)} in common, ${sum(onlyA)} only in A, ${sum(onlyB)} only in B`;
}

function deltaText(a: number | undefined, b: number | undefined, style: TextStyle): string {
  return signed((b ?? 0) - (a ?? 0), style);
}

function signed(bytes: number, style: TextStyle): string {
  return `${bytes > 0 ? "+" : ""}${formatBytes(bytes, style.units)}`;
}

function filesText(found: DiffResult, style: TextStyle): string[] {
  const differing = found.files.filter((file) => file.status !== "same-content");
  const alike = found.files.filter((file) => file.status === "same-content");
  if (found.fileCount === 0 && found.sameContent.count === 0)
    return found.unread.length > 0 ? [] : ["no file differs"];
  const parts: string[] = [];
  if (differing.length > 0) {
    const more = found.fileCount - differing.length;
    parts.push(filesTable(differing, style) + (more > 0 ? `\nand ${more} more` : ""));
  }
  if (alike.length > 0) {
    const head = paint(style, "bold", "Same content, kept in a layer of each");
    const more = found.sameContent.count - alike.length;
    parts.push(`${head}\n${alikeTable(alike, style)}${more > 0 ? `\nand ${more} more` : ""}`);
  }
  // Of a single folder the files have said it all.
  if (found.folders.length > 1) parts.push(foldersTable(found, style));
  return parts;
}

function filesTable(files: readonly DiffFile[], style: TextStyle): string {
  const bytes = (isThere: boolean, count: number): string => (isThere ? formatBytes(count, style.units) : "");
  return renderTable<DiffFile>(
    [
      { title: "STATUS", cell: (file) => file.status },
      { title: "A", right: true, cell: (file) => bytes(file.status !== "added", file.bytesA) },
      { title: "B", right: true, cell: (file) => bytes(file.status !== "removed", file.bytesB) },
      { title: "B - A", right: true, cell: (file) => signed(file.bytesB - file.bytesA, style) },
      { title: "FILE", cell: (file) => displayPath(file.path) },
    ],
    files,
  );
}

function alikeTable(files: readonly DiffFile[], style: TextStyle): string {
  return renderTable<DiffFile>(
    [
      { title: "SIZE", right: true, cell: (file) => formatBytes(file.bytesB, style.units) },
      { title: "FILE", cell: (file) => displayPath(file.path) },
    ],
    files,
  );
}

function foldersTable({ folders }: DiffResult, style: TextStyle): string {
  return renderTable<DiffResult["folders"][number]>(
    [
      { title: "FILES", right: true, cell: (one) => String(one.count) },
      { title: "A", right: true, cell: (one) => formatBytes(one.bytesA, style.units) },
      { title: "B", right: true, cell: (one) => formatBytes(one.bytesB, style.units) },
      { title: "B - A", right: true, cell: (one) => signed(one.bytesB - one.bytesA, style) },
      { title: "FOLDER", cell: (one) => displayPath(one.path) || "/" },
    ],
    folders,
  );
}

/** As `docker diff` lists them, with what each takes; the largest first. */
function changesText(
  changes: readonly OwnChange[],
  { sameContent, unread }: DiffResult,
  style: TextStyle,
  top: number,
): string {
  if (changes.length === 0) return unread.length > 0 ? "" : "it has changed nothing";
  const largest = [...changes].sort(
    (x, y) => y.bytesB - x.bytesB || y.bytesA - x.bytesA || (x.path < y.path ? -1 : 1),
  );
  const shown = largest.slice(0, top);
  const table = renderTable<OwnChange>(
    [
      { title: "CHANGE", cell: ({ kind }) => kind },
      {
        title: "IMAGE",
        right: true,
        cell: (one) => (one.kind === "A" ? "" : formatBytes(one.bytesA, style.units)),
      },
      {
        title: "CONTAINER",
        right: true,
        cell: (one) => (one.kind === "D" ? "" : formatBytes(one.bytesB, style.units)),
      },
      { title: "PATH", cell: ({ path }) => `/${displayPath(path)}` },
    ],
    shown,
  );
  const more = changes.length - shown.length;
  const lines = shown.length > 0 ? [table] : [];
  if (more > 0) lines.push(`and ${more} more; --json lists them all`);
  if (sameContent.b.apparent > 0) {
    const bytes = formatBytes(sameContent.b.apparent, style.units);
    lines.push(`${bytes} of it are copies of what the image has: only mode, owner or times are others`);
  }
  return lines.join("\n");
}

function diffJson(found: DiffResult, holdings: Holdings): JsonObject {
  const tally = ({ count, a, b }: Tally): JsonObject => ({ count, a: sizeJson(a), b: sizeJson(b) });
  const layers = ({ count, size }: DiffResult["layers"]["common"]): JsonObject => ({
    count,
    size: sizeJson(size),
  });
  return {
    a: sideJson(found.a, holdings),
    b: sideJson(found.b, holdings),
    layers: {
      common: layers(found.layers.common),
      onlyA: layers(found.layers.onlyA),
      onlyB: layers(found.layers.onlyB),
    },
    common: tally(found.same),
    onlyA: sizeJson(found.onlyA),
    onlyB: sizeJson(found.onlyB),
    changed: tally(found.changed),
    sameContent: tally(found.sameContent),
    delta: sizeJson(found.delta),
    fileCount: found.fileCount,
    files: found.files.map(({ path, status, bytesA, bytesB }) => {
      return { path: displayPath(path), status, bytesA, bytesB, delta: bytesB - bytesA };
    }),
    folders: found.folders.map(({ path, count, bytesA, bytesB }) => {
      return { path: displayPath(path), count, bytesA, bytesB, delta: bytesB - bytesA };
    }),
    changes:
      found.changes?.map(({ path, kind, bytesA, bytesB }) => {
        return { path: `/${displayPath(path)}`, kind, bytesA, bytesB };
      }) ?? null,
    unread: found.unread,
    remarks: found.remarks,
  };
}

function sideJson(side: DiffSide, holdings: Holdings): JsonObject {
  const node = side.node === null ? null : holdings.node(side.node);
  const names = node?.kind === "image" ? node.names : node?.kind === "container" ? [node.name] : [];
  return {
    kind: side.kind,
    id: node && unitId(node),
    names,
    source: side.source,
    platform: side.platform,
    files: sizeJson(side.files),
  };
}
