/** The build cache as nodes: a record needs its snapshot, which is a layer or a folder of the driver, and its parents. */
import type { BytePath } from "../../byte-path.ts";
import type { NodeId } from "../../graph/graph.ts";
import type { LayerNodes } from "./add-layers.ts";
import { type BuildCache, type CacheRecord, type CacheSnapshot, readBuildCache } from "./build-cache.ts";
import type { DataRoot } from "./data-root.ts";
import { isFolderId } from "./drivers.ts";

const FOLDER = "buildkit" as BytePath;

export async function addBuildCache(root: DataRoot, layers: LayerNodes): Promise<void> {
  const cache = await readBuildCache(root.records, FOLDER);
  if (!cache) return;
  const { builder } = root.places;
  const ofImages = imageLayers(root);
  const snapshots = addSnapshots(root, cache, layers);
  const nodes = new Map<string, NodeId>();
  const held = new Set<NodeId>();
  for (const record of cache.records) {
    const snapshot = snapshots.get(record.snapshot);
    const size = record.recordedSize ?? cache.snapshots.get(record.snapshot)?.size ?? null;
    const shared = snapshot !== undefined && ofImages.has(snapshot);
    nodes.set(record.id, addRecord(root, { ...record, recordedSize: size }, shared));
    if (snapshot === undefined) continue;
    held.add(snapshot);
    builder.edge(nodes.get(record.id)!, snapshot);
  }
  for (const record of cache.records) {
    for (const parent of record.parents) {
      const below = nodes.get(parent);
      if (below !== undefined) builder.edge(nodes.get(record.id)!, below);
    }
  }
  // A prune leaves rows of snapshots behind, which hold nothing: an image's layer goes with the image all the same. Of
  // anything else it is not certain enough to call it an orphan.
  for (const node of new Set(snapshots.values()))
    if (!held.has(node) && !ofImages.has(node)) builder.root(node, "a snapshot of the build cache");
}

/** Layers that an image has, intermediate ones included: what the engine calls shared. */
function imageLayers({ places }: DataRoot): Set<NodeId> {
  return new Set(
    places.builder.nodes.flatMap((node) => (node.kind === "image" && !node.orphan ? node.layers : [])),
  );
}

function addRecord({ places }: DataRoot, record: CacheRecord, shared: boolean): NodeId {
  const node = places.addBare({
    kind: "cache",
    recordId: record.id,
    type: record.type,
    description: record.description,
    created: record.createdAt,
    lastUsed: record.lastUsedAt,
    usageCount: record.usageCount,
    parents: record.parents,
    shared,
    recorded: record.recordedSize,
    heading: "build-cache",
  });
  places.builder.root(node, `build cache ${record.id}`);
  return node;
}

/** Nodes of snapshots by key: of the layer that one has become, or of its folder. */
function addSnapshots(root: DataRoot, { snapshots }: BuildCache, layers: LayerNodes): Map<string, NodeId> {
  const nodes = new Map<string, NodeId>();
  for (const [key, snapshot] of snapshots) {
    const node = layerOf(snapshot, layers) ?? folderOf(root, snapshot);
    if (node !== undefined && node !== null) nodes.set(key, node);
  }
  for (const [key, { parent, chainId }] of snapshots) {
    const [node, below] = [nodes.get(key), parent === null ? undefined : nodes.get(parent)];
    if (chainId === null && node !== undefined && below !== undefined && node !== below)
      root.places.builder.edge(node, below);
  }
  return nodes;
}

function layerOf({ chainId }: CacheSnapshot, layers: LayerNodes): NodeId | undefined {
  return chainId === null ? undefined : layers.byChain.get(chainId);
}

function folderOf({ folders, places }: DataRoot, { folder }: CacheSnapshot): NodeId | null {
  if (folder === null || !isFolderId(folder)) return null;
  const what = "snapshot of the build cache";
  return folders.claim(places, folder, { kind: "files", what, count: 1, heading: "build-cache" });
}
