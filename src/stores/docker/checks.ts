/**
 * Whether the records of a data-root agree with each other: names of layers with what is in them, images with layers,
 * names with images, and overlay2's short names with folders. Each function is plain: records in, checks out, in the
 * order of the records.
 *
 * What the engine does with a record that disagrees: it does not load a layer or an image (moby
 * daemon/internal/layer/layer_store.go `loadLayer`, image/store.go `restore`), forgets a name (refstore), and cannot
 * mount over a short name that leads elsewhere (graphdriver/overlay2).
 */
import { type BytePath, displayPath } from "../../byte-path.ts";
import type { Digest } from "../../digest.ts";
import { chainId as chainIdOf } from "../../formats/oci.ts";
import type { NodeId } from "../../graph/graph.ts";
import type { Verdict } from "../../verdict.ts";
import type { StructureCheck } from "../store.ts";

/** A folder of `layerdb/sha256`. */
export interface ChainRecord {
  /** As its name says. */
  readonly chainId: Digest;
  readonly path: BytePath;
  /** Null: a base, or a file that makes no sense, which is not for here. */
  readonly parent: Digest | null;
  readonly diffId: Digest | null;
  readonly node?: NodeId;
}

/** Each layer's name against its parent and diffID, and whether its parent is there. */
export function checkChains(layers: Iterable<ChainRecord>): StructureCheck[] {
  const all = [...layers];
  const known = new Set(all.map((layer) => layer.chainId));
  return all.map((layer) => {
    const { chainId, parent, diffId } = layer;
    const base = { what: "chain", id: chainId, path: layer.path, ...about(layer) } as const;
    if (diffId === null) {
      const detail = "its diff file holds no digest";
      return { ...base, verdict: "corrupt", expected: chainId, actual: null, detail };
    }
    const actual = chainIdOf(parent, diffId);
    if (actual !== chainId) {
      const detail = "its name is not the chainID of its parent and its diff";
      return { ...base, verdict: "corrupt", expected: chainId, actual, detail };
    }
    if (parent !== null && !known.has(parent)) {
      const detail = `the layer below it, ${parent}, has no record`;
      return { ...base, verdict: "missing", expected: chainId, actual, detail };
    }
    return { ...base, verdict: "ok", expected: chainId, actual, detail: null };
  });
}

/** A file of `imagedb/content`. */
export interface ImageLayers {
  readonly id: Digest;
  readonly path: BytePath;
  /** `rootfs.diff_ids`, base first. */
  readonly diffIds: readonly Digest[];
  readonly node?: NodeId;
}

/** Whether each image's layers have records, all the way down; an image without layers passes. */
export function checkImageLayers(
  images: Iterable<ImageLayers>,
  chainIds: { has(chainId: Digest): boolean },
): StructureCheck[] {
  return [...images].map((image) => {
    const { id, path, diffIds } = image;
    let top: Digest | null = null;
    let lacking: string | null = null;
    for (const [i, diffId] of diffIds.entries()) {
      top = chainIdOf(top, diffId);
      if (!chainIds.has(top)) lacking ??= `layer ${i + 1} of ${diffIds.length} has no record: ${top}`;
    }
    const verdict: Verdict = lacking === null ? "ok" : "missing";
    const actual = lacking === null ? top : null;
    return { what: "chain", id, verdict, expected: top, actual, path, detail: lacking, ...about(image) };
  });
}

/** An entry of `repositories.json`. */
export interface NameRecord {
  /** `shop/web:1.0`, `shop/web@sha256:..`. */
  readonly name: string;
  readonly id: Digest;
  readonly node?: NodeId;
}

/** Whether each name is that of an image that is there; `path` is that of `repositories.json`. */
export function checkNames(
  names: Iterable<NameRecord>,
  images: { has(id: Digest): boolean },
  path: BytePath,
): StructureCheck[] {
  return [...names].map((record) => {
    const { name, id } = record;
    const isThere = images.has(id);
    const detail = isThere ? null : "a name of an image that is not there";
    const base = { what: "database", id: name, expected: id, path, detail, ...about(record) } as const;
    return { ...base, verdict: isThere ? "ok" : "missing", actual: isThere ? id : null };
  });
}

