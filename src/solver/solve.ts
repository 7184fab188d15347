/**
 * The best choice with a proof of how good it is. The hull of all choices gives a bound and a greedy choice
 * near it; where they are further apart than asked, HiGHS closes the gap. Whatever HiGHS returns is
 * recomputed, and nothing counts as optimal that a bound does not show.
 *
 * HiGHS runs on the calling thread and blocks it, signals included, for up to the time limit. Arguments and
 * results are plain data, so a worker can make the call.
 */

import type { Dag } from "./dag.ts";
import { type HullStep, hullSteps, price } from "./hull.ts";
import { type Row, solveProgram } from "./mip.ts";
import { type Choice, type ClosureProblem, evaluate, sumWhere } from "./problem.ts";
import { reduce } from "./reduce.ts";
import { Selection } from "./selection.ts";

export interface Target {
  /** Per node of the problem; integers, of which sums are exact below 2^53. */
  readonly gain: Float64Array;
  readonly atLeast: number;
}

export interface Limits {
  /** Wall time, kept to within a second or so. */
  readonly timeMs: number;
  /** A gap that is good enough to stop at, such as 0.01; 0 asks for the optimum. */
  readonly gap: number;
}

export interface Proof {
  /** Null when no choice will do. None of its items can be left out without loss. */
  readonly choice: Choice | null;
  /** No choice costs less (cheapestReaching) or gains more (largestWithin). */
  readonly bound: number;
  /** How far choice and bound are apart, as a part of the larger; 0 when optimal. */
  readonly gap: number;
  /** Proven best, to a relative 1e-9 where values are not integers or are above 1e9. */
  readonly optimal: boolean;
}

/** Relative error allowed to bounds: HiGHS's dual tolerance of 1e-7 a column, for 10,000 columns. */
const TOLERANCE = 1e-9;
/** Relative change of a row that HiGHS's tolerance cannot undo. */
const TIGHTER = 4e-12;
/** Bounds given away TOLERANCE, so this is the smallest gap that can be shown. */
const OPTIMAL_GAP = 2 * TOLERANCE;

/** The cheapest choice whose gains reach every target. With no choice that does, the bound is Infinity. */
export async function cheapestReaching(
  problem: ClosureProblem,
  targets: readonly Target[],
  limits: Limits,
): Promise<Proof> {
  const wanted = targets.filter((target) => target.atLeast > 0);
  const { items, dag, vectors } = reduce(problem, [problem.cost, ...wanted.map((target) => target.gain)]);
  const reached = (sums: readonly number[]) => wanted.every((t, k) => sums[k + 1]! >= t.atLeast);
  if (!reached(vectors.map(total))) return { choice: null, bound: Infinity, gap: 0, optimal: true };
  const [cost, ...gains] = vectors as [Float64Array, ...Float64Array[]];
  const goals = gains.map((gain, k) => ({ gain, atLeast: wanted[k]!.atLeast }));
  const hulls = (goals.length > 1 ? [...goals, joint(goals)] : goals).map(({ gain, atLeast }) => {
    const steps = hullSteps(dag, gain, cost);
    return { steps, bound: costOnHull(steps, atLeast) };
  });
  const order = hulls.at(-1)?.steps.flatMap((step) => itemsOf(step, items)) ?? [];
  const polish = (selection: Selection) => {
    for (let i = 0; i < order.length && !reached(selection.sums); i++) selection.add(order[i]!);
    for (const item of order.toReversed()) selection.tryRemove(item, () => reached(selection.sums));
  };
  return search(problem, limits, {
    items,
    dag,
    vectors,
    objective: cost,
    rows: goals.map(({ gain, atLeast }) => ({ values: gain, atLeast, atMost: Infinity })),
    bound: Math.max(0, ...hulls.map((hull) => hull.bound)),
    polish,
  });
}

/** A goal that every choice reaching all `goals` reaches: they count as parts of what each asks. */
function joint(goals: readonly Target[]): Target {
  const gain = goals[0]!.gain.map((_, v) =>
    goals.reduce((sum, goal) => sum + goal.gain[v]! / goal.atLeast, 0),
  );
  return { gain, atLeast: goals.length };
}

