/** What each image takes, shares and holds alone. */
import type { Digest } from "../digest.ts";
import type { ImageNode, NodeId, Size } from "../graph/graph.ts";
import { NOTHING, sumSizes } from "../graph/graph.ts";
import { contentKey, type Holdings } from "./holdings.ts";

export interface LayerRow {
  readonly diffId: Digest | null;
  readonly chainId: Digest | null;
  /** Of the stored bytes. */
  readonly digest: Digest | null;
  readonly size: Size;
  readonly unpacked: number | null;
  /** IDs of other images with this content, in any source; the first few where there are very many. */
  readonly sharedBy: readonly string[];
  /** How many there are. */
  readonly sharedByCount: number;
  /** What else holds it: IDs of containers and of build cache records. */
  readonly heldBy: readonly string[];
}

export interface ImageRow {
  readonly node: NodeId;
  readonly image: ImageNode;
  readonly source: string;
  /** Sum of its layers. */
  readonly size: Size;
  /** The part of `size` that others need too, in any source. */
  readonly shared: Size;
  /** The part of `size` that other images need, which is what Docker calls shared. */
  readonly sharedWithImages: Size;
  /** What deleting it from its source frees: layers, config and manifests that nothing else there needs. */
  readonly exclusive: Size;
  /** Null where the sources are too entangled to tell. */
  readonly attributed: Size | null;
  /** Base first; worked out when asked for: 10,000 images have 200,000 of them. */
  readonly layers: () => LayerRow[];
  readonly dangling: boolean;
  /** IDs of containers that were made from it. */
  readonly usedBy: readonly string[];
}

/** `sharedBy` lists hold this many IDs in all: 10,000 images on one base would else print 100 million. */
const ID_BUDGET = 1_000_000;

/** Rows of all images, with the intermediate ones or without, or of those in `only`. */
export function imageRows(
  holdings: Holdings,
  only: ReadonlySet<NodeId> | null = null,
  intermediates = false,
): ImageRow[] {
  const attributed = holdings.attributed();
  const users = contentUsers(holdings);
  const references = holdings.images.reduce((sum, id) => sum + holdings.image(id).layers.length, 0);
  const limit = Math.max(1, Math.floor(ID_BUDGET / Math.max(1, references)));
  const listed = intermediates ? [...holdings.images, ...holdings.intermediates] : holdings.images;
  return listed.flatMap((node, place): ImageRow[] => {
    if (only && !only.has(node)) return [];
    const image = holdings.image(node);
    const inOthers = (layer: NodeId): boolean => (users.get(contentKey(holdings, layer))?.length ?? 0) > 1;
    const isShared = (layer: NodeId): boolean => inOthers(layer) || holdings.otherHolders(layer).length > 0;
    const { layers } = image; // as engines show sizes: a layer that comes twice counts twice
    const row = {
      node,
      image,
      source: holdings.storeOf(node).source,
      size: sumSizes(layers.map((layer) => holdings.layerSize(layer))),
      shared: sumSizes(layers.filter(isShared).map((layer) => holdings.layerSize(layer))),
      sharedWithImages: sumSizes(layers.filter(inOthers).map((layer) => holdings.layerSize(layer))),
      exclusive: holdings.exclusive[node] ?? NOTHING,
      attributed: place < holdings.images.length ? (attributed?.[place] ?? null) : NOTHING,
      layers: () => image.layers.map((layer) => layerRow(holdings, layer, node, users, limit)),
      dangling: image.names.length === 0,
      usedBy: holdings.containersOf(node).map((container) => container.containerId),
    };
    return [row];
  });
}

/** Images by the content of their layers, each once. */
function contentUsers(holdings: Holdings): Map<string, NodeId[]> {
  const users = new Map<string, NodeId[]>();
  for (const id of holdings.images) {
    for (const layer of holdings.image(id).layers) {
      const key = contentKey(holdings, layer);
      const known = users.get(key);
      if (!known) users.set(key, [id]);
      else if (known[known.length - 1] !== id) known.push(id);
    }
  }
  return users;
}

function layerRow(
  holdings: Holdings,
  id: NodeId,
  image: NodeId,
  users: ReadonlyMap<string, readonly NodeId[]>,
  limit: number,
): LayerRow {
  const layer = holdings.layer(id);
  const blob = layer.blob === null ? null : holdings.node(layer.blob);
  const all = users.get(contentKey(holdings, id)) ?? [];
  const sharedBy: string[] = [];
  for (const other of all) {
    if (sharedBy.length === limit) break;
    if (other !== image) sharedBy.push(holdings.image(other).imageId);
  }
  return {
    diffId: layer.diffId,
    chainId: layer.chainId,
    digest: blob?.kind === "blob" ? blob.digest : null,
    size: holdings.layerSize(id),
    unpacked: layer.unpacked,
    sharedBy,
    sharedByCount: all.length - 1,
    heldBy: holdings.otherHolders(id).slice(0, limit),
  };
}
