/** What deleting a group of images (or containers, volumes, build cache) frees, and what each part of the group frees. */
import { addSizes, edgesOf, NOTHING, type NodeId, type Size } from "../graph/graph.ts";
import { onlyReachedBy, reclaimable } from "../graph/sharing.ts";
import type { Holdings } from "./holdings.ts";

export interface WhatIfResult {
  readonly group: readonly NodeId[];
  readonly reclaimable: Size;
  readonly each: readonly { readonly node: NodeId; readonly exclusive: Size }[];
  /** Bytes that go only when all of `nodes` go. With `each`, what any part of the group frees is a sum of these. */
  readonly joint: readonly { readonly nodes: readonly NodeId[]; readonly size: Size }[];
  /** Bytes that the group needs and others keep, by who keeps them. */
  readonly keptBy: readonly { readonly nodes: readonly NodeId[]; readonly size: Size }[];
  /** What the engine refuses for: containers outside the group that use something in it. */
  readonly blockedBy: readonly Blocker[];
  /** What goes once the build cache records have gone as well that hold some of it; null where none does. */
  readonly withCache: { readonly records: readonly NodeId[]; readonly reclaimable: Size } | null;
}

export interface Blocker {
  readonly node: NodeId;
  /** In the group. */
  readonly blocks: NodeId;
}

export function whatIf(holdings: Holdings, group: readonly NodeId[]): WhatIfResult {
  const members = new Set(group);
  const joint = new Map<string, { nodes: NodeId[]; size: Size }>();
  const keptBy = new Map<string, { nodes: NodeId[]; size: Size }>();
  const users = holdings.unitSets;
  holdings.graph.nodes.forEach((node, id) => {
    if (!users || (node.size.apparent === 0 && !node.size.allocated)) return;
    const all = [...users.sets[users.setOf[id]!]!].map((unit) => holdings.units[unit]!);
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
    blockedBy: blockers(holdings, members),
    withCache: withCache(holdings, members),
  };
}

/** Containers that use an image, or mount a volume; records that were made from a record. */
function blockers(holdings: Holdings, group: ReadonlySet<NodeId>): Blocker[] {
  return [...group].flatMap((blocks) =>
    [...edgesOf(holdings.graph.neededBy, blocks)]
      .filter((node) => !group.has(node) && holdings.node(node).kind === "container")
      .map((node) => ({ node, blocks })),
  );
}

/** Build cache that keeps layers which nothing else outside the group needs: what prune would have to take as well. */
function withCache(holdings: Holdings, group: ReadonlySet<NodeId>): WhatIfResult["withCache"] {
  const cache = holdings.units.filter((id) => holdings.node(id).kind === "cache" && !group.has(id));
  if (cache.length === 0) return null;
  const members = [...group].filter((id) => holdings.node(id).kind === "image");
  const all = new Set([...group, ...cache]);
  const gone = onlyReachedBy(holdings.graph, all);
  const records = new Set<NodeId>();
  const isMember = new Set(members);
  for (const id of gone) {
    const holders = holdings.holdersOf(id);
    if (!holders.some((one) => isMember.has(one))) continue;
    for (const one of holders) if (holdings.node(one).kind === "cache" && !group.has(one)) records.add(one);
  }
  if (records.size === 0) return null;
  const reclaimed = reclaimable(holdings.graph, new Set([...group, ...records]));
  return { records: [...records], reclaimable: reclaimed };
}

function collect(into: Map<string, { nodes: NodeId[]; size: Size }>, nodes: NodeId[], size: Size): void {
  const key = nodes.join(",");
  const before = into.get(key);
  into.set(key, { nodes, size: before ? addSizes(before.size, size) : size });
}

function largestFirst<Item extends { size: Size }>(items: ReadonlyMap<string, Item>): Item[] {
  return [...items.values()].sort((a, b) => b.size.apparent - a.size.apparent);
}
