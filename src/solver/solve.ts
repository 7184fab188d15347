/**
 * The best choice with a proof of how good it is. The hull of all choices gives a bound and a greedy choice
 * near it; where they are further apart than asked, HiGHS closes the gap. Whatever HiGHS returns is
 * recomputed, and nothing counts as optimal that a bound does not show.
 *
 * HiGHS runs on the calling thread and blocks it, signals included, for up to the time limit. Arguments and
 * results are plain data, so a worker can make the call.
 */

import type { Dag } from "./dag.ts";
import { decideItems } from "./fixing.ts";
import { costAtGain, gainAtCost, type HullStep, hullSteps } from "./hull.ts";
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
  /** Proven best: exactly for integers below 1e9, otherwise to a relative 2e-9. */
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
  const deadline = performance.now() + limits.timeMs;
  const wanted = targets.filter((target) => target.atLeast > 0);
  const { items, dag, vectors } = reduce(problem, [problem.cost, ...wanted.map((target) => target.gain)]);
  const reached = (sums: readonly number[]) => wanted.every((t, k) => sums[k + 1]! >= t.atLeast);
  if (!reached(vectors.map(total))) return { choice: null, bound: Infinity, gap: 0, optimal: true };
  const [cost, ...gains] = vectors as [Float64Array, ...Float64Array[]];
  const goals = gains.map((gain, k) => ({ gain, atLeast: wanted[k]!.atLeast }));
  const hulls = (goals.length > 1 ? [...goals, joint(goals)] : goals).map(({ gain, atLeast }) => {
    const steps = hullSteps(dag, gain, cost);
    return { steps, gain, cost, ...costAtGain(steps, atLeast) };
  });
  const order = hulls.at(-1)?.steps.flatMap((step) => itemsOf(step, items)) ?? [];
  const polish = (selection: Selection) => {
    for (let i = 0; i < order.length && !reached(selection.sums); i++) selection.add(order[i]!);
    for (const item of order.toReversed()) selection.tryRemove(item, () => reached(selection.sums));
  };
  const tightest = hulls.reduce<(typeof hulls)[number] | null>(
    (best, hull) => (best !== null && best.value >= hull.value ? best : hull),
    null,
  );
  return search(problem, limits.gap, {
    deadline,
    items,
    dag,
    vectors,
    objective: cost,
    rows: goals.map(({ gain, atLeast }) => ({ values: gain, atLeast, atMost: Infinity })),
    bound: tightest?.value ?? 0,
    decide: (slack) => decideItems(items, dag, tightest!, tightest!.price, slack),
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
  const deadline = performance.now() + limits.timeMs;
  const { items, dag, vectors } = reduce(problem, [problem.cost, problem.gain]);
  const [cost, gain] = vectors as [Float64Array, Float64Array];
  const hull = hullSteps(dag, gain, cost);
  const touch = gainAtCost(hull, maxCost);
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
  const proof = await search(problem, limits.gap, {
    deadline,
    items,
    dag,
    vectors,
    objective: gain.map((value) => -value),
    rows: [{ values: cost, atLeast: -Infinity, atMost: maxCost }],
    bound: -touch.value,
    decide: (slack) => decideItems(items, dag, { steps: hull, gain, cost }, touch.price, slack * touch.price),
    polish,
  });
  return { ...proof, bound: Math.abs(proof.bound) };
}

interface Search {
  /** By performance.now(). */
  readonly deadline: number;
  readonly items: number;
  readonly dag: Dag;
  /** Cost, then gains. */
  readonly vectors: readonly Float64Array[];
  /** To be made small. */
  readonly objective: Float64Array;
  readonly rows: readonly Row[];
  /** A bound for the objective from below. */
  readonly bound: number;
  /** Per item 1, 0 or -1: what all choices have in common whose objective is less than `slack` above the bound. */
  readonly decide: (slack: number) => Int8Array;
  /** Makes any selection satisfy the rows and leaves nothing in it that could simply go. */
  readonly polish: (selection: Selection) => void;
}

async function search(problem: ClosureProblem, goodGap: number, task: Search): Promise<Proof> {
  const integral = task.objective.every(Number.isInteger);
  let best = polished(task, []);
  let value = sumDone(best, task.objective);
  let bound = Math.min(value, cautious(task.bound, Math.abs(task.bound), integral));
  let rows = task.rows;
  for (let round = 0; round < 3; round++) {
    const timeMs = task.deadline - performance.now();
    if (gapBetween(value, bound) <= Math.max(goodGap, OPTIMAL_GAP) || timeMs <= 0) break;
    const magnitude = Math.max(Math.abs(value), Math.abs(bound));
    const decided = task.decide(value - task.bound + TOLERANCE * magnitude);
    const program = { ...task, rows, decided, burden: task.vectors[0]!, start: best.done, magnitude };
    const result = await solveProgram(program, { timeMs, gap: goodGap });
    if (result === null) break;
    const found = polished(task, result.items);
    if (sumDone(found, task.objective) < value) best = found;
    value = sumDone(best, task.objective);
    // A tightened row proves nothing about the true one.
    const proven = rows === task.rows ? cautious(result.bound, magnitude, integral) : bound;
    bound = Math.min(value, Math.max(bound, proven));
    // Again if tolerances may have spoilt it: a row broken within them, or a scale that was far too large.
    const exact = task.rows.every((row) => holds(select(task, result.items), row));
    const shrunk = Math.max(Math.abs(value), Math.abs(bound)) < magnitude / 10;
    if (exact && !shrunk) break;
    if (!exact) rows = task.rows.map(tighter);
  }
  const items = best.chosen(task.items);
  const gap = gapBetween(value, bound);
  const optimal = gap <= OPTIMAL_GAP;
  return { choice: { items, ...evaluate(problem, items) }, bound, gap: optimal ? 0 : gap, optimal };
}

function select(task: Search, items: readonly number[]): Selection {
  const selection = new Selection(task.dag, task.vectors);
  for (const item of items) selection.add(item);
  return selection;
}

function polished(task: Search, items: readonly number[]): Selection {
  const selection = select(task, items);
  task.polish(selection);
  return selection;
}

/** A bound from below, lowered by what rounding may have added where numbers are of some magnitude. */
function cautious(bound: number, magnitude: number, integral: boolean): number {
  const safe = bound - TOLERANCE * magnitude;
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
