/**
 * All stores of a run as one graph, with the sharing arithmetic done once and on demand. Every analysis starts here.
 */
import {
  addSizes,
  edgesOf,
  type ImageNode,
  joinGraphs,
  type LayerNode,
  type NodeId,
  type Size,
  type StoreGraph,
  type StoreNode,
} from "../graph/graph.ts";
import { attributedSizes, exclusiveSizes, reachable, type UserSets, userSets } from "../graph/sharing.ts";
import type { Store } from "../stores/store.ts";

export class Holdings {
  readonly stores: readonly Store[];
  readonly graph: StoreGraph;
  /** All images, source by source in the order found; an image's place here is its number in user sets. */
  readonly images: readonly NodeId[];
  private readonly offsets: readonly number[];
  private cachedExclusive: Size[] | null = null;
  private cachedUsers: UserSets | null | undefined;
  private cachedReached: Uint8Array | null = null;

  constructor(stores: readonly Store[]) {
    this.stores = stores;
    const { graph, offsets } = joinGraphs(stores.map((store) => store.graph));
    this.graph = graph;
    this.offsets = offsets;
    this.images = graph.nodes.flatMap((node, id) => (node.kind === "image" ? [id] : []));
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

  /** The other way: a node of one store's graph, `index` being its place in `stores`. */
  jointId(index: number, own: NodeId): NodeId {
    return this.offsets[index]! + own;
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

  /** Each image's even part of all it needs, by its place in `images`; null where it cannot be told. */
  attributed(): readonly Size[] | null {
    return this.users && attributedSizes(this.graph, this.users, this.images.length);
  }

  /** 1 for nodes that some root reaches. */
  get reached(): Uint8Array {
    this.cachedReached ??= reachable(this.graph);
    return this.cachedReached;
  }

  /** Images that need a node, in listing order. */
  usersOf(id: NodeId): readonly NodeId[] {
    const { users } = this;
    return users ? [...users.sets[users.setOf[id]!]!].map((unit) => this.images[unit]!) : [];
  }

  /** A layer's bytes: its own, and those of the blob that it is stored as. */
  layerSize(id: NodeId): Size {
    const layer = this.layer(id);
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

  /** Nodes that `id` needs directly. */
  needs(id: NodeId): Int32Array {
    return edgesOf(this.graph.needs, id);
  }
}

/** What a layer's content is, wherever it is stored: layers of equal key are the same to whoever uses them. */
export function contentKey(holdings: Holdings, id: NodeId): string {
  const layer = holdings.layer(id);
  if (layer.diffId) return layer.diffId;
  const blob = layer.blob === null ? null : holdings.node(layer.blob);
  return blob?.kind === "blob" && blob.digest ? blob.digest : `node ${id}`;
}

/** The first name, or the beginning of the ID where there is none. */
export function titleOf(image: ImageNode): string {
  return image.names[0] ?? shortId(image.imageId);
}

/** Twelve hex digits, as engines show them. */
export function shortId(id: string): string {
  return id.slice(id.indexOf(":") + 1).slice(0, 12);
}
