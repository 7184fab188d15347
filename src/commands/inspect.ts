import { findImages } from "../analyses/find-image.ts";
import { shortId } from "../analyses/holdings.ts";
import { type InspectedPlatform, type InspectResult, inspect } from "../analyses/inspect.ts";
import type { WasteResult } from "../analyses/waste.ts";
import { displayPath, escapeControls } from "../byte-path.ts";
import { formatApparent, formatSize, paint, type TextStyle } from "../views/style.ts";
import { ellipsis, renderTable, shortPath } from "../views/table.ts";
import { formatBytes, plural } from "../views/units.ts";
import { type Command, type JsonObject, parseCount, type RawOptions } from "./command.ts";
import { imageJson, layerJson } from "./images.ts";
import { shortList } from "./verify.ts";

interface Options {
  readonly names: readonly string[];
  readonly top: number;
  readonly fullText: boolean;
}

export const command: Command<Options, readonly InspectResult[]> = {
  takes: "images",
  flags(flags) {
    flags.option("--top <n>", "how many wasted files to name; 0 does not read the layers", "10");
    flags.option("--no-trunc", "whole commands of the history");
  },
  options: (raw: RawOptions, names) => ({
    names,
    top: parseCount(raw.top, "--top") ?? 10,
    fullText: raw.trunc === false,
  }),
  need: (options) => (options.top > 0 ? "content" : "index"),
  async analyse(holdings, options, run) {
    const images = [...new Set(options.names.flatMap((name) => findImages(holdings, name)))];
    return inspect(holdings, images, options, run);
  },
  text: (results, style, options) => results.map((one) => imageText(one, style, options)).join("\n\n"),
  json: (results) => ({ images: results.map(resultJson) }),
  exitCode: (results) => (results.some((one) => one.row.image.state === "damaged") ? 1 : 0),
};

function imageText({ row, platforms }: InspectResult, style: TextStyle, options: Options): string {
  const { image } = row;
  const names = image.names.length > 0 ? image.names.join(", ") : "<none>";
  const fields: [string, string][] = [
    ["id", image.imageId],
    ...(image.digests.length > 0 ? [["digests", image.digests.join(", ")] as [string, string]] : []),
    ["source", row.source],
    ["platform", image.platform ?? "unknown"],
    ["created", image.created ?? "unknown"],
    ["state", image.state],
    [
      "size",
      `${formatApparent(row.size, style)}, of which others share ${formatApparent(row.shared, style)}`,
    ],
    ["exclusive", `${formatSize(row.exclusive, style)} (what deleting it alone frees)`],
    ["attributed", `${formatSize(row.attributed, style)} (its even part of all that is shared)`],
  ];
  const head = fields.map(([name, value]) => `${name.padEnd(11)} ${escapeControls(value)}`);
  const absent = image.absent.map(
    (one) => `${one.verdict.padEnd(11)} ${one.what} ${escapeControls(`${one.name}: ${one.because}`)}`,
  );
  const parts = platforms
    .filter((one) => one.present)
    .map((one) => platformText(one, style, options, platforms.length > 1));
  return [paint(style, "bold", escapeControls(names)), ...head, ...absent, ...parts].join("\n");
}

function platformText(one: InspectedPlatform, style: TextStyle, options: Options, several: boolean): string {
  const lines = several ? ["", paint(style, "bold", one.platform)] : [];
  lines.push("", paint(style, "bold", "History, base first"), historyTable(one, style, options));
  lines.push("", paint(style, "bold", "Layers"), layerTable(one, style));
  if (one.waste) lines.push("", paint(style, "bold", "Wasted inside"), wasteText(one.waste, style));
  else if (one.unread !== null) lines.push("", `layers not read: ${escapeControls(one.unread)}`);
  return lines.join("\n");
}

