/**
 * What a store reader hands over, and what a reader is.
 */

import type { BlobFacts } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { NodeId, StoreGraph } from "../graph/graph.ts";
import type { Warn } from "../run.ts";
import type { ReadOnlyTree } from "../trees/tree.ts";

export type SourceKind = "docker-archive" | "oci-archive" | "oci-layout" | "skopeo-dir";

/** How full a file system is, in bytes. */
export interface FileSystemUse {
  readonly used: number;
  readonly free: number;
  readonly size: number;
}

/** One store, read: everything later is a question to its graph. */
export interface Store {
  readonly kind: SourceKind;
  /** The source as given on the command line. */
  readonly source: string;
  /** The program whose store it is; null where nothing tells. */
  readonly engine: string | null;
  /** Where in the source it was found; "" for its top. */
  readonly root: string;
  readonly graph: StoreGraph;
  /** What the holder says is used by the whole of it, to compare the sum of all nodes with; null: it does not say. */
  readonly used: number | null;
  /** Length of the source's file, where it is compressed as a whole and so another than the sum of the sizes in it. */
  readonly fileBytes: number | null;
  /** How long the only pass over the source took; null where it is read when asked. */
  readonly passSeconds: number | null;
  /** The file system that the store's folder lies on; null for an archive, and where it cannot be told. */
  readonly filesystem: FileSystemUse | null;
  /** What must be told about the sizes, such as that the archive is compressed as a whole. */
  readonly remarks: readonly string[];
  /** The bytes of a blob node. */
  open(node: NodeId): Promise<ByteSource>;
  /** What was learned of a blob in the only pass over the source; null where it can be read at any time. */
  facts(node: NodeId): BlobFacts | null;
  close(): Promise<void>;
}

/** What a kind saw that makes it think a tree is its own. */
export interface Evidence {
  readonly saw: string;
}

export interface StoreContents {
  readonly graph: StoreGraph;
  readonly kind: SourceKind;
  readonly engine: string | null;
}

/** A registered kind of store. */
export interface StoreKind {
  readonly kind: SourceKind;
  /** By content, cheap; null: not this kind. */
  detect(tree: ReadOnlyTree): Promise<Evidence | null>;
  /** Bad parts become warnings; throws only where nothing can be told. */
  read(tree: ReadOnlyTree, warn: Warn): Promise<StoreContents>;
}
