/** The layer tree: who shares what. */
import type { Digest } from "../digest.ts";
import { addSizes, type NodeId, type Size } from "../graph/graph.ts";
import { type Holdings, titleOf } from "./holdings.ts";

export interface TreeRow {
  readonly node: NodeId;
  /** Row number of the layer below; null at a base. */
  readonly parent: number | null;
  readonly depth: number;
  readonly source: string;
  readonly diffId: Digest | null;
  readonly chainId: Digest | null;
  /** Of the layer itself. */
  readonly size: Size;
  /** From the base up to here. */
  readonly cumulative: Size;
  /** Images that stand on it, itself included. */
  readonly users: number;
  /** Images whose uppermost layer it is. */
  readonly tops: readonly string[];
}

/** Layers parents first, each followed by what stands on it; largest branch by number of images first. */
export function layerTree(holdings: Holdings): TreeRow[] {
  const { graph } = holdings;
  const children = new Map<NodeId | null, NodeId[]>();
  const tops = new Map<NodeId, string[]>();
  graph.nodes.forEach((node, id) => {
    if (node.kind !== "layer" || !holdings.reached[id]) return;
    const siblings = children.get(node.parent);
    if (siblings) siblings.push(id);
    else children.set(node.parent, [id]);
  });
  for (const id of holdings.images) {
    const image = holdings.image(id);
    for (const one of image.platforms) {
      const top = one.layers[one.layers.length - 1];
      if (top === undefined) continue;
      const titles = tops.get(top);
      if (titles) titles.push(titleOf(image));
      else tops.set(top, [titleOf(image)]);
    }
  }
  const users = (id: NodeId): number => {
    const sets = holdings.users;
    return sets ? sets.sets[sets.setOf[id]!]!.length : 0;
  };
  const rows: TreeRow[] = [];
  const ordered = (parent: NodeId | null): NodeId[] =>
    (children.get(parent) ?? []).sort((a, b) => users(b) - users(a) || a - b).reverse();
  const pending = ordered(null).map((id) => ({ id, parent: null as number | null }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { id, parent } = next;
    const layer = holdings.layer(id);
    const below = parent === null ? null : rows[parent]!;
    const size = holdings.layerSize(id);
    const row = rows.length;
    rows.push({
      node: id,
      parent,
      depth: below ? below.depth + 1 : 0,
      source: holdings.storeOf(id).source,
      diffId: layer.diffId,
      chainId: layer.chainId,
      size,
      cumulative: below ? addSizes(below.cumulative, size) : size,
      users: users(id),
      tops: [...new Set(tops.get(id) ?? [])],
    });
    for (const child of ordered(id)) pending.push({ id: child, parent: row });
  }
  return rows;
}
