/**
 * The best closed set: where nodes have positive and negative weights and a node may only be taken together
 * with its predecessors, the set with the largest sum. On a forest one pass decides; otherwise it is a
 * minimum cut (Picard 1976), found with Dinic's algorithm.
 */

import { type Dag, type Successors, successorsOf } from "./dag.ts";

/** The best closed set as 0 or 1 per node; among equals one that leaves out what adds nothing. */
export function bestClosure(dag: Dag, weight: Float64Array): Uint8Array {
  const next = onlySuccessor(dag);
  return next === null ? bestByCut(dag, weight) : bestInForest(dag, next, weight);
}

/** Per node the one node that needs it, or -1; null when some node is needed by two. */
function onlySuccessor(dag: Dag): Int32Array | null {
  const next = new Int32Array(dag.size).fill(-1);
  for (let v = 0; v < dag.size; v++) {
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) {
      const p = dag.preds[e]!;
      if (next[p] !== -1) return null;
      next[p] = v;
    }
  }
  return next;
}

/** Each node is taken with all that lies below it, or leaves the best of that untouched. */
function bestInForest(dag: Dag, next: Int32Array, weight: Float64Array): Uint8Array {
  const whole = weight.slice();
  const best = new Float64Array(dag.size);
  const taken = new Uint8Array(dag.size);
  for (let v = 0; v < dag.size; v++) {
    if (whole[v]! > best[v]!) {
      taken[v] = 1;
      best[v] = whole[v]!;
    }
    const up = next[v]!;
    if (up === -1) continue;
    whole[up]! += whole[v]!;
    best[up]! += best[v]!;
  }
  for (let v = dag.size - 1; v >= 0; v--) if (next[v] !== -1 && taken[next[v]!] === 1) taken[v] = 1;
  return taken;
}

/**
 * Flow runs from nodes of positive weight along predecessor edges, without limit, to nodes of negative
 * weight. What is still reached from leftover supply at the end is the smallest best set.
 */
function bestByCut(dag: Dag, weight: Float64Array): Uint8Array {
  const flow = new Flow(dag, weight);
  while (flow.level()) flow.block();
  return Uint8Array.from(flow.depth, (depth) => (depth >= 0 ? 1 : 0));
}

class Flow {
  /** Steps from the nearest leftover supply, -1 where none leads. */
  readonly depth: Int32Array;
  private readonly dag: Dag;
  private readonly out: Successors;
  private readonly supply: Float64Array;
  private readonly demand: Float64Array;
  private readonly onEdge: Float64Array;
  /** Per node the next arc to try: first the predecessor edges, then the edges to take flow back from. */
  private readonly arc: Int32Array;

  constructor(dag: Dag, weight: Float64Array) {
    this.dag = dag;
    this.out = successorsOf(dag);
    this.supply = weight.map((w) => Math.max(w, 0));
    this.demand = weight.map((w) => Math.max(-w, 0));
    this.onEdge = new Float64Array(dag.preds.length);
    this.depth = new Int32Array(dag.size);
    this.arc = new Int32Array(dag.size);
  }

  /** Measures depths; false once no demand can be reached. */
  level(): boolean {
    const { depth, supply, demand, arc } = this;
    const queue = new Int32Array(depth.length);
    let end = 0;
    let reached = false;
    depth.fill(-1);
    for (let v = 0; v < depth.length; v++) {
      if (supply[v]! > 0) {
        depth[v] = 0;
        queue[end++] = v;
      }
    }
    for (let at = 0; at < end; at++) {
      const v = queue[at]!;
      arc[v] = 0;
      reached ||= demand[v]! > 0;
      for (let to = this.advance(v); to !== -1; to = this.advance(v)) {
        arc[v]!++;
        if (depth[to] !== -1) continue;
        depth[to] = depth[v]! + 1;
        queue[end++] = to;
      }
      arc[v] = 0;
    }
    return reached;
  }

  /** The node at v's current arc with room on it, moving past arcs without; -1 at the end. */
  private advance(v: number): number {
    const { dag, out, onEdge, arc } = this;
    const first = dag.predStart[v]!;
    const below = dag.predStart[v + 1]! - first;
    if (arc[v]! < below) return dag.preds[first + arc[v]!]!;
    const above = out.start[v + 1]! - out.start[v]!;
    for (; arc[v]! < below + above; arc[v]!++) {
      const edge = this.backEdge(v, below);
      if (onEdge[edge]! > 0) return out.to[edge]!;
    }
    return -1;
  }

  private backEdge(v: number, below: number): number {
    return this.out.edges[this.out.start[v]! + this.arc[v]! - below]!;
  }

  /** Pushes flow along shortest paths until each is blocked. */
  block(): void {
    for (let v = 0; v < this.depth.length; v++) {
      while (this.supply[v]! > 0 && this.depth[v] === 0 && this.augment(v));
    }
  }

  /** Finds one path from `source` to demand and fills it; false when there is none. */
  private augment(source: number): boolean {
    const { depth, demand, arc } = this;
    const path = [source];
    while (path.length > 0) {
      const v = path[path.length - 1]!;
      if (demand[v]! > 0) {
        this.push(path);
        return true;
      }
      const to = this.advance(v);
      if (to === -1) {
        path.pop();
        const back = path[path.length - 1];
        if (back !== undefined) arc[back]!++;
      } else if (depth[to] === depth[v]! + 1) {
        path.push(to);
      } else {
        arc[v]!++;
      }
    }
    return false;
  }

  private push(path: readonly number[]): void {
    const { dag, supply, demand, onEdge, arc } = this;
    const source = path[0]!;
    const sink = path[path.length - 1]!;
    const steps = path.slice(0, -1).map((v) => {
      const first = dag.predStart[v]!;
      const below = dag.predStart[v + 1]! - first;
      return arc[v]! < below
        ? { edge: first + arc[v]!, sign: 1 }
        : { edge: this.backEdge(v, below), sign: -1 };
    });
    let amount = Math.min(supply[source]!, demand[sink]!);
    for (const { edge, sign } of steps) if (sign < 0) amount = Math.min(amount, onEdge[edge]!);
    for (const { edge, sign } of steps) onEdge[edge]! += sign * amount;
    supply[source]! -= amount;
    demand[sink]! -= amount;
  }
}
