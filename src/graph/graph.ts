/**
 * What a store holds and why: nodes that own bytes, edges that say what needs what, roots that say what is wanted.
 *
 * Every byte is owned by exactly one node (names and links are edges), so totals are plain sums. Everything from
 * here on is plain data.
 */
import type { BytePath } from "../byte-path.ts";
import type { Digest } from "../digest.ts";

/** Bytes, as safe integers; null: cannot be known (never guessed). */
export interface Size {
  /** Sum of file lengths. */
  readonly apparent: number;
  /** What the holder spends: blocks of a file system; header, data and padding in an archive. */
  readonly allocated: number | null;
  readonly inodes: number | null;
}

export const NOTHING: Size = { apparent: 0, allocated: 0, inodes: 0 };

/** Unknown in either makes the sum unknown. */
export function addSizes(a: Size, b: Size): Size {
  return {
    apparent: a.apparent + b.apparent,
    allocated: a.allocated === null || b.allocated === null ? null : a.allocated + b.allocated,
    inodes: a.inodes === null || b.inodes === null ? null : a.inodes + b.inodes,
  };
}

export function sumSizes(sizes: Iterable<Size>): Size {
  let total = NOTHING;
  for (const size of sizes) total = addSizes(total, size);
  return total;
}

/** Index into the nodes of one graph. */
export type NodeId = number;

/** The headings of `df`; a node's bytes stand under one. */
export const HEADINGS = [
  "images",
  "containers",
  "logs",
  "volumes",
  "build-cache",
  "blobs",
  "orphans",
  "temporary",
  "metadata",
  "other",
] as const;
export type Heading = (typeof HEADINGS)[number];

interface NodeBase {
  /** Own bytes, without what it needs. */
  readonly size: Size;
  readonly heading: Heading;
  /** Where it lives inside the source; null where it has no single place. */
  readonly path: BytePath | null;
  /** Why nothing wants it, where a reader can tell; only for nodes that no wanted root reaches. */
  readonly orphan?: Orphan;
}

/** What is left behind, and what shows that it is. */
export interface Orphan {
  /** Kebab-case: `layer-being-removed`, `chain-without-image`. */
  readonly cause: string;
  /** What was seen that tells so, one fact each. */
  readonly evidence: readonly string[];
  /** Whether deleting it loses nothing that anybody could want again. */
  readonly safe: boolean;
}

/** What the engine deletes as one: all names of one ID. Owns no bytes where its files are nodes of their own. */
export interface ImageNode extends NodeBase {
  readonly kind: "image";
  /** What its engine shows: config digest, or the digest of an index with several platforms. */
  readonly imageId: string;
  readonly names: readonly string[];
  /** Digests of manifests or indexes that stand for it. */
  readonly digests: readonly Digest[];
  /** The digest that each name was pulled or pushed by, where the engine tells them apart. */
  readonly digestOf?: Readonly<Record<string, Digest | null>>;
  /** RFC 3339, UTC. */
  readonly created: string | null;
  /** `os/arch[/variant]`, several joined by ", ". */
  readonly platform: string | null;
  /** Layers base first; one platform after the other where there are several. */
  readonly layers: readonly NodeId[];
  readonly platforms: readonly PlatformImage[];
  readonly labels: Readonly<Record<string, string>>;
  readonly lastUsed: { readonly at: string; readonly from: string } | null;
  /** Whether a registry is on record to pull it from; null: nothing tells. */
  readonly pullable: boolean | null;
  readonly state: "complete" | "partial" | "damaged";
  /** Files that something refers to and that are not there: damage, unless absent on purpose. */
  readonly absent: readonly Absence[];
}

/** One platform's image below an index, or the only one. */
export interface PlatformImage {
  readonly platform: string;
  readonly manifest: Digest | null;
  readonly config: NodeId | null;
  readonly configDigest: Digest | null;
  readonly layers: readonly NodeId[];
  readonly present: boolean;
}

/** Something that is referred to and not there. */
export interface Absence {
  readonly what: "layer" | "config" | "manifest" | "blob";
  readonly digest: Digest | null;
  /** Path or digest, for display. */
  readonly name: string;
  /** Where in the source it should be, for display. */
  readonly path: string;
  readonly verdict: "missing" | "discarded" | "truncated" | "unreadable";
  readonly because: string;
}

