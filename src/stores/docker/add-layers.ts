/** Layers, mounts, and what a crash leaves of either, as nodes. */
import { baseName, joinPath } from "../../byte-path.ts";
import type { Digest } from "../../digest.ts";
import type { NodeId, Orphan } from "../../graph/graph.ts";
import { type DataRoot, orphanOf, shown } from "./data-root.ts";
import type { LayerRecord, LayerStore, MountRecord } from "./layer-store.ts";

export interface LayerNodes {
  readonly store: LayerStore;
  readonly byChain: ReadonlyMap<Digest, NodeId>;
  /** Layers whose folder is not there. */
  readonly missing: ReadonlySet<NodeId>;
  /** Layers that do not say which folder is theirs, and no other record does. */
  readonly withoutFolder: readonly Digest[];
}

export async function addLayers(root: DataRoot, store: LayerStore): Promise<LayerNodes> {
  const byChain = new Map<Digest, NodeId>();
  const missing = new Set<NodeId>();
  const withoutFolder: Digest[] = [];
  const told = await foldersByLower(root, store);
  for (const layer of store.layers.values()) {
    const folder = layer.cacheId ?? told.get(layer.chainId) ?? null;
    const node = addLayer(root, layer, folder);
    byChain.set(layer.chainId, node);
    if (folder === null) withoutFolder.push(layer.chainId);
    if (root.places.node(node).path === null) missing.add(node);
  }
  for (const layer of store.layers.values()) {
    const below = layer.parent === null ? undefined : byChain.get(layer.parent);
    if (below === undefined) continue;
    const node = byChain.get(layer.chainId)!;
    root.places.builder.edge(node, below);
    root.places.builder.update(node, { parent: below });
  }
  addRemoving(root, store);
  addWriteSets(root, store);
  return { store, byChain, missing, withoutFolder };
}

function addLayer(root: DataRoot, layer: LayerRecord, folder: string | null): NodeId {
  const { places, driver } = root;
  const bare = {
    kind: "layer",
    diffId: layer.diffId,
    chainId: layer.chainId,
    parent: null,
    blob: null,
    unpacked: null,
    recorded: layer.size,
    heading: "images",
  } as const;
  const other = folder === null ? undefined : root.folders.ownerOf(places, folder);
  const owned = folder === null || other !== undefined ? null : root.folders.claim(places, folder, bare);
  const node = owned ?? places.addBare(bare);
  if (other !== undefined) {
    root.records.damaged(layer.path, "another layer has the same cache-id");
    places.builder.edge(node, other);
  }
  const what = "record of a layer";
  const record = places.add(layer.path, { kind: "files", what, count: 1, heading: "images" });
  places.builder.edge(node, record);
  const content = folder === null ? null : (driver?.content(folder) ?? null);
  if (content !== null && driver)
    root.unpacked.set(node, {
      tarSplit: layer.tarSplit,
      folder: content,
      isDiff: driver.isDiff,
      init: null,
    });
  return node;
}

/**
 * Folders of layers that have lost their `cache-id`, told by the layer on top: the first short name in its `lower` is
 * that of the layer below.
 */
async function foldersByLower(root: DataRoot, store: LayerStore): Promise<Map<Digest, string>> {
  const told = new Map<Digest, string>();
  const lost = [...store.layers.values()].filter((layer) => layer.cacheId === null);
  if (lost.length === 0 || !root.driver?.links) return told;
  for (const { parent, cacheId } of store.layers.values()) {
    if (parent === null || cacheId === null || store.layers.get(parent)?.cacheId !== null) continue;
    const lower = await root.records.value(joinPath(root.driver.idFolders[0]!, cacheId), "lower");
    const id = root.folders.idOfLink(/^l\/([A-Z0-9]+)/.exec(lower ?? "")?.[1] ?? "");
    if (id !== null) told.set(parent, id);
  }
  return told;
}

function addRemoving({ places, folders }: DataRoot, store: LayerStore): void {
  for (const { path, cacheId } of store.removing) {
    const evidence = `${baseName(path).slice(0, 12)}…-removing: the engine was deleting this layer when it stopped`;
    const next = "it goes on when it starts";
    const orphan = orphanOf("layer-being-removed", true, evidence, next);
    const base = { kind: "files", count: 1, heading: "orphans", orphan } as const;
    const record = places.add(path, { ...base, what: "record of a layer that was being removed" });
    const content = { ...base, what: "layer that was being removed" };
    const folder = cacheId === null ? null : folders.claim(places, cacheId, content);
    if (folder !== null) places.builder.edge(record, folder);
  }
}

function addWriteSets({ places }: DataRoot, store: LayerStore): void {
  for (const path of store.writeSets) {
    const evidence = `${shown(baseName(path))}: a layer was being written when the engine stopped`;
    const orphan = orphanOf("layer-being-written", true, evidence);
    const what = "record of a layer that was being written";
    places.add(path, { kind: "files", what, count: 1, heading: "orphans", orphan });
  }
}

/** Nodes of a mount: its record, which holds all the rest. */
export interface MountNodes {
  readonly record: NodeId;
  /** The changes alone. */
  readonly writable: NodeId | null;
}

/** A mount's record, folders and the layers that it keeps from being removed. */
export function addMount(
  root: DataRoot,
  mount: MountRecord,
  layers: LayerNodes,
  orphan: boolean,
): MountNodes {
  const { places, folders, driver } = root;
  const fate = orphan
    ? ({ heading: "orphans", orphan: lostMount(mount) } as const)
    : ({ heading: "containers" } as const);
  const files = (what: string) => ({ kind: "files", what, count: 1, ...fate }) as const;
  const record = places.add(mount.path, files("record of a writable layer"));
  let writable: NodeId | null = null;
  for (const [id, what] of [
    [mount.mountId, "writable layer"],
    [mount.initId, "init layer"],
  ] as const) {
    const folder = id === null ? null : folders.claim(places, id, files(what));
    if (folder === null) continue;
    places.builder.edge(record, folder);
    const content = what === "writable layer" && driver?.isDiff ? driver.content(id!) : null;
    if (what !== "writable layer") continue;
    writable = content === null ? folder : places.add(content, files("changes in a container"));
    if (writable !== folder) places.builder.edge(folder, writable);
  }
  const changed = mount.mountId === null ? null : (driver?.content(mount.mountId) ?? null);
  if (writable !== null && changed !== null && driver) {
    const init = mount.initId === null ? null : driver.content(mount.initId);
    root.unpacked.set(writable, { tarSplit: null, folder: changed, isDiff: driver.isDiff, init });
  }
  const parent = mount.parent === null ? undefined : layers.byChain.get(mount.parent);
  if (parent !== undefined) places.builder.edge(record, parent);
  return { record, writable };
}

function lostMount({ name }: MountRecord): Orphan {
  const isContainer = /^[0-9a-f]{64}$/.test(name);
  const evidence = isContainer
    ? `layerdb/mounts has it, and there is no folder containers/${name.slice(0, 12)}…: its container is gone`
    : `a mount of BuildKit's, ${shown(name)}, which it did not get to take away`;
  const holds = "the engine keeps its layers from being removed all the same";
  return orphanOf("mount-without-container", !isContainer, evidence, holds);
}
