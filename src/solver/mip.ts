/** Closure problems as mixed integer programs for HiGHS, compiled to WebAssembly and loaded on first use. */

import type { Highs, ModelData } from "highs";
import type { Dag } from "./dag.ts";

/** Minimise `objective` over closed choices, subject to `rows`. All vectors are per node of `dag`. */
export interface Program {
  /** Nodes 0..items-1 are free to choose, the others follow from them. */
  readonly items: number;
  readonly dag: Dag;
  readonly objective: Float64Array;
  /** Sums that must lie between bounds, one of which is -Infinity or Infinity. Values are at least 0. */
  readonly rows: readonly Row[];
  /** Nodes whose completion may hurt, so that it has to be enforced; whatever leads there counts too. */
  readonly burden: Float64Array;
  /** Per item 1 or 0 where it is settled, -1 where it is open. */
  readonly decided: Int8Array;
  /** A choice that satisfies the rows and agrees with `decided`, 0 or 1 per node. */
  readonly start: Uint8Array;
  /** Above 0 and at least the size of the best objective and of the known one. */
  readonly magnitude: number;
}

export interface Row {
  readonly values: Float64Array;
  readonly atLeast: number;
  readonly atMost: number;
}

export interface ProgramResult {
  /** Items of the best choice found, in rising order; HiGHS's tolerances may leave a row slightly violated. */
  readonly items: readonly number[];
  /** No choice that agrees with `decided` has a smaller objective, as far as doubles can tell. */
  readonly bound: number;
}

/**
 * Objective and rows are scaled to about this size: HiGHS's tolerances are absolute (1e-6), so this makes
 * them 1e-12 of the whole.
 */
const SCALE = 1e6;
/**
 * Scaled values are cut off here. A node of ten times the objective, or of a row's bound, can be in no choice
 * that matters, whatever its exact size; HiGHS however takes 1e20 for infinite and loses its way before that.
 */
const CAP = 10 * SCALE;

/**
 * Solves with HiGHS, blocking the thread for up to `timeMs`. Null when HiGHS fails, for instance because the
 * model is too large for WebAssembly's memory.
 */
export async function solveProgram(
  program: Program,
  limits: { readonly timeMs: number; readonly gap: number },
): Promise<ProgramResult | null> {
  try {
    // A fresh instance each time (50 ms): one that ran out of memory cannot be used again.
    const highs = await loadHighs();
    const factor = SCALE / program.magnitude;
    return highs.withModel(modelData(program, factor), (model) => {
      model.options.set({
        output_flag: false,
        time_limit: Math.max(limits.timeMs, 1) / 1000,
        mip_rel_gap: limits.gap,
      });
      model.setSolution({ colValue: Float64Array.from(program.start) });
      model.run();
      const bound = model.info.get("mip_dual_bound") as number;
      const values = model.getSolution().colValue;
      const items: number[] = [];
      for (let item = 0; item < program.items; item++) if (values[item]! > 0.5) items.push(item);
      // Infinite before the first relaxation is solved, or should tolerances make the model look infeasible.
      return { items, bound: Number.isFinite(bound) ? bound / factor : Number.NEGATIVE_INFINITY };
    });
  } catch {
    return null;
  }
}

async function loadHighs(): Promise<Highs> {
  const { default: load } = await import("highs");
  // The package's one declaration file reads as CommonJS, so TypeScript sees the loader a level too deep.
  return (load as unknown as typeof load.default)();
}

/** One column a node, binary for items. Rows in order: the program's, y <= pred, y >= sum(preds) - (k - 1). */
function modelData(program: Program, factor: number): ModelData {
  const { dag, items } = program;
  const rows = new RowWriter();
  for (const row of program.rows) addSum(rows, row);
  const forced = leadingTo(dag, program.burden);
  const decided = decideGroups(program);
  for (let v = items; v < dag.size; v++) {
    if (decided[v] !== -1) continue;
    const all = Array.from(dag.preds.subarray(dag.predStart[v]!, dag.predStart[v + 1]!));
    const preds = all.filter((p) => decided[p] === -1);
    for (const p of preds) rows.add([v, p], [1, -1], Number.NEGATIVE_INFINITY, 0);
    const ones = preds.map(() => -1);
    if (forced[v] === 1) rows.add([v, ...preds], [1, ...ones], 1 - preds.length, Number.POSITIVE_INFINITY);
  }
  return {
    numCols: dag.size,
    colCost: program.objective.map((value) => Math.max(-CAP, Math.min(value * factor, CAP))),
    colLower: Float64Array.from(decided, (one) => (one === 1 ? 1 : 0)),
    colUpper: Float64Array.from(decided, (one) => (one === 0 ? 0 : 1)),
    integrality: Int32Array.from(program.objective, (_, v) => (v < items ? 1 : 0)),
    ...rows.data(dag.size),
  };
}

/** `decided` for every node: a group fails with any predecessor and is complete with all. */
function decideGroups({ dag, items, decided }: Program): Int8Array {
  const all = new Int8Array(dag.size).fill(1);
  all.set(decided);
  for (let v = items; v < dag.size; v++) {
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) {
      const pred = all[dag.preds[e]!]!;
      if (pred === 0 || all[v] === 0) all[v] = 0;
      else if (pred === -1) all[v] = -1;
    }
  }
  return all;
}

/** Writes a row scaled to its bound. */
function addSum(rows: RowWriter, { values, atLeast, atMost }: Row): void {
  const used = Array.from(values.keys()).filter((v) => values[v]! > 0);
  const whole = atLeast > 0 ? atLeast : atMost || used.reduce((most, v) => Math.max(most, values[v]!), 1);
  const scaled = used.map((v) => Math.min((values[v]! / whole) * SCALE, CAP));
  rows.add(used, scaled, (atLeast / whole) * SCALE, (atMost / whole) * SCALE);
}

/** 1 per node with a value above 0, or on the way to one. */
function leadingTo(dag: Dag, values: Float64Array): Uint8Array {
  const marked = new Uint8Array(dag.size);
  for (let v = dag.size - 1; v >= 0; v--) {
    if (values[v]! > 0) marked[v] = 1;
    if (marked[v] === 0) continue;
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) marked[dag.preds[e]!] = 1;
  }
  return marked;
}

class RowWriter {
  private readonly starts = [0];
  private readonly indices: number[] = [];
  private readonly values: number[] = [];
  private readonly lower: number[] = [];
  private readonly upper: number[] = [];

  add(indices: readonly number[], values: readonly number[], lower: number, upper: number): void {
    for (const index of indices) this.indices.push(index);
    for (const value of values) this.values.push(value);
    this.starts.push(this.indices.length);
    this.lower.push(lower);
    this.upper.push(upper);
  }

  data(numCols: number): Pick<ModelData, "numRows" | "rowLower" | "rowUpper" | "matrix"> {
    const { starts, indices, values, lower, upper } = this;
    const numRows = lower.length;
    const matrix = { format: "csr", numRows, numCols, starts, indices, values } as const;
    return { numRows, rowLower: lower, rowUpper: upper, matrix };
  }
}
