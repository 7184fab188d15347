/** What deleting a group of images frees, and what each part of the group frees. */
import { addSizes, NOTHING, type NodeId, type Size } from "../graph/graph.ts";
import { reclaimable } from "../graph/sharing.ts";
import type { Holdings } from "./holdings.ts";

export interface WhatIfResult {
  readonly group: readonly NodeId[];
  readonly reclaimable: Size;
  readonly each: readonly { readonly node: NodeId; readonly exclusive: Size }[];
  /** Bytes that go only when all of `nodes` go. With `each`, what any part of the group frees is a sum of these. */
  readonly joint: readonly { readonly nodes: readonly NodeId[]; readonly size: Size }[];
  /** Bytes that the group needs and others keep, by who keeps them. */
  readonly keptBy: readonly { readonly nodes: readonly NodeId[]; readonly size: Size }[];
}

export function whatIf(holdings: Holdings, group: readonly NodeId[]): WhatIfResult {
  const members = new Set(group);
  const joint = new Map<string, { nodes: NodeId[]; size: Size }>();
  const keptBy = new Map<string, { nodes: NodeId[]; size: Size }>();
  const { users } = holdings;
  holdings.graph.nodes.forEach((node, id) => {
    if (!users || node.size.apparent === 0) return;
    const all = [...users.sets[users.setOf[id]!]!].map((unit) => holdings.images[unit]!);
    if (!all.some((one) => members.has(one))) return;
    const others = all.filter((one) => !members.has(one));
    if (others.length > 0) collect(keptBy, others, node.size);
    else if (all.length > 1) collect(joint, all, node.size);
  });
  return {
    group,
    reclaimable: reclaimable(holdings.graph, members),
    each: group.map((node) => ({ node, exclusive: holdings.exclusive[node] ?? NOTHING })),
    joint: largestFirst(joint),
    keptBy: largestFirst(keptBy),
  };
}

function collect(into: Map<string, { nodes: NodeId[]; size: Size }>, nodes: NodeId[], size: Size): void {
  const key = nodes.join(",");
  const before = into.get(key);
  into.set(key, { nodes, size: before ? addSizes(before.size, size) : size });
}

function largestFirst<Item extends { size: Size }>(items: ReadonlyMap<string, Item>): Item[] {
  return [...items.values()].sort((a, b) => b.size.apparent - a.size.apparent);
}
