/**
 * The arithmetic of sharing. Each question is answered for all images in one pass over the graph: `exclusive` from
 * a dominator tree, `attributed` from the set of images that need each node; nothing walks it once per image.
 */
import {
  addSizes,
  edgesOf,
  NOTHING,
  type NodeId,
  type Root,
  type Size,
  type StoreGraph,
  sumSizes,
} from "./graph.ts";

/** 1 for each node that some root reaches; roots for which `skip` holds do not count. */
export function reachable(
  graph: StoreGraph,
  skip: (node: NodeId, root: Root) => boolean = () => false,
): Uint8Array {
  const seen = new Uint8Array(graph.nodes.length);
  const stack: NodeId[] = [];
  const visit = (node: NodeId): void => {
    if (seen[node]) return;
    seen[node] = 1;
    stack.push(node);
  };
  for (const root of graph.roots) if (!skip(root.node, root)) visit(root.node);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    for (const needed of edgesOf(graph.needs, node)) visit(needed);
  }
  return seen;
}

/** 1 for each node that somebody wants: that a root reaches which is no orphan itself. */
export function wanted(graph: StoreGraph): Uint8Array {
  return reachable(graph, (_node, root) => root.orphan === true);
}

/** The nodes that go when the roots of `group` go: reached by them and by nothing else. */
export function onlyReachedBy(graph: StoreGraph, group: ReadonlySet<NodeId>): NodeId[] {
  const before = reachable(graph);
  const after = reachable(graph, (node) => group.has(node));
  const gone: NodeId[] = [];
  for (let node = 0; node < before.length; node++) if (before[node] && !after[node]) gone.push(node);
  return gone;
}

/** What deleting the roots of `group` frees. */
export function reclaimable(graph: StoreGraph, group: ReadonlySet<NodeId>): Size {
  return sumSizes(onlyReachedBy(graph, group).map((node) => graph.nodes[node]!.size));
}

/** Stands for the root above all roots. */
export const ABOVE_ALL = -1;
const UNREACHED = -2;

/**
 * The immediate dominator of each node, seen from a root above all roots: {@link ABOVE_ALL} where two roots or more
 * lead to it on different ways, -2 where none does. Semi-NCA (Georgiadis, Tarjan and Werneck, "Finding Dominators
 * in Practice", 2006), without recursion; cycles are no obstacle.
 */
export function dominators(graph: StoreGraph): Int32Array {
  const count = graph.nodes.length;
  const { order, parent, number } = depthFirst(graph);
  const reached = order.length;
  // Everything below is in depth-first numbers; 0 is the root above all roots.
  const semi = Int32Array.from({ length: reached }, (_, i) => i);
  const label = semi.slice();
  const ancestor = parent.slice(); // compressed as evaluation goes on
  const idom = parent.slice();
  const isRoot = new Uint8Array(count);
  for (const root of graph.roots) isRoot[root.node] = 1;
  for (let w = reached - 1; w > 0; w--) {
    const node = order[w]!;
    let best = isRoot[node] ? 0 : parent[w]!;
    for (const user of edgesOf(graph.neededBy, node)) {
      const v = number[user]!;
      if (v >= 0) best = Math.min(best, semi[evaluate(v, w, label, ancestor, semi)]!);
    }
    semi[w] = best;
  }
  for (let w = 1; w < reached; w++) {
    let up = idom[w]!;
    while (up > semi[w]!) up = idom[up]!;
    idom[w] = up;
  }
  const result = new Int32Array(count).fill(UNREACHED);
  for (let w = 1; w < reached; w++) result[order[w]!] = idom[w] === 0 ? ABOVE_ALL : order[idom[w]!]!;
  return result;
}

/** The vertex of least semidominator on the way from `v` up to the part of the forest numbered above `limit`. */
function evaluate(
  v: number,
  limit: number,
  label: Int32Array,
  ancestor: Int32Array,
  semi: Int32Array,
): number {
  if (v <= limit) return label[v]!;
  const path: number[] = [];
  let top = v;
  while (ancestor[top]! > limit) {
    path.push(top);
    top = ancestor[top]!;
  }
  for (let i = path.length - 1; i >= 0; i--) {
    const at = path[i]!;
    const above = ancestor[at]!;
    if (semi[label[above]!]! < semi[label[at]!]!) label[at] = label[above]!;
    ancestor[at] = ancestor[above]!;
  }
  return label[v]!;
}