function historyTable(one: InspectedPlatform, style: TextStyle, options: Options): string {
  const command = (text: string): string => {
    const shown = text.replace(/^\/bin\/sh -c (?:#\(nop\) +)?/, "").replace(/\s+/g, " ");
    return options.fullText ? shown : ellipsis(shown, 70);
  };
  return renderTable<InspectedPlatform["history"][number]>(
    [
      { title: "LAYER", right: true, cell: (step) => (step.layer === null ? "" : String(step.layer + 1)) },
      { title: "SIZE", right: true, cell: (step) => stepSize(one, step.layer, style) },
      { title: "CREATED", cell: (step) => (step.created ?? "").slice(0, 10) },
      { title: "STEP", cell: (step) => command(step.createdBy || step.comment) },
    ],
    one.history,
  );
}

function stepSize(one: InspectedPlatform, layer: number | null, style: TextStyle): string {
  const found = layer === null ? null : one.layers[layer];
  return found ? formatBytes(found.unpacked ?? found.size.apparent, style.units) : "0B";
}

function layerTable(one: InspectedPlatform, style: TextStyle): string {
  const lines = one.layers.map((layer, i) => ({ layer, i, waste: one.waste?.layers[i] ?? null }));
  return renderTable<(typeof lines)[number]>(
    [
      { title: "#", right: true, cell: ({ i }) => String(i + 1) },
      { title: "DIFF ID", cell: ({ layer }) => (layer.diffId ? shortId(layer.diffId) : "unknown") },
      {
        title: "STORED",
        right: true,
        cell: ({ layer }) => (layer.isFolder ? formatSize : formatApparent)(layer.size, style),
      },
      { title: "FILES", right: true, cell: ({ waste }) => (waste ? String(waste.fileCount) : "?") },
      {
        title: "WASTED",
        right: true,
        cell: ({ waste }) => (waste ? formatBytes(waste.wastedBytes, style.units) : "?"),
      },
      { title: "ALSO IN", cell: ({ layer }) => shortList(layer.sharedBy.map(shortId), 2) },
      { title: "WHERE", cell: ({ layer }) => (layer.path === null ? "not here" : shortPath(layer.path)) },
    ],
    lines,
  );
}

function wasteText(waste: WasteResult, style: TextStyle): string {
  const share = Math.round((1 - waste.efficiency) * 1000) / 10;
  const lines = [
    `${formatBytes(waste.wastedBytes, style.units)} of ${formatBytes(waste.fileBytes, style.units)} (${share}%) are files that later layers overwrite or delete`,
  ];
  for (const layer of waste.layers)
    if (layer.failure) lines.push(`not read to its end: ${escapeControls(layer.failure)}`);
  if (waste.worst.length === 0) return lines.join("\n");
  const table = renderTable<WasteResult["worst"][number]>(
    [
      { title: "WASTED", right: true, cell: (file) => formatBytes(file.bytes, style.units) },
      { title: "FILE", cell: (file) => displayPath(file.path) },
      { title: "IN LAYER", right: true, cell: (file) => String(file.layer + 1) },
      { title: "BY LAYER", right: true, cell: (file) => String(file.hiddenBy + 1) },
      {
        title: "HOW",
        cell: (file) =>
          file.copies > 1 ? `${file.fate}, ${plural(file.copies, "copy", "copies")}` : file.fate,
      },
    ],
    waste.worst,
  );
  return [...lines, table].join("\n");
}

function resultJson({ row, platforms }: InspectResult): JsonObject {
  const { absent } = row.image;
  const labels = { ...row.image.labels };
  return {
    ...imageJson(row),
    labels,
    absent: absent.map((one) => ({ ...one })),
    platforms: platforms.map(platformJson),
  };
}

function platformJson(one: InspectedPlatform): JsonObject {
  return {
    platform: one.platform,
    manifest: one.manifest,
    configDigest: one.configDigest,
    present: one.present,
    config: one.config,
    history: one.history.map((step) => ({
      ...step,
      digest: step.layer === null ? null : (one.layers[step.layer]?.diffId ?? null),
      size: step.layer === null ? null : (one.layers[step.layer]?.size.apparent ?? null),
    })),
    layers: one.layers.map((layer, i) => {
      const waste = one.waste?.layers[i];
      return {
        ...layerJson(layer),
        path: layer.path,
        files: waste?.fileCount ?? null,
        wasted: waste?.wastedBytes ?? null,
      };
    }),
    wasted: one.waste && {
      bytes: one.waste.wastedBytes,
      fileBytes: one.waste.fileBytes,
      efficiency: one.waste.efficiency,
      worst: one.waste.worst.map((file) => ({ ...file, path: displayPath(file.path) })),
    },
    unread: one.unread,
  };
}
