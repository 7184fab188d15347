/**
 * Who owns which folder or file of a store: each place is one node, which takes all that is below it and below no
 * other place. The tree is walked once, when all places are known.
 */
import { type BytePath, ROOT } from "../../byte-path.ts";
import {
  addSizes,
  GraphBuilder,
  NOTHING,
  type NodeId,
  type Size,
  type StoreNode,
} from "../../graph/graph.ts";
import type { Measured, ReadOnlyTree } from "../../trees/tree.ts";
import type { Reading } from "../store.ts";

/** Until it has been walked, and for good with recorded sizes only. */
const UNMEASURED: Size = { apparent: 0, allocated: null, inodes: null };

/** A node but for its size and place. */
export type Placed = StoreNode extends infer Node
  ? Node extends StoreNode
    ? Omit<Node, "size" | "path">
    : never
  : never;

export class Places {
  readonly builder = new GraphBuilder();
  /** Node by place. */
  readonly owners = new Map<BytePath, NodeId>();
  /** Of the walk; null with recorded sizes only. */
  measured: Measured | null = null;

  /** A node that owns `path`; of two that would own it the first does, and the second takes nothing. */
  add(path: BytePath, node: Placed): NodeId {
    const id = this.builder.add({ ...node, size: UNMEASURED, path } as StoreNode);
    if (!this.owners.has(path)) this.owners.set(path, id);
    return id;
  }

  /** A node without bytes of its own. */
  addBare(node: Placed): NodeId {
    return this.builder.add({ ...node, size: NOTHING, path: null } as StoreNode);
  }

  node(id: NodeId): StoreNode {
    return this.builder.nodes[id]!;
  }

  at(path: BytePath): NodeId | undefined {
    return this.owners.get(path);
  }

  /** Walks the tree and gives every node the bytes of its place. */
  async measure(tree: ReadOnlyTree, { pool, signal, largest }: Reading): Promise<Measured> {
    const measured = await tree.measure(new Set(this.owners.keys()), { pool, signal, largest });
    const inodes = tree.holder === "archive" ? null : 0;
    const allocated = 0;
    for (const id of this.owners.values())
      this.builder.update(id, { size: { apparent: 0, allocated, inodes } });
    for (const [path, usage] of measured.usage) {
      const owner = this.owners.get(path) ?? this.owners.get(ROOT)!;
      this.builder.update(owner, { size: addSizes(this.node(owner).size, usage) });
    }
    const top = this.owners.get(ROOT)!; // an archive's end marker and padding belong to no member
    for (const { bytes } of tree.overhead) {
      const size = { apparent: bytes, allocated: bytes, inodes };
      this.builder.update(top, { size: addSizes(this.node(top).size, size) });
    }
    for (const { claims, usage } of measured.shared) this.share(claims, usage);
    this.measured = measured;
    return measured;
  }

  /** Instead of walking: what layers are on record to take. Blocks and inodes stay unknown. */
  takeRecorded(): void {
    for (const [id, node] of this.builder.nodes.entries()) {
      if (node.kind === "layer")
        this.builder.update(id, { size: { ...UNMEASURED, apparent: node.recorded ?? 0 } });
    }
  }

  /** Bytes that several places hold at once go when the last of them goes. */
  private share(claims: readonly BytePath[], size: Size): void {
    const owners = [...new Set(claims.map((claim) => this.owners.get(claim) ?? this.owners.get(ROOT)!))];
    const [only] = owners;
    if (owners.length === 1) {
      this.builder.update(only!, { size: addSizes(this.node(only!).size, size) });
      return;
    }
    const { heading } = this.node(only!);
    const what = "files that are in several of these places";
    const node = this.builder.add({ kind: "files", what, count: 1, size, heading, path: null });
    for (const owner of owners) this.builder.edge(owner, node);
  }
}
