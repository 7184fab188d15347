/**
 * All stores of a run as one graph, with the sharing arithmetic done once and on demand. Every analysis starts here.
 */

import { displayPath } from "../byte-path.ts";
import {
  addSizes,
  type ContainerNode,
  edgesOf,
  type ImageNode,
  joinGraphs,
  type LayerNode,
  type NodeId,
  type Size,
  type StoreGraph,
  type StoreNode,
} from "../graph/graph.ts";
import {
  attributedSizes,
  exclusiveSizes,
  reachable,
  type UserSets,
  userSets,
  wanted,
} from "../graph/sharing.ts";
import type { Store } from "../stores/store.ts";

export class Holdings {
  readonly stores: readonly Store[];
  readonly graph: StoreGraph;
  /** All images, source by source in the order found; an image's place here is its number in `users`. */
  readonly images: readonly NodeId[];
  /** Images without a name that others were made from: engines list them with `-a` only. */
  readonly intermediates: readonly NodeId[];
  /** The same as a set. */
  readonly listed: ReadonlySet<NodeId>;
  /**
   * What an engine deletes as one: the images, then containers, volumes, build cache records, and what is left behind
   * and keeps others. A unit's place here is its number in `unitSets`.
   */
  readonly units: readonly NodeId[];
  private readonly offsets: readonly number[];
  private cachedExclusive: Size[] | null = null;
  private cachedUsers: UserSets | null | undefined;
  private cachedUnits: UserSets | null | undefined;
  private cachedReached: Uint8Array | null = null;

  constructor(stores: readonly Store[]) {
    this.stores = stores;
    const { graph, offsets } = joinGraphs(stores.map((store) => store.graph));
    this.graph = graph;
    this.offsets = offsets;
    const isRoot = new Set(graph.roots.flatMap((root) => (root.orphan ? [] : [root.node])));
    const having = (holds: (node: StoreNode, id: NodeId) => boolean): NodeId[] =>
      graph.nodes.flatMap((node, id) => (holds(node, id) ? [id] : []));
    this.images = having((node, id) => node.kind === "image" && isRoot.has(id));
    this.listed = new Set(this.images);
    this.intermediates = having((node, id) => node.kind === "image" && !isRoot.has(id) && !node.orphan);
    const others = having(
      ({ kind }, id) => isRoot.has(id) && (kind === "container" || kind === "volume" || kind === "cache"),
    );
    const leftovers = new Set(graph.roots.flatMap((root) => (root.orphan ? [root.node] : [])));
    this.units = [...this.images, ...others, ...leftovers];
  }

  node(id: NodeId): StoreNode {
    return this.graph.nodes[id]!;
  }

  image(id: NodeId): ImageNode {
    const node = this.node(id);
    if (node.kind !== "image") throw new TypeError(`node ${id} is no image`);
    return node;
  }

  layer(id: NodeId): LayerNode {
    const node = this.node(id);
    if (node.kind !== "layer") throw new TypeError(`node ${id} is no layer`);
    return node;
  }

  storeOf(id: NodeId): Store {
    return this.stores[this.storeIndex(id)]!;
  }

  /** The node's number in the graph of its own store. */
  ownId(id: NodeId): NodeId {
    return id - this.offsets[this.storeIndex(id)]!;
  }

  /** The number here of a node of one store. */
  idIn(store: Store, own: NodeId): NodeId {
    return own + this.offsets[this.stores.indexOf(store)]!;
  }

  private storeIndex(id: NodeId): number {
    let index = this.offsets.length - 1;
    while (this.offsets[index]! > id) index--;
    return index;
  }

  /** Per node: what deleting it alone frees. */
  get exclusive(): readonly Size[] {
    this.cachedExclusive ??= exclusiveSizes(this.graph);
    return this.cachedExclusive;
  }

  /** Which images need each node; null where the graph is too entangled to tell. */
  get users(): UserSets | null {
    if (this.cachedUsers === undefined) this.cachedUsers = userSets(this.graph, this.images);
    return this.cachedUsers;
  }

  /** Which units need each node; null where the graph is too entangled to tell. */
  get unitSets(): UserSets | null {
    if (this.units.length === this.images.length) return this.users;
    if (this.cachedUnits === undefined) this.cachedUnits = userSets(this.graph, this.units);
    return this.cachedUnits;
  }

  /** Units that need a node, images first. */
  holdersOf(id: NodeId): readonly NodeId[] {
    const { unitSets } = this;
    return unitSets ? [...unitSets.sets[unitSets.setOf[id]!]!].map((unit) => this.units[unit]!) : [];
  }

