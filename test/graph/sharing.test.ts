/** The arithmetic of sharing against answers that are found the slow and obvious way. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  edgesOf,
  GraphBuilder,
  joinGraphs,
  type NodeId,
  type Size,
  type StoreGraph,
  type StoreNode,
  toEdges,
} from "../../src/graph/graph.ts";
import {
  ABOVE_ALL,
  attributedSizes,
  dominators,
  exclusiveSizes,
  onlyReachedBy,
  reachable,
  reclaimable,
  userSets,
} from "../../src/graph/sharing.ts";

function node(apparent: number, allocated: number | null = apparent): StoreNode {
  const size: Size = { apparent, allocated, inodes: 1 };
  return { kind: "files", what: "", count: 1, heading: "images", path: null, size };
}

interface Plan {
  readonly sizes: readonly number[];
  readonly edges: readonly (readonly [number, number])[];
  readonly roots: readonly number[];
}

function graphOf({ sizes, edges, roots }: Plan): StoreGraph {
  const builder = new GraphBuilder();
  for (const size of sizes) builder.add(node(size));
  for (const [from, to] of edges) builder.edge(from, to);
  for (const root of roots) builder.root(root, "test");
  return builder.build();
}

/** Any graph: cycles, loops, repeated edges, repeated roots, roots that others need, parts that no root reaches. */
const plans: fc.Arbitrary<Plan> = fc.integer({ min: 1, max: 14 }).chain((count) => {
  const id = fc.integer({ min: 0, max: count - 1 });
  return fc.record({
    sizes: fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: count, maxLength: count }),
    edges: fc.array(fc.tuple(id, id), { maxLength: 40 }),
    roots: fc.array(id, { maxLength: 6 }),
  });
});

/** Nodes that can be reached from `from` without going through `without`. */
function reach(plan: Plan, from: readonly number[], without: number | null = null): Set<number> {
  const seen = new Set(from.filter((one) => one !== without));
  for (let grown = true; grown; ) {
    grown = false;
    for (const [a, b] of plan.edges) {
      if (!seen.has(a) || seen.has(b) || b === without) continue;
      seen.add(b);
      grown = true;
    }
  }
  return seen;
}

const sizeOf = (plan: Plan, nodes: Iterable<number>): number =>
  [...nodes].reduce((sum, one) => sum + plan.sizes[one]!, 0);

/** Reached now and no longer when the roots at `group` are gone. */
function freed(plan: Plan, group: ReadonlySet<number>): Set<number> {
  const left = plan.roots.filter((root) => !group.has(root));
  const after = reach(plan, left);
  return new Set([...reach(plan, plan.roots)].filter((one) => !after.has(one)));
}

const RUNS = { numRuns: 2000 };

test("edges, both ways", () => {
  fc.assert(
    fc.property(plans, (plan) => {
      const graph = graphOf(plan);
      for (const [id] of plan.sizes.entries()) {
        const sorted = (edges: Iterable<number>): number[] => [...edges].sort((a, b) => a - b);
        expect(sorted(edgesOf(graph.needs, id))).toEqual(
          sorted(plan.edges.filter(([from]) => from === id).map(([, to]) => to)),
        );
        expect(sorted(edgesOf(graph.neededBy, id))).toEqual(
          sorted(plan.edges.filter(([, to]) => to === id).map(([from]) => from)),
        );
      }
    }),
  );
});

test("reachable, and what only some roots reach", () => {
  fc.assert(
    fc.property(plans, fc.array(fc.nat(13)), (plan, chosen) => {
      const graph = graphOf(plan);
      const all = reach(plan, plan.roots);
      expect([...reachable(graph)].flatMap((mark, id) => (mark ? [id] : []))).toEqual(
        [...all].sort((a, b) => a - b),
      );
      const group = new Set(chosen.filter((id) => id < plan.sizes.length));
      const gone = freed(plan, group);
      expect(onlyReachedBy(graph, group)).toEqual([...gone].sort((a, b) => a - b));
      expect(reclaimable(graph, group).apparent).toBe(sizeOf(plan, gone));
    }),
    RUNS,
  );
});

