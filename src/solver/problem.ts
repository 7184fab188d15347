/** The question: what to choose when some gain appears only once every user of a shared thing is chosen. */

/**
 * Items can be chosen. A group completes by itself as soon as all its predecessors are chosen or complete,
 * and then yields its gain and must pay its cost. Nodes 0..items-1 are the items, the groups follow; a group's
 * predecessors have smaller node numbers than the group. A group without predecessors never completes, nor
 * does anything after it: that is how to pin something.
 *
 * Gains and costs are at least 0 and finite. Integers whose sums stay below 2^53 are added exactly.
 */
export interface ClosureProblem {
  readonly items: number;
  readonly groups: number;
  /** Per node. */
  readonly gain: Float64Array;
  /** Per node. */
  readonly cost: Float64Array;
  /** Length groups + 1: group g's predecessors are preds[predStart[g]] up to, not including, preds[predStart[g + 1]]. */
  readonly predStart: Int32Array;
  readonly preds: Int32Array;
}

/** Chosen items in rising order, and what they yield and cost with the groups they complete. */
export interface Choice {
  readonly items: readonly number[];
  readonly gain: number;
  readonly cost: number;
}

/** Marks, per node, what is chosen or complete once `items` are chosen. */
function complete(problem: ClosureProblem, items: Iterable<number>): Uint8Array {
  const done = new Uint8Array(problem.items + problem.groups);
  for (const item of items) done[item] = 1;
  for (let g = 0; g < problem.groups; g++) {
    const start = problem.predStart[g]!;
    const end = problem.predStart[g + 1]!;
    let all = end > start;
    for (let e = start; all && e < end; e++) all = done[problem.preds[e]!] === 1;
    if (all) done[problem.items + g] = 1;
  }
  return done;
}

/** Gain and cost of choosing exactly `items`, in time linear in the problem. */
export function evaluate(problem: ClosureProblem, items: Iterable<number>): { gain: number; cost: number } {
  const done = complete(problem, items);
  return { gain: sumWhere(done, problem.gain), cost: sumWhere(done, problem.cost) };
}

/** The sum of the values of marked nodes. */
export function sumWhere(done: Uint8Array, values: Float64Array): number {
  let sum = 0;
  for (let v = 0; v < done.length; v++) if (done[v] === 1) sum += values[v]!;
  return sum;
}
