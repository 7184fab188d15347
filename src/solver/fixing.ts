/**
 * Decides items without search. At one price of gain the hull's steps tell what is best of all (everything
 * cheaper, nothing dearer) and how much is lost by taking an item from a dearer step or leaving out one from
 * a cheaper step. Where that loss is more than what is left to win, no better choice does it.
 */

import type { Dag } from "./dag.ts";
import { type HullStep, price } from "./hull.ts";

/**
 * Per item 1 or 0 where every choice that is better than the known one by any amount takes it or leaves it
 * out, -1 otherwise. `steps` are the hull of `gain` and `cost`, `slack` the cost between the line that touches
 * the hull at price `at` and the best choice known.
 *
 * In a step of price p every closed part costs at least p times its gain, as otherwise it would have been a
 * step of its own. So taking part S of a dearer step loses cost(S) - at * gain(S) >= cost(S) * (1 - at / p),
 * and missing gain g of a cheaper step loses at least (at - p) * g.
 */
export function decideItems(
  items: number,
  dag: Dag,
  hull: { readonly steps: readonly HullStep[]; readonly gain: Float64Array; readonly cost: Float64Array },
  at: number,
  slack: number,
): Int8Array {
  const prices = new Float64Array(dag.size).fill(Number.POSITIVE_INFINITY);
  for (const step of hull.steps) for (const v of step.nodes) prices[v] = price(step);
  const missed = new Float64Array(dag.size); // the loss without v, counting the worst path up from it
  const decided = new Int8Array(items).fill(-1);
  for (let v = dag.size - 1; v >= 0; v--) {
    if (prices[v]! < at) missed[v]! += (at - prices[v]!) * hull.gain[v]!;
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) {
      const p = dag.preds[e]!;
      missed[p] = Math.max(missed[p]!, missed[v]!);
    }
    if (v >= items) continue;
    if (missed[v]! > slack) decided[v] = 1;
    else if (prices[v]! > at && hull.cost[v]! * (1 - at / prices[v]!) > slack) decided[v] = 0;
  }
  return decided;
}