/** A `parent` file of `imagedb/metadata`. */
export interface ParentRecord {
  readonly id: Digest;
  readonly parent: Digest;
  readonly path: BytePath;
  readonly node?: NodeId;
}

/** Whether the image that each was made from is there, as the engine takes for granted. */
export function checkParents(
  records: Iterable<ParentRecord>,
  images: { has(id: Digest): boolean },
): StructureCheck[] {
  return [...records].map((record) => {
    const { id, parent, path } = record;
    const isThere = images.has(parent);
    const detail = isThere ? null : "the image that it was made from is not there";
    const base = { what: "database", id, expected: parent, path, detail, ...about(record) } as const;
    return { ...base, verdict: isThere ? "ok" : "missing", actual: isThere ? parent : null };
  });
}

/** A folder of overlay2 or fuse-overlayfs. */
export interface OverlayRecord {
  /** Its cache-id. */
  readonly id: string;
  readonly path: BytePath;
  /** What its `link` file says: its short name; null where there is none. */
  readonly link: string | null;
  /** Target of the link of that name in `l/`; null where there is none. */
  readonly target: string | null;
  /** What its `lower` file says; null where there is none. */
  readonly lower: string | null;
  /** Folders of the layers below, the nearest first; null where that is not known. */
  readonly below: readonly string[] | null;
  readonly node?: NodeId;
}

/** Each folder's short name, which must lead back to it. */
export function checkLinks(folders: Iterable<OverlayRecord>): StructureCheck[] {
  return [...folders].map((folder) => {
    const { id, path, link, target } = folder;
    const expected = `../${id}/diff`;
    const [verdict, detail]: [Verdict, string | null] =
      link === null
        ? ["missing", "it has no link file, so that no layer can lie on it"]
        : !SHORT_NAME.test(link)
          ? ["corrupt", "its link file holds no name"]
          : target === null
            ? ["missing", `there is no link l/${link}`]
            : target !== expected
              ? ["corrupt", `l/${link} leads elsewhere`]
              : ["ok", null];
    const actual = target === null ? null : displayPath(target);
    return { what: "chain", id, verdict, expected, actual, path, detail, ...about(folder) };
  });
}
const SHORT_NAME = /^[A-Z0-9]{1,64}$/;

/**
 * Each folder's `lower` file, whose short names must be those of the layers below it in their order; folders of which
 * those are not known are left out.
 */
export function checkLowers(folders: Iterable<OverlayRecord>): StructureCheck[] {
  const all = [...folders];
  const links = new Map(all.map(({ id, link }) => [id, link]));
  return all.flatMap((folder): StructureCheck[] => {
    const { id, path, lower, below } = folder;
    if (below === null) return [];
    const names = below.map((one) => links.get(one) ?? null);
    const unnamed = below.find((_, i) => names[i] === null);
    const expected = names.map((name) => `l/${name ?? "?"}`).join(":");
    const base = { what: "chain", id, expected, actual: shortened(lower), path, ...about(folder) } as const;
    if (unnamed !== undefined) {
      const detail = `the layer below it in ${unnamed} has no short name to compare with`;
      return [{ ...base, verdict: "unverifiable", detail }];
    }
    if ((lower ?? "") === expected) return [{ ...base, verdict: "ok", detail: null }];
    if (lower === null) return [{ ...base, verdict: "missing", detail: "it has no lower file" }];
    return [{ ...base, verdict: "corrupt", detail: differenceOf(lower.split(":"), expected.split(":")) }];
  });
}

function differenceOf(found: readonly string[], expected: readonly string[]): string {
  if (found.length !== expected.length) {
    return `its lower file names ${found.length} layers, and ${expected.length} are below it`;
  }
  const at = found.findIndex((name, i) => name !== expected[i]);
  return `place ${at + 1} of its lower file has ${displayPath(found[at]!)} instead of ${expected[at]}`;
}

/** At most 128 layers make a `lower` of 4 kB; a hostile one may hold anything. */
function shortened(lower: string | null): string | null {
  if (lower === null) return null;
  return displayPath(lower.length > 8192 ? `${lower.slice(0, 8192)}...` : lower);
}

function about({ node }: { readonly node?: NodeId }): { readonly node?: NodeId } {
  return node === undefined ? {} : { node };
}
