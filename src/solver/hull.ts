/**
 * The lower convex hull of (gain, cost) over all choices, as steps of rising cost per gain. Each step is a
 * best closed set of what remains at some price of gain; steps are found by cutting at the mean price of a
 * part for as long as some of it is cheaper than the rest (Eisner and Severance 1976).
 *
 * Costs of groups count only where the group is wanted: a choice that completes a costly group by accident
 * costs more than the hull says, never less. So the hull bounds every choice from below.
 */

import { bestClosure } from "./closure.ts";
import { components, type Dag, type Part, split } from "./dag.ts";

/** Nodes worth taking together after all earlier steps, and what they add. */
export interface HullStep {
  readonly nodes: Int32Array;
  readonly gain: number;
  readonly cost: number;
}

/** Cuts closer than this part of their size are rounding, not shape. */
const ROUNDING = 1e-12;

/** The hull's steps; together they hold every node that has gain or leads to some. */
export function hullSteps(dag: Dag, gain: Float64Array, cost: Float64Array): HullStep[] {
  const steps: HullStep[] = [];
  const stack = components(usefulPart(dag, gain));
  for (let part = stack.pop(); part !== undefined; part = stack.pop()) {
    const halves = cutAtMean(part, gain, cost);
    if (halves === null) steps.push(stepOf(part, gain, cost));
    else for (const half of halves.reverse()) stack.push(...components(half));
  }
  return steps.sort((a, b) => price(a) - price(b) || 0); // || 0: two infinite prices differ by NaN
}

/** Cost per gain, infinite without gain. */
export function price(step: { readonly gain: number; readonly cost: number }): number {
  return step.gain > 0 ? step.cost / step.gain : Number.POSITIVE_INFINITY;
}

/** The nodes with gain, or on the way to some. */
function usefulPart(dag: Dag, gain: Float64Array): Part {
  const label = new Int32Array(dag.size).fill(-1);
  for (let v = dag.size - 1; v >= 0; v--) {
    if (gain[v]! > 0) label[v] = 0;
    if (label[v] !== 0) continue;
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) label[dag.preds[e]!] = 0;
  }
  return split({ ...dag, nodes: Int32Array.from(label, (_, v) => v) }, label, 1)[0]!;
}

function stepOf(part: Part, gain: Float64Array, cost: Float64Array): HullStep {
  let totalGain = 0;
  let totalCost = 0;
  for (const v of part.nodes) {
    totalGain += gain[v]!;
    totalCost += cost[v]!;
  }
  return { nodes: part.nodes, gain: totalGain, cost: totalCost };
}

/** The cheaper and the dearer half of a part, or null when no closed set in it is cheaper than the whole. */
function cutAtMean(part: Part, gain: Float64Array, cost: Float64Array): [Part, Part] | null {
  if (part.size === 1) return null;
  const whole = stepOf(part, gain, cost);
  if (whole.gain === 0) return null;
  const weight = new Float64Array(part.size);
  for (let v = 0; v < part.size; v++) {
    const node = part.nodes[v]!;
    weight[v] = gain[node]! * (whole.cost / whole.gain) - cost[node]!;
  }
  const taken = bestClosure(part, weight);
  const label = Int32Array.from(taken, (one) => 1 - one);
  const [cheap, dear] = split(part, label, 2) as [Part, Part];
  const first = stepOf(cheap, gain, cost);
  const saved = whole.cost * first.gain - first.cost * whole.gain;
  return dear.size > 0 && saved > ROUNDING * whole.cost * whole.gain ? [cheap, dear] : null;
}

/** Where a hull is touched by a line of some price, in the unit asked for. */
export interface Touch {
  readonly price: number;
  readonly value: number;
}

/** The least cost at which the hull reaches `gain`, with the price there. */
export function costAtGain(hull: readonly HullStep[], gain: number): Touch {
  let left = gain;
  let cost = 0;
  for (const step of hull) {
    if (step.gain >= left) return { price: price(step), value: cost + price(step) * left };
    left -= step.gain;
    cost += step.cost;
  }
  return { price: Number.POSITIVE_INFINITY, value: cost };
}

/** The most gain the hull reaches at `cost`, with the price there. */
export function gainAtCost(hull: readonly HullStep[], cost: number): Touch {
  let left = cost;
  let gain = 0;
  for (const step of hull) {
    if (step.cost > left) return { price: price(step), value: gain + left / price(step) };
    left -= step.cost;
    gain += step.gain;
  }
  return { price: Number.POSITIVE_INFINITY, value: gain };
}
