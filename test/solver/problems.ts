/** Problems to test with: a literal builder, random ones, and the slow but obvious answers. */

import fc from "fast-check";
import type { ClosureProblem } from "../../src/solver/problem.ts";

export interface LooseNode {
  readonly gain: number;
  readonly cost: number;
}

/** `groups` name their predecessors by node number, items first. */
export function problemOf(
  items: readonly LooseNode[],
  groups: readonly (LooseNode & { readonly preds: readonly number[] })[],
): ClosureProblem {
  const predStart = [0];
  for (const group of groups) predStart.push(predStart.at(-1)! + group.preds.length);
  const nodes = [...items, ...groups];
  return {
    items: items.length,
    groups: groups.length,
    gain: Float64Array.from(nodes, (node) => node.gain),
    cost: Float64Array.from(nodes, (node) => node.cost),
    predStart: Int32Array.from(predStart),
    preds: Int32Array.from(groups.flatMap((group) => group.preds)),
  };
}

/** Up to `items` items and 12 groups; values are often 0 and often equal, or near `large`. */
export function anyProblem(items: number, large: number, groupCosts = true): fc.Arbitrary<ClosureProblem> {
  const value = fc.oneof(
    fc.constant(0),
    fc.integer({ min: 0, max: 20 }),
    fc.integer({ min: Math.max(0, large - 1000), max: large }),
  );
  const node = fc.record({ gain: value, cost: value });
  const group = fc.record({
    gain: value,
    cost: groupCosts ? value : fc.constant(0),
    picks: fc.array(fc.nat(), { maxLength: 4 }),
  });
  return fc
    .tuple(fc.array(node, { minLength: 1, maxLength: items }), fc.array(group, { maxLength: 12 }))
    .map(([nodes, groups]) =>
      problemOf(
        nodes,
        groups.map(({ picks, ...rest }, g) => ({
          ...rest,
          preds: picks.map((pick) => pick % (nodes.length + g)),
        })),
      ),
    );
}

/** Gain and cost straight from the definition, by recursion from each group. */
export function naiveEvaluate(problem: ClosureProblem, items: readonly number[], gain = problem.gain) {
  const isDone = (v: number): boolean => {
    if (v < problem.items) return items.includes(v);
    const g = v - problem.items;
    const preds = [...problem.preds.slice(problem.predStart[g], problem.predStart[g + 1])];
    return preds.length > 0 && preds.every(isDone);
  };
  const done = [...gain.keys()].filter(isDone);
  const sum = (values: Float64Array) => done.reduce((total, v) => total + values[v]!, 0);
  return { gain: sum(gain), cost: sum(problem.cost) };
}

/** Every choice, as items. */
export function allChoices(items: number): number[][] {
  const all = Array.from({ length: items }, (_, item) => item);
  return Array.from({ length: 2 ** items }, (_, bits) => all.filter((item) => (bits >> item) & 1));
}