/** A layer at its place in a chain; two images share it when they share everything below it as well. */
export interface LayerNode extends NodeBase {
  readonly kind: "layer";
  /** Of the uncompressed tar; null where the config does not tell. */
  readonly diffId: Digest | null;
  readonly chainId: Digest | null;
  readonly parent: NodeId | null;
  /** The stored bytes; null where they are not there. */
  readonly blob: NodeId | null;
  /** Length of the uncompressed tar; null until something recorded or read it. */
  readonly unpacked: number | null;
  /** What its engine counts it as, where it keeps layers as files: the lengths of those; else null. */
  readonly recorded?: number | null;
}

/** A container, as its engine last wrote it down. Owns its records; its writable layer and logs are nodes of their own. */
export interface ContainerNode extends NodeBase {
  readonly kind: "container";
  readonly containerId: string;
  /** Without the slash in front. */
  readonly name: string;
  /** `running`, `paused`, `restarting`, `created`, `exited`, `dead`, `removing`; null: not readable. */
  readonly state: string | null;
  readonly exitCode: number | null;
  /** What it was made from, as typed. */
  readonly image: string;
  readonly imageId: string | null;
  readonly command: string;
  readonly created: string | null;
  /** The last time it is known to have run; null: never, or not readable. */
  readonly lastUsed: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Names of the volumes it mounts. */
  readonly volumes: readonly string[];
  /** Its own changes to files. */
  readonly writable: NodeId | null;
}

export interface VolumeNode extends NodeBase {
  readonly kind: "volume";
  readonly name: string;
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  /** Its data are where its options say, and not below its folder. */
  readonly mountBacked: boolean;
}

/** A record of the build cache. Its snapshot's files are nodes of their own, since images may need them too. */
export interface CacheNode extends NodeBase {
  readonly kind: "cache";
  readonly recordId: string;
  /** `regular`, `source.local`, `exec.cachemount` and so on, as the engine lists it. */
  readonly type: string;
  readonly description: string;
  readonly created: string | null;
  readonly lastUsed: string | null;
  readonly usageCount: number;
  readonly parents: readonly string[];
  /** Whether an image has the same layers, as the engine says. */
  readonly shared: boolean;
  /** What the engine counts it as; null where it has not been measured. */
  readonly recorded: number | null;
}

export type BlobRole =
  | "layer"
  | "config"
  | "manifest"
  | "index"
  | "attestation"
  | "artifact"
  | "unreferenced";

/** A stored file that a digest names. */
export interface BlobNode extends NodeBase {
  readonly kind: "blob";
  readonly role: BlobRole;
  /** Of the stored bytes, by its name or its descriptor; null where nothing records it. */
  readonly digest: Digest | null;
  /** Length that descriptors give; null where none does. */
  readonly expectedLength: number | null;
  /** Length in the source. */
  readonly byteLength: number;
  /** Bytes that the source ends before. */
  readonly cutShort: number;
  /** By its first bytes; null: not looked at. */
  readonly compressed: boolean | null;
}

/** Files that are neither content nor layers, taken together by what they are for. */
export interface FilesNode extends NodeBase {
  readonly kind: "files";
  readonly what: string;
  readonly count: number;
}

export type StoreNode = ImageNode | LayerNode | BlobNode | FilesNode | ContainerNode | VolumeNode | CacheNode;

/** Why something is wanted, in words: "tag app:1". */
export interface Root {
  readonly node: NodeId;
  readonly because: string;
  /** Left behind, and kept by the engine all the same, with all it needs: nothing wants it, but it holds. */
  readonly orphan?: boolean;
}

/** Compressed rows: the edges of node n are `to[start[n]]` up to `to[start[n + 1]]`. */
export interface Edges {
  readonly start: Int32Array;
  readonly to: Int32Array;
}

export interface StoreGraph {
  readonly nodes: readonly StoreNode[];
  /** From what needs to what is needed. */
  readonly needs: Edges;
  /** The same edges, reversed. */
  readonly neededBy: Edges;
  readonly roots: readonly Root[];
}

