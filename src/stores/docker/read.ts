/** Reads a data-root: each part in turn becomes nodes with their places; then the tree is walked, once. */
import { type BytePath, displayPath, joinPath, ROOT } from "../../byte-path.ts";
import {
  edgesOf,
  type Heading,
  type NodeId,
  type Orphan,
  type StoreGraph,
  type StoreNode,
} from "../../graph/graph.ts";
import { reachable } from "../../graph/sharing.ts";
import type { ReadOnlyTree } from "../../trees/tree.ts";
import type { Reading, StoreContents } from "../store.ts";
import { addBuildCache } from "./add-build-cache.ts";
import { addContainers } from "./add-containers.ts";
import { addImages, type ImageNodes } from "./add-images.ts";
import { addLayers, type LayerNodes } from "./add-layers.ts";
import { addVolumes } from "./add-volumes.ts";
import { readContainers } from "./containers.ts";
import { type DataRoot, DriverFolders, orphanOf } from "./data-root.ts";
import { type Driver, driverNamed } from "./drivers.ts";
import { readImageStore } from "./image-store.ts";
import { readLayerStore } from "./layer-store.ts";
import { Places } from "./places.ts";
import { Records } from "./records.ts";
import { checkStructure } from "./structure.ts";

const IMAGE = "image" as BytePath;
const CONTAINERS = "containers" as BytePath;

export async function readDataRoot(tree: ReadOnlyTree, reading: Reading): Promise<StoreContents> {
  const records = new Records(tree, reading.warn);
  const [driver = null, ...others] = await driversOf(records);
  const folders = new DriverFolders(driver, !reading.recorded);
  await folders.list(records);
  const places = new Places();
  const root: DataRoot = { tree, reading, records, places, driver, folders, unpacked: new Map() };
  const base = joinPath(IMAGE, driver?.name ?? "overlay2");
  const layers = await addLayers(root, await readLayerStore(records, joinPath(base, "layerdb")));
  const imageStore = await readImageStore(records, base);
  const images = addImages(root, imageStore, layers);
  const volumes = await addVolumes(root);
  addContainers(root, await readContainers(records, CONTAINERS), images, layers, volumes);
  await addBuildCache(root, layers);
  addLayersWithoutUse(root, layers, images);
  for (const other of others) addOtherDriver(root, other);
  if (!reading.recorded) addUnnamed(root, layers);
  await addParts(root);
  if (reading.recorded) places.takeRecorded();
  else await places.measure(tree, reading);
  const graph = finish(root);
  const largest = places.measured?.largest.map(({ path, claim, usage }) => {
    return { path, node: places.at(claim) ?? places.at(ROOT)!, size: usage };
  });
  return {
    graph,
    kind: "docker",
    engine: "docker",
    unpacked: root.unpacked,
    ...(largest ? { largest } : {}),
    remarks: remarksOf(root),
    checks: () => checkStructure(root, base, imageStore, images, layers),
  };
}

/** Drivers that have an image store, the one in use first. */
async function driversOf(records: Records): Promise<Driver[]> {
  const found = (await records.names(IMAGE)).map(driverNamed).filter((driver) => driver !== null);
  // dockerd takes the one that it finds, and passes vfs over where there is another (graphdriver/driver.go, New).
  const real = found.filter((driver) => driver.name !== "vfs");
  if (real.length > 1) return newestFirst(records, found);
  return [...real, ...found.filter((driver) => !real.includes(driver))];
}

/** Of several drivers dockerd takes the configured one, which no file of the data-root tells: the newest container does. */
async function newestFirst(records: Records, found: readonly Driver[]): Promise<Driver[]> {
  const newest = new Map<string, string>();
  for (const { config } of await readContainers(records, CONTAINERS)) {
    if (!config?.driver || !config.created) continue;
    if ((newest.get(config.driver) ?? "") < config.created) newest.set(config.driver, config.created);
  }
  const at = (driver: Driver): string => newest.get(driver.name) ?? "";
  const sorted = [...found].sort((a, b) => (at(a) < at(b) ? 1 : at(a) > at(b) ? -1 : 0));
  if (at(sorted[0]!) === "") {
    const names = found.map((one) => one.name).join(" and ");
    records.cannotRead(
      IMAGE,
      new Error(`there are image stores of ${names}, and nothing tells which is in use`),
    );
  }
  return sorted;
}

/** Layers that the engine loads and nothing uses: they stay for good, and keep those below them. */
function addLayersWithoutUse({ places }: DataRoot, layers: LayerNodes, images: ImageNodes): void {
  const used = reachable(places.builder.build());
  const parents = new Set([...layers.store.layers.values()].map((layer) => layer.parent));
  for (const [chainId, node] of layers.byChain) {
    if (used[node]) continue;
    places.builder.update(node, { orphan: orphanLayer(node, images) });
    if (!parents.has(chainId)) places.builder.root(node, "a layer that nothing uses", true);
  }
}

function orphanLayer(node: NodeId, { damaged }: ImageNodes): Orphan {
  const image = damaged.find((one) => one.layers.includes(node));
  if (image) return { ...image.orphan, evidence: [`a layer of ${image.title}`, ...image.orphan.evidence] };
  const lost = damaged.filter((one) => one.layers.length === 0);
  const evidence = "no image, container or build cache record needs this layer";
  const doubt = lost.map((one) => `it may be one of ${one.title}, whose config is damaged`);
  return orphanOf("chain-without-image", lost.length === 0, evidence, ...doubt);
}

