import { shortId } from "../analyses/holdings.ts";
import { type ImageRow, imageRows, type LayerRow } from "../analyses/images.ts";
import { formatApparent, formatSize, type TextStyle } from "../views/style.ts";
import { type Column, renderTable } from "../views/table.ts";
import { formatAge } from "../views/units.ts";
import {
  type Command,
  collect,
  type JsonObject,
  optionalText,
  type RawOptions,
  sizeJson,
  sortRows,
  type TemplateRow,
  texts,
} from "./command.ts";
import { type ImageFilter, imageFilters } from "./image-filter.ts";

interface Options {
  readonly all: boolean;
  readonly idsOnly: boolean;
  readonly fullIds: boolean;
  readonly digests: boolean;
  readonly filters: readonly ImageFilter[];
  readonly sort: string | null;
}

interface Result {
  readonly rows: readonly ImageRow[];
  readonly severalSources: boolean;
}

export const command: Command<Options, Result> = {
  takes: "sources",
  sorts: true,
  printsIds: true,
  flags(flags) {
    flags.option("-a, --all", "also intermediate images (archives have none)");
    flags.option("--recorded", "sizes as the engine has recorded them: quick, without walking the layers");
    flags.option("--no-trunc", "whole IDs");
    flags.option("--digests", "show digests");
    flags.option("-f, --filter <filter>", "dangling=, label=, before=, since=, until=, reference=", collect);
  },
  options: (raw: RawOptions, _names, run) => ({
    all: raw.all === true,
    idsOnly: raw.quiet === true,
    fullIds: raw.trunc === false,
    digests: raw.digests === true,
    filters: imageFilters(texts(raw.filter), run.now),
    sort: optionalText(raw.sort),
  }),
  need: () => "index",
  async analyse(holdings, options) {
    const rows = imageRows(holdings, null, options.all);
    const kept = options.filters.reduce((left, filter) => filter(left, holdings), rows);
    const severalSources = holdings.stores.length > 1;
    const newestFirst = options.sort === null ? [...kept].sort(byAge) : kept;
    return { rows: sortRows(newestFirst, options.sort, (row) => summaryJson(row)), severalSources };
  },
  text(result, style, options) {
    const lines = result.rows.flatMap((row) => tagsOf(row).map((tag) => ({ row, tag })));
    const id = (row: ImageRow): string => (options.fullIds ? row.image.imageId : shortId(row.image.imageId));
    if (options.idsOnly) return lines.map(({ row }) => id(row)).join("\n");
    type Line = (typeof lines)[number];
    const columns: Column<Line>[] = [
      { title: "REPOSITORY", cell: ({ tag }) => tag.repository },
      { title: "TAG", cell: ({ tag }) => tag.tag },
      ...(options.digests ? [{ title: "DIGEST", cell: ({ row, tag }: Line) => digestOf(row, tag) }] : []),
      { title: "IMAGE ID", cell: ({ row }) => id(row) },
      { title: "CREATED", cell: ({ row }) => createdSince(row, style) },
      { title: "SIZE", right: true, cell: ({ row }) => formatApparent(row.size, style) },
      { title: "SHARED", right: true, cell: ({ row }) => formatApparent(row.shared, style) },
      { title: "EXCLUSIVE", right: true, cell: ({ row }) => formatSize(row.exclusive, style) },
      { title: "ATTRIBUTED", right: true, cell: ({ row }) => formatSize(row.attributed, style) },
      ...(result.rows.some((row) => row.image.state !== "complete")
        ? [{ title: "STATE", cell: ({ row }: Line) => row.image.state }]
        : []),
      ...(result.severalSources ? [{ title: "SOURCE", cell: ({ row }: Line) => row.source }] : []),
    ];
    return renderTable(columns, lines);
  },
  json: (result) => ({ images: result.rows.map(imageJson) }),
  rows: (result, style, options) => ({
    rows: result.rows.flatMap((row) => tagsOf(row).map((tag) => templateRow(row, tag, style, options))),
    titles: TITLES,
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
  }),
  exitCode: () => 0,
};

/** Newest first, as `docker images` lists them; images without a date last. */
function byAge(a: ImageRow, b: ImageRow): number {
  const times = [a, b].map((row) =>
    row.image.created === null ? Number.NEGATIVE_INFINITY : Date.parse(row.image.created),
  );
  return times[0] === times[1] ? 0 : times[1]! - times[0]!;
}