/** Nodes by depth-first number (entry 0 stands for the root above all), each one's parent's number, and the inverse. */
function depthFirst(graph: StoreGraph): { order: Int32Array; parent: Int32Array; number: Int32Array } {
  const count = graph.nodes.length;
  const number = new Int32Array(count).fill(-1);
  const order = new Int32Array(count + 1).fill(-1);
  const parent = new Int32Array(count + 1);
  let next = 1;
  const enter = (node: NodeId, from: number): void => {
    parent[next] = from;
    order[next] = node;
    number[node] = next++;
  };
  const stack: NodeId[] = [];
  const at: number[] = [];
  for (const root of graph.roots) {
    if (number[root.node]! >= 0) continue;
    enter(root.node, 0);
    stack.push(root.node);
    at.push(graph.needs.start[root.node]!);
    while (stack.length > 0) {
      const node = stack[stack.length - 1]!;
      const edge = at[at.length - 1]!++;
      if (edge === graph.needs.start[node + 1]) {
        stack.pop();
        at.pop();
        continue;
      }
      const needed = graph.needs.to[edge]!;
      if (number[needed]! >= 0) continue;
      enter(needed, number[node]!);
      stack.push(needed);
      at.push(graph.needs.start[needed]!);
    }
  }
  return { order: order.slice(0, next), parent: parent.slice(0, next), number };
}

/**
 * For each node, what deleting all of its roots alone frees: its own bytes and those of all that it dominates.
 * Nothing where something else needs the node itself, and nothing where no root reaches it.
 */
export function exclusiveSizes(graph: StoreGraph): Size[] {
  const idom = dominators(graph);
  const count = graph.nodes.length;
  const children = new Int32Array(count);
  for (const up of idom) if (up >= 0) children[up]!++;
  const sums: Size[] = graph.nodes.map((node) => node.size);
  // Leaves of the dominator tree first; each is added to the node above it once all below it are.
  const ready: NodeId[] = [];
  for (let node = 0; node < count; node++)
    if (idom[node]! !== UNREACHED && children[node] === 0) ready.push(node);
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    const up = idom[node]!;
    if (up < 0) continue;
    sums[up] = addSizes(sums[up]!, sums[node]!);
    if (--children[up]! === 0) ready.push(up);
  }
  const isRoot = new Uint8Array(count);
  for (const root of graph.roots) isRoot[root.node] = 1;
  return sums.map((sum, node) => {
    const free = idom[node] === ABOVE_ALL && !needed(graph, idom, node);
    return isRoot[node] && free ? sum : NOTHING;
  });
}

/** Whether anything that a root reaches needs the node, other than the node itself and what only it leads to. */
function needed(graph: StoreGraph, idom: Int32Array, node: NodeId): boolean {
  return edgesOf(graph.neededBy, node).some(
    (user) => user !== node && idom[user] !== UNREACHED && !isBelow(idom, user, node),
  );
}

function isBelow(idom: Int32Array, node: NodeId, top: NodeId): boolean {
  let at = node;
  while (at >= 0 && at !== top) at = idom[at]!;
  return at === top;
}

/** Sets of units (numbered from 0), each set once; `setOf[node]` is the set of units that need the node. */
export interface UserSets {
  readonly setOf: Int32Array;
  /** Ascending members; set 0 is empty. */
  readonly sets: readonly Int32Array[];
  /** What each set was first made of: the union of earlier sets and of single units. */
  readonly parts: readonly { readonly sets: readonly number[]; readonly units: readonly number[] }[];
}

/** Above this many members in all the sets are too entangled to hold: 64 Mi numbers are 256 MB. */
const MEMBER_LIMIT = 1 << 26;

/**
 * Which of `units` (node IDs: the images, say) need each node, a unit needing itself. Sets flow from what needs to
 * what is needed, over the strongly connected components in topological order; equal sets are one.
 * Null where a hostile graph would take more memory than is sensible.
 */
export function userSets(graph: StoreGraph, units: readonly NodeId[]): UserSets | null {
  const { componentOf, members } = components(graph);
  const intern = new Interner();
  const setOfComponent = new Int32Array(members.length);
  const own = new Map<number, number[]>();
  for (const [unit, node] of units.entries()) {
    const component = componentOf[node]!;
    own.set(component, [...(own.get(component) ?? []), unit]);
  }
  // Tarjan completes what is needed first, so the last component has no users.
  for (let component = members.length - 1; component >= 0; component--) {
    const incoming = new Set<number>();
    for (const node of members[component]!) {
      for (const user of edgesOf(graph.neededBy, node)) {
        if (componentOf[user] !== component) incoming.add(setOfComponent[componentOf[user]!]!);
      }
    }
    setOfComponent[component] = intern.union(incoming, own.get(component) ?? []);
    if (intern.total > MEMBER_LIMIT) return null;
  }
  return {
    setOf: componentOf.map((component) => setOfComponent[component]!),
    sets: intern.sets,
    parts: intern.parts,
  };
}

