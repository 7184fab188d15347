/** Directed acyclic graphs in compressed rows, as small as the solver needs them. */

/** Nodes 0..size-1 in topological order: v's predecessors preds[predStart[v]] up to preds[predStart[v + 1]] are smaller. */
export interface Dag {
  readonly size: number;
  readonly predStart: Int32Array;
  readonly preds: Int32Array;
}

/** The edges out of each node: edges[start[v]] up to edges[start[v + 1]] index `preds`; `to` is per edge. */
export interface Successors {
  readonly start: Int32Array;
  readonly edges: Int32Array;
  readonly to: Int32Array;
}

export function successorsOf(dag: Dag): Successors {
  const start = new Int32Array(dag.size + 1);
  for (const p of dag.preds) start[p + 1]!++;
  for (let v = 0; v < dag.size; v++) start[v + 1]! += start[v]!;
  const at = start.slice();
  const edges = new Int32Array(dag.preds.length);
  const to = new Int32Array(dag.preds.length);
  for (let v = 0; v < dag.size; v++) {
    for (let e = dag.predStart[v]!; e < dag.predStart[v + 1]!; e++) {
      to[e] = v;
      edges[at[dag.preds[e]!]!++] = e;
    }
  }
  return { start, edges, to };
}

/** Some nodes of a larger graph: `nodes[v]` is what node v is called there. */
export interface Part extends Dag {
  readonly nodes: Int32Array;
}

/** Cuts a part into `count` by each node's label, leaving out label -1 and edges between labels. */
export function split(part: Part, label: Int32Array, count: number): Part[] {
  const sizes = new Int32Array(count);
  const place = new Int32Array(part.size);
  for (let v = 0; v < part.size; v++) if (label[v]! >= 0) place[v] = sizes[label[v]!]!++;
  const cut = Array.from(sizes, (size) => ({
    size,
    nodes: new Int32Array(size),
    predStart: new Int32Array(size + 1),
    preds: [] as number[],
  }));
  for (let v = 0; v < part.size; v++) {
    const into = cut[label[v]!];
    if (into === undefined) continue;
    into.nodes[place[v]!] = part.nodes[v]!;
    for (let e = part.predStart[v]!; e < part.predStart[v + 1]!; e++) {
      const p = part.preds[e]!;
      if (label[p] === label[v]) into.preds.push(place[p]!);
    }
    into.predStart[place[v]! + 1] = into.preds.length;
  }
  return cut.map((into) => ({ ...into, preds: Int32Array.from(into.preds) }));
}

/** The connected components of a part. */
export function components(part: Part): Part[] {
  const parent = Int32Array.from({ length: part.size }, (_, v) => v);
  const find = (v: number): number => {
    let root = v;
    while (parent[root] !== root) root = parent[root] = parent[parent[root]!]!;
    return root;
  };
  for (let v = 0; v < part.size; v++) {
    for (let e = part.predStart[v]!; e < part.predStart[v + 1]!; e++) parent[find(part.preds[e]!)] = find(v);
  }
  const label = new Int32Array(part.size).fill(-1);
  let count = 0;
  for (let v = 0; v < part.size; v++) {
    const root = find(v);
    if (label[root] === -1) label[root] = count++;
    if (root !== v) label[v] = label[root]!;
  }
  return count === 1 ? [part] : split(part, label, count);
}
