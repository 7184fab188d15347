/** What is compared: from what someone types to two stacks of layers. */
import type { BytePath } from "../byte-path.ts";
import type { ByteSource } from "../bytes/source.ts";
import { SourceError, UsageError } from "../errors.ts";
import type { Change } from "../formats/layer.ts";
import {
  type ContainerNode,
  type ImageNode,
  NOTHING,
  type NodeId,
  type PlatformImage,
  type Size,
} from "../graph/graph.ts";
import { type FolderDoubts, noDoubts } from "../stores/folder-changes.ts";
import type { Store, UnpackedLayer } from "../stores/store.ts";
import { findUnits } from "./find-image.ts";
import { contentKey, type Holdings, shortId, titleOf, unitTitle } from "./holdings.ts";
import { folderLayer, openLayer, type ReadableLayer } from "./layer-changes.ts";
import type { MergedTree } from "./merged-tree.ts";

export interface Side {
  /** Null for the image of a container that is no longer there by itself. */
  readonly node: NodeId | null;
  readonly kind: "image" | "container";
  readonly title: string;
  readonly source: string;
  readonly platform: string | null;
  /** Base first. */
  readonly layers: readonly SideLayer[];
}

export interface SideLayer {
  /** For messages. */
  readonly label: string;
  /** Layers of equal key are one: the same files, kept once. */
  readonly key: string;
  readonly role: "image" | "init" | "writable";
  readonly size: Size;
  /** Whether its folder is the view of all that is below as well: what is the same there is no change. */
  readonly isView: boolean;
  /** What could not be told while it was read. */
  readonly doubts: FolderDoubts;
  /** Null: not here. */
  open(): Promise<ReadableLayer | null>;
  /** Of what it says, the part that counts when it is laid on `below`. */
  counts(change: Change, below: MergedTree): boolean;
  /** A file of its folder; null where it has none. */
  content(path: BytePath): Promise<ByteSource> | null;
}

export interface Pair {
  readonly a: Side;
  readonly b: Side;
  /** A container against what it was made from. */
  readonly isOwn: boolean;
}

/**
 * The two that `names` stand for: two images or containers; one container, which is compared with its image; or one
 * image that is in two sources. Throws UsageError, and SourceError for a container whose files cannot be had.
 */
export function findPair(holdings: Holdings, names: readonly string[], platform: string | null): Pair {
  const found = names.map((name) => findComparable(holdings, name));
  const [first, second] = chosen(holdings, names, found);
  if (second === null) {
    const container = containerSides(holdings, first);
    return { ...container, isOwn: true };
  }
  const keyOf = keysFor(holdings, first, second);
  const a = sideOf(holdings, first, { asked: platform, like: null }, keyOf);
  const b = sideOf(holdings, second, { asked: platform, like: a.platform }, keyOf);
  // What an engine puts into every container is no difference between a container and an image.
  const init = [a, b].flatMap((side) => side.layers.filter((layer) => layer.role === "init"));
  const withInit = (side: Side): Side =>
    side.kind === "container" ? side : { ...side, layers: [...side.layers, ...init.slice(0, 1)] };
  return { a: withInit(a), b: withInit(b), isOwn: false };
}

function findComparable(holdings: Holdings, name: string): NodeId[] {
  const found = findUnits(holdings, name);
  const fitting = found.filter((id) => isComparable(holdings, id));
  if (fitting.length > 0) return fitting;
  throw new UsageError(`${name} is neither an image nor a container: nothing to compare`);
}

function isComparable(holdings: Holdings, id: NodeId): boolean {
  const { kind } = holdings.node(id);
  return kind === "image" || kind === "container";
}

/** One of each; the second is null for a container alone. */
function chosen(
  holdings: Holdings,
  names: readonly string[],
  [found = [], others]: readonly NodeId[][],
): [NodeId, NodeId | null] {
  const [first] = found;
  const name = names[0]!;
  if (first === undefined) throw new UsageError("give what to compare");
  if (others === undefined || names[0] === names[1]) {
    const [, twin, third] = found;
    if (third !== undefined)
      throw new UsageError(`${name} is in ${found.length} places; give two of them by their IDs`);
    if (twin !== undefined) return [first, twin];
    if (others !== undefined) return [first, first];
    if (holdings.node(first).kind === "container") return [first, null];
    throw new UsageError(
      `${name} is an image: give another one to compare it with, or a container; or a second source that has it`,
    );
  }
  for (const one of found) {
    const near = others.find((id) => holdings.storeOf(id) === holdings.storeOf(one));
    if (near !== undefined) return [one, near];
  }
  return [first, others[0]!];
}

type KeyOf = (layer: NodeId) => string;

/** Within one source a layer is the same where it is kept once; between two, where its content is the same. */
function keysFor(holdings: Holdings, first: NodeId, second: NodeId): KeyOf {
  if (holdings.storeOf(first) === holdings.storeOf(second)) return (layer) => contentKey(holdings, layer);
  return (layer) => holdings.layer(layer).diffId ?? contentKey(holdings, layer);
}

