/** A set of chosen items whose sums follow every change. */

import { type Dag, type Successors, successorsOf } from "./dag.ts";

export class Selection {
  /** Per node: chosen or complete. */
  readonly done: Uint8Array;
  /** The sum of each vector over what is done. */
  readonly sums: number[];
  private readonly out: Successors;
  private readonly missing: Int32Array;
  private readonly vectors: readonly Float64Array[];

  /** Starts empty. Every node of `dag` from `items` on must have predecessors. */
  constructor(dag: Dag, vectors: readonly Float64Array[]) {
    this.done = new Uint8Array(dag.size);
    this.sums = vectors.map(() => 0);
    this.out = successorsOf(dag);
    this.missing = Int32Array.from({ length: dag.size }, (_, v) => dag.predStart[v + 1]! - dag.predStart[v]!);
    this.vectors = vectors;
  }

  add(item: number): void {
    if (this.done[item] === 0) this.spread(item, 1);
  }

  remove(item: number): void {
    if (this.done[item] === 1) this.spread(item, 0);
  }

  /** Adds items, and takes them back unless `good` holds then. */
  tryAdd(items: Iterable<number>, good: () => boolean): void {
    const added = [...items].filter((item) => this.done[item] === 0);
    for (const item of added) this.add(item);
    if (!good()) for (const item of added) this.remove(item);
  }

  /** Removes an item if chosen, and puts it back unless `good` holds then. */
  tryRemove(item: number, good: () => boolean): void {
    if (this.done[item] === 0) return;
    this.remove(item);
    if (!good()) this.add(item);
  }

  /** Sets a node's state and that of every group it completes or breaks. */
  private spread(item: number, state: 0 | 1): void {
    const { out, missing, done } = this;
    const stack = [item];
    for (let v = stack.pop(); v !== undefined; v = stack.pop()) {
      done[v] = state;
      this.vectors.forEach((vector, k) => {
        this.sums[k]! += state === 1 ? vector[v!]! : -vector[v!]!;
      });
      for (let i = out.start[v]!; i < out.start[v + 1]!; i++) {
        const group = out.to[out.edges[i]!]!;
        if (state === 1) missing[group]!--;
        if (missing[group] === 0) stack.push(group);
        if (state === 0) missing[group]!++;
      }
    }
  }

  /** Chosen items in rising order. */
  chosen(items: number): number[] {
    const out: number[] = [];
    for (let item = 0; item < items; item++) if (this.done[item] === 1) out.push(item);
    return out;
  }
}
