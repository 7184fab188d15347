/**
 * `image/<driver>/layerdb`: what Docker knows of its layers. A folder a layer, named by its chainID, with one-value
 * files `diff` (diffID), `parent` (chainID; none for a base), `cache-id` (the driver's folder), `size` (decimal), and
 * `tar-split.json.gz`; a folder a container under `mounts`.
 *
 * Follows moby daemon/internal/layer/filestore.go and layer_store.go (v20.10 to v29).
 */
import { type BytePath, baseName, joinPath } from "../../byte-path.ts";
import { type Digest, digestOf, parseDigest } from "../../digest.ts";
import { isFolderId } from "./drivers.ts";
import type { Records } from "./records.ts";

export interface LayerRecord {
  readonly chainId: Digest;
  readonly path: BytePath;
  readonly parent: Digest | null;
  readonly diffId: Digest | null;
  /** The driver's folder; null where the file is gone or makes no sense. */
  readonly cacheId: string | null;
  /** Lengths of the layer's files; of layers that BuildKit made, of its tar's members. Bytes. */
  readonly size: number | null;
  readonly tarSplit: BytePath;
  /** Why the engine cannot load it; null: it can. */
  readonly broken: string | null;
}

/** The writable layer of a container, or of a mount of BuildKit's. */
export interface MountRecord {
  /** A container's ID, or 25 letters and digits of BuildKit's. */
  readonly name: string;
  readonly path: BytePath;
  /** Folders of the driver; null where the file is not there. */
  readonly mountId: string | null;
  readonly initId: string | null;
  readonly parent: Digest | null;
}

/** A layer whose deletion was begun: its folder has been renamed. */
export interface RemovedLayer {
  readonly path: BytePath;
  readonly cacheId: string | null;
}

export interface LayerStore {
  readonly layers: ReadonlyMap<Digest, LayerRecord>;
  readonly mounts: readonly MountRecord[];
  readonly removing: readonly RemovedLayer[];
  /** Layers that were being written. */
  readonly writeSets: readonly BytePath[];
}

export async function readLayerStore(records: Records, folder: BytePath): Promise<LayerStore> {
  const layers = new Map<Digest, LayerRecord>();
  const removing: RemovedLayer[] = [];
  const sha256 = joinPath(folder, "sha256");
  for (const name of await records.names(sha256)) {
    const path = joinPath(sha256, name);
    if (name.endsWith("-removing"))
      removing.push({ path, cacheId: await folderId(records, path, "cache-id") });
    else if (/^[0-9a-f]{64}$/.test(name)) {
      const layer = await readLayer(records, path);
      layers.set(layer.chainId, layer);
    }
  }
  const mounts: MountRecord[] = [];
  for (const name of await records.names(joinPath(folder, "mounts"))) {
    mounts.push(await readMount(records, joinPath(folder, "mounts", name)));
  }
  const tmp = joinPath(folder, "tmp");
  const writeSets = (await records.names(tmp)).map((name) => joinPath(tmp, name));
  return { layers: withBrokenParents(layers), mounts, removing, writeSets };
}

async function readLayer(records: Records, path: BytePath): Promise<LayerRecord> {
  const before = records.unsure;
  const parentText = await records.value(path, "parent");
  const parent = parseDigest(parentText);
  const diffId = await records.digest(path, "diff");
  const cacheId = await folderId(records, path, "cache-id");
  const sizeText = await records.value(path, "size");
  const size = sizeText !== null && /^[0-9]{1,15}$/.test(sizeText) ? Number(sizeText) : null;
  const faults = [
    parentText !== null && parent === null ? "its parent is no digest" : null,
    diffId === null ? "it has no diff" : null,
    cacheId === null ? "it has no cache-id" : null,
    size === null ? "it has no size" : null,
  ].filter((fault) => fault !== null);
  // What could not be read is no fault of the layer.
  const broken = records.unsure !== before || faults.length === 0 ? null : faults.join(", ");
  if (broken !== null) records.damaged(path, `the engine cannot load this layer: ${broken}`);
  const chainId = digestOf("sha256", baseName(path));
  return {
    chainId,
    path,
    parent,
    diffId,
    cacheId,
    size,
    tarSplit: joinPath(path, "tar-split.json.gz"),
    broken,
  };
}

/** A layer on one that cannot be loaded, or is not there, cannot be loaded either. */
function withBrokenParents(layers: Map<Digest, LayerRecord>): Map<Digest, LayerRecord> {
  const verdicts = new Map<Digest, string | null>();
  for (const start of layers.values()) {
    const way: LayerRecord[] = [];
    const seen = new Set<Digest>();
    let verdict: string | null = null;
    for (let at: LayerRecord | undefined = start; at; ) {
      const known = verdicts.get(at.chainId);
      if (known !== undefined) {
        verdict = known === null ? null : `a layer below it cannot be loaded`;
        break;
      }
      if (seen.has(at.chainId)) {
        verdict = "its parents go round in a circle";
        break;
      }
      seen.add(at.chainId);
      way.push(at);
      if (at.broken !== null) break;
      const below: LayerRecord | undefined = at.parent === null ? undefined : layers.get(at.parent);
      if (at.parent !== null && !below) verdict = `the layer below it, ${at.parent}, has no record`;
      at = below;
    }
    for (const layer of way.reverse()) {
      verdict = layer.broken ?? verdict;
      verdicts.set(layer.chainId, verdict);
    }
  }
  const judged = [...layers].map(([id, layer]): [Digest, LayerRecord] => {
    const broken = layer.broken ?? verdicts.get(id) ?? null;
    return [id, broken === layer.broken ? layer : { ...layer, broken }];
  });
  return new Map(judged);
}

async function readMount(records: Records, path: BytePath): Promise<MountRecord> {
  return {
    name: baseName(path),
    path,
    mountId: await folderId(records, path, "mount-id"),
    initId: await folderId(records, path, "init-id"),
    parent: await records.digest(path, "parent"),
  };
}

/** A driver's folder as a one-value file names it; null for a name that would lead elsewhere. */
async function folderId(records: Records, folder: BytePath, name: string): Promise<string | null> {
  const id = await records.value(folder, name);
  if (id === null || id === "") return null;
  if (isFolderId(id)) return id;
  records.damaged(joinPath(folder, name), "names no folder of the driver");
  return null;
}