function addOtherDriver({ places }: DataRoot, { name }: Driver): void {
  const evidence = `the engine keeps its images with another driver now: image/${name} and ${name} are as that one left them`;
  // With --storage-driver it would all be there again.
  const orphan = orphanOf("other-driver", false, evidence);
  const what = `what the ${name} driver has left`;
  for (const path of [joinPath(IMAGE, name), name as BytePath])
    places.add(path, { kind: "files", what, count: 1, heading: "orphans", orphan });
}

/** Folders of the driver that neither a layer nor a container nor the build cache names, and links to none. */
function addUnnamed({ folders, places }: DataRoot, layers: LayerNodes): void {
  const writing = layers.store.writeSets.map((path) => displayPath(path));
  const lost = layers.withoutFolder.map((chainId) => chainId.slice(7, 19));
  for (const id of folders.unnamed()) {
    const evidence = [`no layer, container or build cache record names ${displayPath(id)}`];
    if (writing.length > 0)
      evidence.push(`a layer was being written when the engine stopped: ${writing.join(", ")}`);
    if (lost.length > 0)
      evidence.push(`it may be that of ${lost.join(", ")}, which do not say where they are`);
    const cause = writing.length > 0 ? "layer-being-written" : "folder-without-record";
    const orphan = orphanOf(cause, lost.length === 0, ...evidence);
    folders.claim(places, id, { kind: "files", what: "layer", count: 1, heading: "orphans", orphan });
  }
  for (const path of folders.danglingLinks()) {
    const orphan = orphanOf(
      "link-without-folder",
      true,
      "it is the short name of a folder that is not there",
    );
    places.add(path, { kind: "files", what: "short name of a layer", count: 1, heading: "orphans", orphan });
  }
}

/** The parts of the root that belong to the engine as such. */
const PARTS: Readonly<Record<string, readonly [Heading, string]>> = {
  "": ["metadata", "folders"],
  image: ["metadata", "lists and folders of images"],
  containers: ["metadata", "folders"],
  volumes: ["metadata", "list of volumes"],
  buildkit: ["metadata", "databases of the build cache"],
  containerd: ["metadata", "state of the engine's containerd"],
  network: ["metadata", "networks"],
  plugins: ["other", "plugins"],
  swarm: ["metadata", "swarm"],
  trust: ["metadata", "keys"],
  runtimes: ["metadata", "runtimes"],
  "engine-id": ["metadata", "the engine's ID"],
  tmp: ["temporary", "temporary files of the engine"],
  "tmp-old": ["temporary", "temporary files, which the engine deletes when it starts"],
  builder: ["temporary", "contexts of the classic builder"],
};

async function addParts({ places, records, driver }: DataRoot): Promise<void> {
  const known: [string, readonly [Heading, string]][] = [["", PARTS[""]!]];
  if (driver) {
    known.push([driver.name, ["metadata", "folders of the driver"]]);
    known.push([`image/${driver.name}/distribution`, ["metadata", "records of what was pulled and pushed"]]);
  }
  for (const name of await records.names(ROOT))
    known.push([name, PARTS[name] ?? ["other", displayPath(name)]]);
  for (const [path, [heading, what]] of known) {
    if (places.at(path as BytePath) !== undefined) continue;
    const node = places.add(path as BytePath, { kind: "files", what, count: 1, heading });
    places.builder.root(node, "part of the engine");
  }
}

/** What is left behind goes as one with all that it alone needs. */
function holdOrphans({ builder }: Places): void {
  const { nodes, neededBy } = builder.build();
  for (const [id, node] of nodes.entries()) {
    if (node.orphan && edgesOf(neededBy, id).length === 0) builder.root(id, node.orphan.cause, true);
  }
}

/** Puts everything under its heading, once it is known who needs what. */
function finish({ places, records }: DataRoot): StoreGraph {
  if (records.unsure !== null) places.builder.keepOrphans(`may be needed: ${records.unsure}`);
  else holdOrphans(places);
  const graph = places.builder.build();
  const wantedBy = (kind: StoreNode["kind"]): Uint8Array =>
    reachable(graph, (id, root) => root.orphan === true || graph.nodes[id]!.kind !== kind);
  const [images, containers, cache] = [wantedBy("image"), wantedBy("container"), wantedBy("cache")];
  for (const [id, node] of graph.nodes.entries()) {
    if (node.heading !== "images" || images[id]) continue;
    const heading = containers[id] ? "containers" : cache[id] ? "build-cache" : "orphans";
    const owner = [...edgesOf(graph.neededBy, id)]
      .map((user) => graph.nodes[user]!)
      .find((user) => user.orphan);
    const orphan = node.orphan ?? owner?.orphan;
    places.builder.update(id, { heading, ...(heading === "orphans" && orphan ? { orphan } : {}) });
  }
  return graph;
}

function remarksOf({ places, driver, reading }: DataRoot): string[] {
  if (reading.recorded)
    return ["sizes are those that the engine has recorded: what is on disk was not looked at"];
  const remarks = [...(places.measured?.remarks ?? [])];
  if (driver && !driver.isMeasurable)
    remarks.push(`${driver.name}: what layers take is not to be seen in its folders, and not counted`);
  const mounts = places.measured?.mounts ?? [];
  if (mounts.length > 0)
    remarks.push(
      `not counted, since another file system is mounted there: ${mounts.map((path) => displayPath(path)).join(", ")}`,
    );
  return remarks;
}