/** The platform that was asked for, or else the one of the other side. */
interface Wanted {
  readonly asked: string | null;
  readonly like: string | null;
}

function sideOf(holdings: Holdings, node: NodeId, platform: Wanted, keyOf: KeyOf): Side {
  const unit = holdings.node(node);
  if (unit.kind === "container") return containerSide(holdings, node, unit, keyOf);
  const image = unit as ImageNode;
  const one = platformOf(image, platform);
  return imageSide(holdings, node, titleOf(image), one.platform, one.layers, keyOf);
}

/** Where nothing says which, the first that is there. */
function platformOf(image: ImageNode, { asked, like }: Wanted): PlatformImage {
  const there = image.platforms.filter((one) => one.present);
  const named = there.find((one) => one.platform === (asked ?? like));
  if (asked !== null && !named) {
    const list = there.map((one) => one.platform).join(", ");
    throw new UsageError(`--platform ${asked}: ${titleOf(image)} has ${list || "none that is here"}`);
  }
  const found = named ?? there[0];
  if (!found) throw new SourceError(`cannot read ${titleOf(image)}: no platform of it is here`);
  return found;
}

function imageSide(
  holdings: Holdings,
  node: NodeId,
  title: string,
  platform: string | null,
  layers: readonly NodeId[],
  keyOf: KeyOf,
): Side {
  const { source } = holdings.storeOf(node);
  const sideLayers = layers.map((id) => imageLayer(holdings, id, keyOf));
  return { node, kind: "image", title, source, platform, layers: sideLayers };
}

function containerSide(holdings: Holdings, node: NodeId, container: ContainerNode, keyOf: KeyOf): Side {
  const { writable } = container;
  const store = holdings.storeOf(node);
  const unpacked = writable === null ? null : store.unpacked(holdings.ownId(writable));
  if (writable === null || unpacked === null)
    throw new SourceError(`cannot read container ${container.name}: its changes are in no folder`);
  const layers = chainOf(holdings, node).map((id) => imageLayer(holdings, id, keyOf));
  const own = folderSide(store, unpacked.folder, unpacked, "writable", holdings.node(writable).size);
  const init = unpacked.init === null ? [] : [folderSide(store, unpacked.init, unpacked, "init", NOTHING)];
  const all = [...layers, ...init, own];
  const title = unitTitle(container);
  return { node, kind: "container", title, source: store.source, platform: null, layers: all };
}

/** A container and what it was made from, with what the engine puts into each. */
function containerSides(holdings: Holdings, node: NodeId): Pick<Pair, "a" | "b"> {
  const container = holdings.node(node) as ContainerNode;
  const b = containerSide(holdings, node, container, (layer) => contentKey(holdings, layer));
  const image = [...holdings.needs(node)].find((id) => holdings.node(id).kind === "image") ?? null;
  const layers = b.layers.filter((layer) => layer.role !== "writable");
  const title = image === null ? container.image : unitTitle(holdings.node(image));
  const { source, platform } = b;
  return { a: { node: image, kind: "image", title, source, platform, layers }, b };
}

/** The layers that a container stands on, base first: those that its mount names. */
function chainOf(holdings: Holdings, container: NodeId): NodeId[] {
  const mounts = [...holdings.needs(container)].flatMap((id) => [...holdings.needs(id)]);
  const top = mounts.find((id) => holdings.node(id).kind === "layer");
  const chain: NodeId[] = [];
  const seen = new Set<NodeId>();
  for (let at = top ?? null; at !== null && !seen.has(at); at = holdings.layer(at).parent) {
    seen.add(at);
    chain.push(at);
  }
  return chain.reverse();
}

function imageLayer(holdings: Holdings, id: NodeId, keyOf: KeyOf): SideLayer {
  const doubts = noDoubts();
  const { diffId } = holdings.layer(id);
  return {
    label: `layer ${diffId === null ? "of unknown digest" : shortId(diffId)}`,
    key: keyOf(id),
    role: "image",
    size: holdings.layerSize(id),
    isView: false,
    doubts,
    open: () => openLayer(holdings, id, doubts),
    counts: () => true,
    content: (path) => {
      const store = holdings.storeOf(id);
      const unpacked = store.unpacked(holdings.ownId(id));
      return unpacked && store.tree.open(below(unpacked.folder, path));
    },
  };
}

function folderSide(
  store: Store,
  folder: BytePath,
  { isDiff }: UnpackedLayer,
  role: "init" | "writable",
  size: Size,
): SideLayer {
  const doubts = noDoubts();
  const isInit = role === "init";
  return {
    label: isInit ? "init layer" : "writable layer",
    key: `folder ${store.source} ${folder}`,
    role,
    size,
    isView: !isDiff && !isInit,
    doubts,
    open: () => folderLayer(store, folder, isDiff, doubts),
    // The view of an init layer shows the image as well.
    counts: (change, tree) =>
      !isInit || isDiff || (change.kind !== "opaque" && "path" in change && tree.find(change.path) === null),
    content: (path) => store.tree.open(below(folder, path)),
  };
}

function below(folder: BytePath, path: BytePath): BytePath {
  return `${folder}/${path}` as BytePath;
}