/** Adds up a graph; the order of calls is the order of nodes. */
export class GraphBuilder {
  readonly nodes: StoreNode[] = [];
  private readonly from: number[] = [];
  private readonly to: number[] = [];
  private roots: Root[] = [];

  add(node: StoreNode): NodeId {
    this.nodes.push(node);
    return this.nodes.length - 1;
  }

  edge(from: NodeId, to: NodeId): void {
    this.from.push(from);
    this.to.push(to);
  }

  root(node: NodeId, because: string, orphan = false): void {
    this.roots.push(orphan ? { node, because, orphan } : { node, because });
  }

  /** Replaces parts of a node that was added before. */
  update<Node extends StoreNode>(node: NodeId, change: Partial<Node>): void {
    this.nodes[node] = { ...this.nodes[node]!, ...change } as StoreNode;
  }

  /** Something could not be read, and may need any of them: what seemed to be an orphan is none. */
  keepOrphans(because: string): void {
    this.roots = this.roots.map(({ orphan: _, ...root }) => root);
    this.nodes.forEach((node, id) => {
      if (!node.orphan) return;
      const { orphan: _, ...rest } = node;
      this.nodes[id] = { ...rest, heading: "other" } as StoreNode;
      this.root(id, because);
    });
  }

  build(): StoreGraph {
    const count = this.nodes.length;
    return {
      nodes: this.nodes,
      needs: toEdges(count, this.from, this.to),
      neededBy: toEdges(count, this.to, this.from),
      roots: this.roots,
    };
  }
}

/** Groups edges by where they start (a counting sort); a repeated edge stays repeated. */
export function toEdges(count: number, from: readonly number[], to: readonly number[]): Edges {
  const start = new Int32Array(count + 1);
  for (const node of from) start[node + 1]!++;
  for (let node = 0; node < count; node++) start[node + 1]! += start[node]!;
  const next = start.slice(0, count);
  const sorted = new Int32Array(to.length);
  for (let i = 0; i < from.length; i++) sorted[next[from[i]!]!++] = to[i]!;
  return { start, to: sorted };
}

export function edgesOf(edges: Edges, node: NodeId): Int32Array {
  return edges.to.subarray(edges.start[node]!, edges.start[node + 1]!);
}

/** Several graphs side by side as one; node n of graph g becomes `offsets[g] + n`. */
export function joinGraphs(graphs: readonly StoreGraph[]): { graph: StoreGraph; offsets: readonly number[] } {
  if (graphs.length === 1) return { graph: graphs[0]!, offsets: [0] };
  const offsets: number[] = [];
  const nodes: StoreNode[] = [];
  const roots: Root[] = [];
  const from: number[] = [];
  const to: number[] = [];
  for (const graph of graphs) {
    const offset = nodes.length;
    offsets.push(offset);
    for (const node of graph.nodes) nodes.push(shifted(node, offset));
    for (const root of graph.roots) roots.push({ ...root, node: root.node + offset });
    for (let node = 0; node < graph.nodes.length; node++) {
      for (const needed of edgesOf(graph.needs, node)) {
        from.push(node + offset);
        to.push(needed + offset);
      }
    }
  }
  const count = nodes.length;
  return {
    graph: { nodes, roots, needs: toEdges(count, from, to), neededBy: toEdges(count, to, from) },
    offsets,
  };
}

/** The references that a node holds to other nodes, moved by `offset`. */
function shifted(node: StoreNode, offset: number): StoreNode {
  if (offset === 0) return node;
  const move = (id: NodeId | null): NodeId | null => (id === null ? null : id + offset);
  if (node.kind === "layer") return { ...node, parent: move(node.parent), blob: move(node.blob) };
  if (node.kind === "container") return { ...node, writable: move(node.writable) };
  if (node.kind !== "image") return node;
  const layers = node.layers.map((id) => id + offset);
  const platforms = node.platforms.map((one) => ({
    ...one,
    config: move(one.config),
    layers: one.layers.map((id) => id + offset),
  }));
  return { ...node, layers, platforms };
}