class Interner {
  readonly sets: Int32Array[] = [new Int32Array(0)];
  readonly parts: { sets: readonly number[]; units: readonly number[] }[] = [{ sets: [], units: [] }];
  total = 0;
  private readonly unions = new Map<string, number>();
  private readonly byHash = new Map<number, number[]>();

  /** The number of the union of sets `ids` and the single members `extra`. */
  union(ids: ReadonlySet<number>, extra: readonly number[]): number {
    const parts = [...ids].filter((id) => id !== 0).sort((a, b) => a - b);
    if (extra.length === 0 && parts.length < 2) return parts[0] ?? 0;
    const key = `${parts.join(",")}+${extra.join(",")}`;
    const known = this.unions.get(key);
    if (known !== undefined) return known;
    const members = new Set<number>(extra);
    for (const part of parts) for (const member of this.sets[part]!) members.add(member);
    const id = this.intern(Int32Array.from(members).sort());
    this.parts[id] ??= { sets: parts, units: extra };
    this.unions.set(key, id);
    return id;
  }

  private intern(set: Int32Array): number {
    let hash = set.length;
    for (const member of set) hash = (Math.imul(hash, 31) + member) | 0;
    const bucket = this.byHash.get(hash) ?? [];
    for (const id of bucket) if (same(this.sets[id]!, set)) return id;
    this.byHash.set(hash, bucket);
    bucket.push(this.sets.length);
    this.total += set.length;
    return this.sets.push(set) - 1;
  }
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((member, i) => member === b[i]);
}

/** Strongly connected components, those that others need first (Tarjan 1972, without recursion). */
function components(graph: StoreGraph): { componentOf: Int32Array; members: NodeId[][] } {
  const count = graph.nodes.length;
  const { start, to } = graph.needs;
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const componentOf = new Int32Array(count).fill(-1);
  const members: NodeId[][] = [];
  const open: NodeId[] = [];
  const path: NodeId[] = [];
  const at = start.slice(0, count);
  let next = 0;
  const enter = (node: NodeId): void => {
    index[node] = low[node] = next++;
    open.push(node);
    path.push(node);
  };
  for (let first = 0; first < count; first++) {
    if (index[first]! >= 0) continue;
    enter(first);
    while (path.length > 0) {
      const node = path[path.length - 1]!;
      if (at[node]! < start[node + 1]!) {
        const needed = to[at[node]!++]!;
        if (index[needed]! < 0) enter(needed);
        else if (componentOf[needed]! < 0) low[node] = Math.min(low[node]!, index[needed]!);
        continue;
      }
      path.pop();
      const above = path[path.length - 1];
      if (above !== undefined) low[above] = Math.min(low[above]!, low[node]!);
      if (low[node] !== index[node]) continue;
      const component: NodeId[] = [];
      let member: NodeId;
      do {
        member = open.pop()!;
        componentOf[member] = members.length;
        component.push(member);
      } while (member !== node);
      members.push(component);
    }
  }
  return { componentOf, members };
}

/**
 * Every byte that some unit needs, split evenly among the units that need it; whole bytes, the remainders to the
 * first of them, so that the shares sum to the total exactly.
 */
export function attributedSizes(graph: StoreGraph, users: UserSets, unitCount: number): Size[] {
  const bytes: Size[] = users.sets.map(() => NOTHING);
  graph.nodes.forEach((node, id) => {
    const set = users.setOf[id]!;
    bytes[set] = addSizes(bytes[set]!, node.size);
  });
  const shares: Size[] = Array.from({ length: unitCount }, () => NOTHING);
  users.sets.forEach((members, set) => {
    const total = bytes[set]!;
    members.forEach((unit, rank) => {
      shares[unit] = addSizes(shares[unit]!, shareOf(total, members.length, rank));
    });
  });
  return shares;
}

function shareOf(total: Size, parts: number, rank: number): Size {
  const share = (value: number): number => Math.floor(value / parts) + (rank < value % parts ? 1 : 0);
  return {
    apparent: share(total.apparent),
    allocated: total.allocated === null ? null : share(total.allocated),
    inodes: total.inodes === null ? null : share(total.inodes),
  };
}