/** The choice with the most gain among those that cost at most `maxCost`. Null choice for a negative cost. */
export async function largestWithin(
  problem: ClosureProblem,
  maxCost: number,
  limits: Limits,
): Promise<Proof> {
  if (maxCost < 0) return { choice: null, bound: 0, gap: 0, optimal: true };
  const { items, dag, vectors } = reduce(problem, [problem.cost, problem.gain]);
  const [cost, gain] = vectors as [Float64Array, Float64Array];
  const hull = hullSteps(dag, gain, cost);
  const steps = hull.map((step) => itemsOf(step, items));
  const order = steps.flat().reverse();
  const fits = (selection: Selection) => selection.sums[0]! <= maxCost;
  const polish = (selection: Selection) => {
    for (let i = 0; i < order.length && !fits(selection); i++) selection.remove(order[i]!);
    for (const step of steps) {
      const before = selection.sums[1]!;
      selection.tryAdd(step, () => fits(selection) && selection.sums[1]! > before);
    }
    for (const item of order) {
      const before = selection.sums[1]!;
      selection.tryRemove(item, () => selection.sums[1]! >= before);
    }
  };
  const proof = await search(problem, limits, {
    items,
    dag,
    vectors,
    objective: gain.map((value) => -value),
    rows: [{ values: cost, atLeast: -Infinity, atMost: maxCost }],
    bound: -gainOnHull(hull, maxCost),
    polish,
  });
  return { ...proof, bound: Math.abs(proof.bound) };
}

interface Search {
  readonly items: number;
  readonly dag: Dag;
  /** Cost, then gains. */
  readonly vectors: readonly Float64Array[];
  /** To be made small. */
  readonly objective: Float64Array;
  readonly rows: readonly Row[];
  /** A bound for the objective from below. */
  readonly bound: number;
  /** Makes any selection satisfy the rows and leaves nothing in it that could simply go. */
  readonly polish: (selection: Selection) => void;
}

async function search(problem: ClosureProblem, limits: Limits, task: Search): Promise<Proof> {
  const deadline = performance.now() + limits.timeMs;
  const integral = task.objective.every(Number.isInteger);
  let best = polished(task, new Selection(task.dag, task.vectors));
  let value = sumDone(best, task.objective);
  let bound = Math.min(value, cautious(task.bound, integral));
  let rows = task.rows;
  for (let round = 0; round < 2; round++) {
    const timeMs = deadline - performance.now();
    if (gapBetween(value, bound) <= Math.max(limits.gap, OPTIMAL_GAP) || timeMs <= 0) break;
    const magnitude = Math.max(Math.abs(value), Math.abs(bound));
    const program = { ...task, rows, burden: task.vectors[0]!, start: best.done, magnitude };
    const result = await solveProgram(program, { timeMs, gap: limits.gap });
    if (result === null) break;
    const found = new Selection(task.dag, task.vectors);
    for (const item of result.items) found.add(item);
    const exact = task.rows.every((row) => holds(found, row));
    if (sumDone(polished(task, found), task.objective) < value) best = found;
    value = sumDone(best, task.objective);
    // The second round's rows are not the true ones, so it proves nothing.
    if (round === 0) bound = Math.min(value, Math.max(bound, cautious(result.bound, integral)));
    if (exact) break;
    rows = task.rows.map(tighter);
  }
  const items = best.chosen(task.items);
  const gap = gapBetween(value, bound);
  const optimal = gap <= OPTIMAL_GAP;
  return { choice: { items, ...evaluate(problem, items) }, bound, gap: optimal ? 0 : gap, optimal };
}

function polished(task: Search, selection: Selection): Selection {
  task.polish(selection);
  return selection;
}

/** A bound from below, lowered by what rounding may have added. */
function cautious(bound: number, integral: boolean): number {
  const safe = bound - TOLERANCE * Math.abs(bound);
  return integral ? Math.ceil(safe) : safe;
}

function gapBetween(value: number, bound: number): number {
  return value === bound ? 0 : (value - bound) / Math.max(Math.abs(value), Math.abs(bound));
}

function tighter(row: Row): Row {
  return { ...row, atLeast: row.atLeast * (1 + TIGHTER), atMost: row.atMost * (1 - TIGHTER) };
}

function holds(selection: Selection, row: Row): boolean {
  const sum = sumDone(selection, row.values);
  return sum >= row.atLeast && sum <= row.atMost;
}

function sumDone(selection: Selection, values: Float64Array): number {
  return sumWhere(selection.done, values);
}

function total(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function itemsOf(step: HullStep, items: number): number[] {
  return Array.from(step.nodes).filter((v) => v < items);
}

/** The least cost at which the hull reaches `gain`. */
function costOnHull(hull: readonly HullStep[], gain: number): number {
  let left = gain;
  let cost = 0;
  for (const step of hull) {
    if (step.gain >= left) return cost + price(step) * left;
    left -= step.gain;
    cost += step.cost;
  }
  return cost;
}

/** The most gain the hull reaches at `cost`. */
function gainOnHull(hull: readonly HullStep[], cost: number): number {
  let left = cost;
  let gain = 0;
  for (const step of hull) {
    if (step.cost > left) return gain + left / price(step);
    left -= step.cost;
    gain += step.gain;
  }
  return gain;
}
