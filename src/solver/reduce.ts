/**
 * Shrinks a closure problem without changing any choice's value: what completes together becomes one node,
 * and groups lean on the largest smaller groups inside them. Layer chains then fold to a forest in which every
 * group has at least two predecessors, which is what makes the rest of the solver fast.
 */

import type { Dag } from "./dag.ts";
import type { ClosureProblem } from "./problem.ts";

export interface Reduced {
  /** Nodes 0..items-1 are the problem's items. */
  readonly items: number;
  readonly dag: Dag;
  /** The given per-node vectors, added up per node of `dag`. */
  readonly vectors: readonly Float64Array[];
}

/** A group as the set of items that complete it, in rising order. */
interface ItemSet {
  readonly members: Int32Array;
  /** Original group nodes with just this set. */
  readonly nodes: number[];
}

/** Folds `problem`, keeping per-node sums of each of `vectors` (all values at least 0). */
export function reduce(problem: ClosureProblem, vectors: readonly Float64Array[]): Reduced {
  const folded = vectors.map((vector) => vector.slice(0, problem.items));
  const sets = itemSets(problem).filter((set) => {
    if (set.members.length > 1) return set.nodes.some((v) => vectors.some((vector) => vector[v]! > 0));
    vectors.forEach((vector, k) => {
      for (const v of set.nodes) folded[k]![set.members[0]!]! += vector[v]!;
    });
    return false;
  });
  sets.sort((a, b) => a.members.length - b.members.length);
  const sums = vectors.map((vector, k) => {
    const out = new Float64Array(problem.items + sets.length);
    out.set(folded[k]!);
    sets.forEach((set, g) => {
      for (const v of set.nodes) out[problem.items + g]! += vector[v]!;
    });
    return out;
  });
  return { items: problem.items, dag: nest(problem.items, sets), vectors: sums };
}

/** The distinct item sets that complete groups, single items included. */
function itemSets(problem: ClosureProblem): ItemSet[] {
  const setOf: (ItemSet | null)[] = Array.from({ length: problem.items }, (_, item) => ({
    members: Int32Array.of(item),
    nodes: [],
  }));
  const seen = new Map<number, ItemSet[]>();
  const stamp = new Int32Array(problem.items).fill(-1);
  for (let g = 0; g < problem.groups; g++) {
    const preds = problem.preds.subarray(problem.predStart[g]!, problem.predStart[g + 1]!);
    const parts = new Set(Array.from(preds, (p) => setOf[p] ?? null));
    const set = parts.has(null) ? null : intern(seen, parts as ReadonlySet<ItemSet>, stamp, g);
    set?.nodes.push(problem.items + g);
    setOf.push(set);
  }
  const singles = setOf.slice(0, problem.items) as ItemSet[];
  return [...singles, ...[...seen.values()].flat()];
}

/** The one object for the union of `parts`, null for no parts. `stamp` holds `mark` nowhere yet. */
function intern(
  seen: Map<number, ItemSet[]>,
  parts: ReadonlySet<ItemSet>,
  stamp: Int32Array,
  mark: number,
): ItemSet | null {
  if (parts.size <= 1) return [...parts][0] ?? null;
  const members = unite(parts, stamp, mark);
  let hash = members.length;
  for (const item of members) hash = (Math.imul(hash, 0x01000193) ^ item) >>> 0;
  const bucket = seen.get(hash) ?? [];
  let set = bucket.find((other) => equal(other.members, members));
  if (set === undefined) {
    set = { members, nodes: [] };
    seen.set(hash, [...bucket, set]);
  }
  return set;
}

function unite(parts: ReadonlySet<ItemSet>, stamp: Int32Array, mark: number): Int32Array {
  const members: number[] = [];
  for (const part of parts) {
    for (const item of part.members) {
      if (stamp[item] === mark) continue;
      stamp[item] = mark;
      members.push(item);
    }
  }
  return Int32Array.from(members).sort();
}

function equal(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/**
 * Gives each set (rising by size) as predecessors the largest earlier sets inside it and the items left over.
 * Sets that only nest or keep apart, as those of a layer tree do, become a forest; a set that cuts across an
 * earlier one leans on the items of that part directly.
 */
function nest(items: number, sets: readonly ItemSet[]): Dag {
  const parent = Int32Array.from({ length: items }, (_, i) => i); // union-find over items
  const size = new Int32Array(items).fill(1);
  const top = Int32Array.from(parent); // per root: the node that completes with the whole tree
  const find = (item: number): number => {
    let root = item;
    while (parent[root] !== root) root = parent[root] = parent[parent[root]!]!;
    return root;
  };
  const preds: number[] = [];
  const predStart: number[] = new Array(items + 1).fill(0);
  for (const [g, { members }] of sets.entries()) {
    const inside = new Map<number, number>();
    for (const item of members) {
      const root = find(item);
      inside.set(root, (inside.get(root) ?? 0) + 1);
    }
    const whole = [...inside].filter(([root, count]) => size[root] === count).map(([root]) => root);
    for (const root of whole) preds.push(top[root]!);
    if (whole.length < inside.size) {
      for (const item of members) if (size[find(item)] !== inside.get(find(item))) preds.push(item);
    } else {
      const first = whole[0]!;
      for (const root of whole) parent[root] = first;
      size[first] = members.length;
      top[first] = items + g;
    }
    predStart.push(preds.length);
  }
  return {
    size: items + sets.length,
    predStart: Int32Array.from(predStart),
    preds: Int32Array.from(preds),
  };
}
