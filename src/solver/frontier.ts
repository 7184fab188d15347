/** The whole trade between gain and cost: in which order to choose, and where stopping makes sense. */

import { hullSteps, price } from "./hull.ts";
import type { ClosureProblem } from "./problem.ts";
import { reduce } from "./reduce.ts";
import { Selection } from "./selection.ts";

/** Items to choose together after all earlier steps, and what they add. */
export interface FrontierStep {
  readonly items: readonly number[];
  readonly gain: number;
  readonly cost: number;
}

/**
 * Steps of rising cost per gain, covering every item that has gain or helps complete a group that has some.
 * Up to any step, no choice gains as much for less, as long as groups cost nothing; where they do, choices
 * that leave a costly group incomplete may be better.
 */
export function frontier(problem: ClosureProblem): FrontierStep[] {
  const { items, dag, vectors } = reduce(problem, [problem.gain, problem.cost]);
  const selection = new Selection(dag, vectors);
  const add = (some: readonly number[]): FrontierStep => {
    const [gain, cost] = selection.sums as [number, number];
    for (const item of some) selection.add(item);
    return { items: some, gain: selection.sums[0]! - gain, cost: selection.sums[1]! - cost };
  };
  const waiting = hullSteps(dag, vectors[0]!, vectors[1]!)
    .map((step) => ({ items: Array.from(step.nodes).filter((v) => v < items), price: price(step) }))
    .filter((step) => step.items.length > 0)
    .reverse();
  const steps: FrontierStep[] = [];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const step = add(next.items);
    const later = waiting.at(-1);
    if (later === undefined || price(step) <= Math.max(next.price, later.price)) {
      steps.push(step);
      continue;
    }
    // It completes a group whose cost the hull left out: others may come first.
    for (const item of next.items) selection.remove(item);
    insert(waiting, { items: next.items, price: price(step) });
  }
  return steps;
}

/** Inserts into a list of falling prices. */
function insert<Step extends { readonly price: number }>(list: Step[], step: Step): void {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.price > step.price) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, step);
}

/** How far below the straight line a stop has to lie, as a part of the whole gain (or cost). */
const NOTICEABLE = 0.02;

/**
 * Indices of up to `most` steps after which to stop, in rising order: where the curve of gain against cost
 * bends most. Between the ends, and then between stops, the step furthest below the straight line is next.
 */
export function knees(
  steps: readonly { readonly gain: number; readonly cost: number }[],
  most = 4,
): number[] {
  const curve = [{ gain: 0, cost: 0 }];
  for (const step of steps) {
    const last = curve.at(-1)!;
    curve.push({ gain: last.gain + step.gain, cost: last.cost + step.cost });
  }
  const whole = curve.at(-1)!;
  const stops = [0, curve.length - 1];
  while (stops.length < most + 2) {
    const found = stops.slice(1).map((to, i) => furthestBelow(curve, stops[i]!, to, whole));
    const best = found.reduce((a, b) => (b.depth > a.depth ? b : a));
    if (!(best.depth >= NOTICEABLE)) break;
    stops.push(best.index);
    stops.sort((a, b) => a - b);
  }
  return stops.slice(1, -1).map((index) => index - 1);
}

type Point = { readonly gain: number; readonly cost: number };

/** The point between two others that lies furthest below the line through them, on axes that end at 1. */
function furthestBelow(curve: readonly Point[], from: number, to: number, whole: Point) {
  const at = (i: number) => ({ x: curve[i]!.gain / whole.gain, y: curve[i]!.cost / whole.cost });
  const a = at(from);
  const b = at(to);
  let best = { index: from, depth: 0 };
  for (let i = from + 1; i < to; i++) {
    const p = at(i);
    const depth = (p.x - a.x) * (b.y - a.y) - (p.y - a.y) * (b.x - a.x);
    if (depth > best.depth) best = { index: i, depth };
  }
  return { ...best, depth: best.depth / Math.hypot(b.x - a.x, b.y - a.y) };
}