  /** IDs of the containers and build cache records that need a node; one list for all nodes of the same holders. */
  otherHolders(id: NodeId): readonly string[] {
    const { unitSets } = this;
    if (!unitSets || this.units.length === this.images.length) return [];
    const set = unitSets.setOf[id]!;
    const known = this.holderIds.get(set);
    if (known) return known;
    const ids = [...unitSets.sets[set]!].flatMap((unit) => {
      const node = this.node(this.units[unit]!);
      if (node.kind === "container") return [node.containerId];
      return node.kind === "cache" ? [node.recordId] : [];
    });
    this.holderIds.set(set, ids);
    return ids;
  }
  private readonly holderIds = new Map<number, readonly string[]>();

  /** Containers that were made from an image; the engine does not delete it as long as there are any. */
  containersOf(image: NodeId): ContainerNode[] {
    return [...edgesOf(this.graph.neededBy, image)]
      .map((id) => this.node(id))
      .filter((node) => node.kind === "container");
  }

  /** Each image's even part of all it needs, by its place in `images`; null where it cannot be told. */
  attributed(): readonly Size[] | null {
    return this.users && attributedSizes(this.graph, this.users, this.images.length);
  }

  /** 1 for nodes that something wanted needs; all others are orphans. */
  get reached(): Uint8Array {
    this.cachedReached ??= wanted(this.graph);
    return this.cachedReached;
  }

  /** Whether anything keeps a node, wanted or not. */
  isHeld(id: NodeId): boolean {
    this.cachedHeld ??= reachable(this.graph);
    return this.cachedHeld[id] === 1;
  }
  private cachedHeld: Uint8Array | null = null;

  /** Images that need a node, in listing order. */
  usersOf(id: NodeId): readonly NodeId[] {
    const { users } = this;
    return users ? [...users.sets[users.setOf[id]!]!].map((unit) => this.images[unit]!) : [];
  }

  /** A layer's bytes: those of the blob that it is stored as; of one kept as files the length that its engine shows. */
  layerSize(id: NodeId): Size {
    const layer = this.layer(id);
    if (layer.recorded != null) return { ...layer.size, apparent: layer.recorded };
    return layer.blob === null ? layer.size : addSizes(layer.size, this.node(layer.blob).size);
  }

  /** Layers of an image whose bytes are distinct: one that comes twice takes space once. */
  distinctLayers(image: ImageNode): NodeId[] {
    const seen = new Set<NodeId>();
    return image.layers.filter((id) => {
      const holder = this.layer(id).blob ?? id;
      if (seen.has(holder)) return false;
      seen.add(holder);
      return true;
    });
  }

  /** Nodes that need `id` directly. */
  neededBy(id: NodeId): Int32Array {
    return edgesOf(this.graph.neededBy, id);
  }

  /** Nodes that `id` needs directly. */
  needs(id: NodeId): Int32Array {
    return edgesOf(this.graph.needs, id);
  }
}

/** What a layer's content is, wherever it is stored: layers of equal key are the same to whoever uses them. */
export function contentKey(holdings: Holdings, id: NodeId): string {
  const layer = holdings.layer(id);
  // Kept as files it is stored for this place in a chain alone, and again for another.
  if (layer.recorded !== undefined && layer.chainId) return `chain ${layer.chainId}`;
  if (layer.diffId) return layer.diffId;
  const blob = layer.blob === null ? null : holdings.node(layer.blob);
  return blob?.kind === "blob" && blob.digest ? blob.digest : `node ${id}`;
}

/** The first name, or the beginning of the ID where there is none. */
export function titleOf(image: ImageNode): string {
  return image.names[0] ?? shortId(image.imageId);
}

/** What a unit is known by to its engine; a place where it is known by none. */
export function unitId(node: StoreNode): string {
  if (node.kind === "image") return node.imageId;
  if (node.kind === "container") return node.containerId;
  if (node.kind === "volume") return node.name;
  if (node.kind === "cache") return node.recordId;
  return node.path === null ? "" : displayPath(node.path);
}

/** What a unit is called in a list of what keeps others. */
export function unitTitle(node: StoreNode): string {
  if (node.kind === "image") return titleOf(node);
  if (node.kind === "container") return `container ${node.name}`;
  if (node.kind === "volume") return `volume ${node.name}`;
  if (node.kind === "cache") return `build cache ${node.recordId.slice(0, 12)}`;
  return node.path === null ? node.heading : displayPath(node.path);
}

/** Titles of units, with the records of the build cache as one. */
export function unitTitles(nodes: readonly StoreNode[]): string[] {
  const records = nodes.filter((node) => node.kind === "cache");
  if (records.length < 2) return nodes.map(unitTitle);
  const others = nodes.filter((node) => node.kind !== "cache");
  return [...others.map(unitTitle), `${records.length} build cache records`];
}

/** Whether the engine removes a container without being forced to. */
export function isStopped({ state }: ContainerNode): boolean {
  return state === "created" || state === "exited" || state === "dead";
}

/** Twelve hex digits, as engines show them. */
export function shortId(id: string): string {
  return id.slice(id.indexOf(":") + 1).slice(0, 12);
}