interface Tag {
  readonly repository: string;
  readonly tag: string;
  /** Null for an image without one. */
  readonly name: string | null;
}

/** Engines that pull and push record a digest for each repository; archives at most one for the image. */
function digestOf(row: ImageRow, { name }: Tag): string {
  const { digestOf: byName, digests } = row.image;
  return (byName && name !== null ? byName[name] : digests[0]) ?? "<none>";
}

/** A line a name, as `docker images` has it. */
function tagsOf(row: ImageRow): Tag[] {
  const { names } = row.image;
  return names.length > 0
    ? names.map((name) => ({ name, ...splitName(name) }))
    : [{ repository: "<none>", tag: "<none>", name: null }];
}

/** A layout may name an image by a bare tag. */
function splitName(name: string): Omit<Tag, "name"> {
  const withoutDigest = name.split("@", 1)[0]!;
  const colon = withoutDigest.lastIndexOf(":");
  if (colon > withoutDigest.lastIndexOf("/")) {
    return { repository: withoutDigest.slice(0, colon), tag: withoutDigest.slice(colon + 1) };
  }
  if (name !== withoutDigest) return { repository: withoutDigest, tag: "<none>" };
  return name.includes("/") ? { repository: name, tag: "<none>" } : { repository: "<none>", tag: name };
}

function createdSince(row: ImageRow, style: TextStyle): string {
  const { created } = row.image;
  return created === null ? "N/A" : `${formatAge(style.now.getTime() - Date.parse(created))} ago`;
}

/** Titles as `docker images` prints them, and our own columns'. */
const TITLES: Readonly<Record<string, string>> = {
  ID: "IMAGE ID",
  Repository: "REPOSITORY",
  Tag: "TAG",
  Digest: "DIGEST",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  Size: "SIZE",
  VirtualSize: "SIZE",
  SharedSize: "SHARED SIZE",
  UniqueSize: "UNIQUE SIZE",
  Containers: "CONTAINERS",
  Platform: "PLATFORM",
  Shared: "SHARED",
  Exclusive: "EXCLUSIVE",
  Attributed: "ATTRIBUTED",
  Source: "SOURCE",
  State: "STATE",
};

function templateRow(row: ImageRow, tag: Tag, style: TextStyle, options: Options): TemplateRow {
  const { image } = row;
  const unique = { ...row.size, apparent: row.size.apparent - row.sharedWithImages.apparent };
  return {
    Attributed: formatSize(row.attributed, style),
    Containers: image.digestOf ? String(row.usedBy.length) : "N/A",
    CreatedAt: image.created === null ? "N/A" : `${image.created.slice(0, 19).replace("T", " ")} +0000 UTC`,
    CreatedSince: createdSince(row, style),
    Digest: digestOf(row, tag),
    Exclusive: formatSize(row.exclusive, style),
    ID: options.fullIds ? image.imageId : shortId(image.imageId),
    Platform: image.platform ?? "",
    Repository: tag.repository,
    Shared: formatApparent(row.shared, style),
    SharedSize: formatApparent(row.sharedWithImages, style),
    Size: formatApparent(row.size, style),
    Source: row.source,
    State: image.state,
    Tag: tag.tag,
    UniqueSize: formatApparent(unique, style),
    VirtualSize: formatApparent(row.size, style),
  };
}

function summaryJson(row: ImageRow): JsonObject {
  const { image } = row;
  return {
    id: image.imageId,
    names: image.names,
    digests: image.digests,
    created: image.created,
    lastUsed: image.lastUsed && { ...image.lastUsed },
    platform: image.platform,
    source: row.source,
    size: sizeJson(row.size),
    shared: sizeJson(row.shared),
    exclusive: sizeJson(row.exclusive),
    attributed: row.attributed && sizeJson(row.attributed),
    usedBy: row.usedBy,
    dangling: row.dangling,
    pullable: image.pullable,
    state: image.state,
  };
}

export function imageJson(row: ImageRow): JsonObject {
  return { ...summaryJson(row), layers: row.layers().map(layerJson) };
}

export function layerJson(layer: LayerRow): JsonObject {
  return { ...layer, size: sizeJson(layer.size) };
}