test("dominators: the nearest node that all ways go through", () => {
  fc.assert(
    fc.property(plans, (plan) => {
      const idom = dominators(graphOf(plan));
      const all = reach(plan, plan.roots);
      const strict = (id: number): number[] =>
        [...all].filter((one) => one !== id && !reach(plan, plan.roots, one).has(id));
      for (const [id] of plan.sizes.entries()) {
        if (!all.has(id)) {
          expect(idom[id]).toBe(-2);
          continue;
        }
        // Of the dominators, the immediate one is that which all the others dominate.
        const above = strict(id);
        const nearest = above.find((one) => strict(one).length === above.length - 1);
        expect(idom[id]).toBe(nearest ?? ABOVE_ALL);
      }
    }),
    RUNS,
  );
});

test("exclusive: what goes when all the roots at a node go", () => {
  fc.assert(
    fc.property(plans, (plan) => {
      const exclusive = exclusiveSizes(graphOf(plan));
      for (const [id] of plan.sizes.entries()) {
        const gone = freed(plan, new Set([id]));
        expect(exclusive[id]!.apparent).toBe(sizeOf(plan, gone));
        expect(exclusive[id]!.inodes).toBe(gone.size);
      }
    }),
    RUNS,
  );
});

test("exclusive is no more than what any group that holds the node gives back", () => {
  fc.assert(
    fc.property(plans, fc.array(fc.nat(13)), (plan, chosen) => {
      const graph = graphOf(plan);
      const exclusive = exclusiveSizes(graph);
      const group = new Set(chosen.filter((id) => id < plan.sizes.length));
      const back = reclaimable(graph, group).apparent;
      const alone = [...group].map((id) => exclusive[id]!.apparent);
      for (const one of alone) expect(one).toBeLessThanOrEqual(back);
      expect(alone.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(back);
    }),
    RUNS,
  );
});

const withUnits = plans.chain((plan) =>
  fc.tuple(
    fc.constant(plan),
    fc.uniqueArray(fc.integer({ min: 0, max: plan.sizes.length - 1 }), { maxLength: 6 }),
  ),
);

test("user sets: which units need a node; equal sets are one", () => {
  fc.assert(
    fc.property(withUnits, ([plan, units]) => {
      const users = userSets(graphOf(plan), units)!;
      const needs = units.map((unit) => reach(plan, [unit]));
      for (const [id] of plan.sizes.entries()) {
        const expected = needs.flatMap((set, place) => (set.has(id) ? [place] : []));
        expect([...users.sets[users.setOf[id]!]!]).toEqual(expected);
      }
      expect(new Set(users.sets.map((set) => set.join(","))).size).toBe(users.sets.length);
      expect(users.parts).toHaveLength(users.sets.length);
      for (const [set, { sets, units: own }] of users.parts.entries()) {
        const union = new Set([...own, ...sets.flatMap((one) => [...users.sets[one]!])]);
        expect([...union].sort((a, b) => a - b)).toEqual([...users.sets[set]!]);
        for (const one of sets) expect(one).toBeLessThan(set);
      }
    }),
    RUNS,
  );
});

test("attributed: even parts that sum to all that some unit needs, to the byte", () => {
  fc.assert(
    fc.property(withUnits, ([plan, units]) => {
      const graph = graphOf(plan);
      const users = userSets(graph, units)!;
      const shares = attributedSizes(graph, users, units.length);
      const needs = units.map((unit) => reach(plan, [unit]));
      const needed = new Set(needs.flatMap((set) => [...set]));
      expect(shares.reduce((sum, share) => sum + share.apparent, 0)).toBe(sizeOf(plan, needed));
      expect(shares.reduce((sum, share) => sum + share.inodes!, 0)).toBe(needed.size);
      for (const [place, share] of shares.entries()) {
        const fair = [...needs[place]!].reduce(
          (sum, id) => sum + plan.sizes[id]! / needs.filter((set) => set.has(id)).length,
          0,
        );
        // A remainder of less than a byte a set of users.
        expect(Math.abs(share.apparent - fair)).toBeLessThan(users.sets.length + 1e-6);
      }
    }),
    RUNS,
  );
});

test("a size that is not known makes the sums that it is part of unknown, and no others", () => {
  const builder = new GraphBuilder();
  const known = builder.add(node(10));
  const unknown = builder.add(node(20, null));
  const blob = builder.add(node(5));
  builder.edge(known, blob);
  builder.edge(unknown, builder.add(node(7)));
  builder.root(known, "");
  builder.root(unknown, "");
  const graph = builder.build();
  const exclusive = exclusiveSizes(graph);
  expect(exclusive[known]).toEqual({ apparent: 15, allocated: 15, inodes: 2 });
  expect(exclusive[unknown]).toEqual({ apparent: 27, allocated: null, inodes: 2 });
  const shares = attributedSizes(graph, userSets(graph, [known, unknown])!, 2);
  expect(shares.map((share) => share.allocated)).toEqual([15, null]);
});

test("graphs side by side answer as each alone", () => {
  fc.assert(
    fc.property(fc.array(plans, { minLength: 1, maxLength: 4 }), (several) => {
      const graphs = several.map(graphOf);
      const { graph, offsets } = joinGraphs(graphs);
      const joined = exclusiveSizes(graph);
      for (const [i, one] of graphs.entries()) {
        const alone = exclusiveSizes(one);
        expect(joined.slice(offsets[i]!, offsets[i]! + alone.length)).toEqual(alone);
      }
    }),
  );
});

describe("100,000 nodes", () => {
  const COUNT = 100_000;
  const ids = Array.from({ length: COUNT }, (_, id) => id);
  const build = (edges: (id: NodeId) => readonly NodeId[], roots: readonly NodeId[]): StoreGraph => {
    const builder = new GraphBuilder();
    for (const _ of ids) builder.add(node(1));
    for (const id of ids) for (const to of edges(id)) builder.edge(id, to);
    for (const root of roots) builder.root(root, "");
    return builder.build();
  };
  const next = (id: NodeId): NodeId[] => (id + 1 < COUNT ? [id + 1] : []);

  test("a chain", () => {
    const graph = build(next, [0]);
    expect(exclusiveSizes(graph)[0]!.apparent).toBe(COUNT);
    expect(dominators(graph)[COUNT - 1]).toBe(COUNT - 2);
    expect(reclaimable(graph, new Set([0])).apparent).toBe(COUNT);
    const users = userSets(graph, [0, 50_000])!;
    expect(users.sets).toHaveLength(3);
    const shares = attributedSizes(graph, users, 2);
    expect(shares.map((share) => share.apparent)).toEqual([75_000, 25_000]);
  });

  test("a chain of which every node is a root", () => {
    const exclusive = exclusiveSizes(build(next, ids));
    expect(exclusive[0]!.apparent).toBe(1);
    expect(exclusive[COUNT - 1]!.apparent).toBe(0);
  });

  test("a chain numbered the other way round", () => {
    const graph = build((id) => (id > 0 ? [id - 1] : []), [COUNT - 1, COUNT - 1]);
    expect(exclusiveSizes(graph)[COUNT - 1]!.apparent).toBe(COUNT);
  });

  test("a circle", () => {
    const graph = build((id) => [(id + 1) % COUNT], [7]);
    expect(exclusiveSizes(graph)[7]!.apparent).toBe(COUNT);
    expect(userSets(graph, [7, 9])!.setOf[3]).toBe(userSets(graph, [7, 9])!.setOf[70_000]);
  });

  test("as many images on one base", () => {
    const graph = build((id) => (id > 0 ? [0] : []), ids.slice(1));
    const exclusive = exclusiveSizes(graph);
    expect(exclusive[0]!.apparent).toBe(0);
    expect(exclusive.slice(1).every((size) => size.apparent === 1)).toBe(true);
    const units = ids.slice(1);
    const shares = attributedSizes(graph, userSets(graph, units)!, units.length);
    expect(shares.reduce((sum, share) => sum + share.apparent, 0)).toBe(COUNT);
  });

  test("a ladder: each node needs the next two", () => {
    const graph = build((id) => [id + 1, id + 2].filter((to) => to < COUNT), [0]);
    expect(exclusiveSizes(graph)[0]!.apparent).toBe(COUNT);
    expect(dominators(graph)[COUNT - 1]).toBe(0);
  });
});

test("edges of nothing", () => {
  expect(toEdges(0, [], [])).toEqual({ start: new Int32Array(1), to: new Int32Array(0) });
  expect(exclusiveSizes(new GraphBuilder().build())).toEqual([]);
  expect(userSets(new GraphBuilder().build(), [])!.sets).toHaveLength(1);
});
