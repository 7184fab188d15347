/**
 * What a store reader hands over, and what a reader is.
 */

import type { BytePath } from "../byte-path.ts";
import type { BlobFacts } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { NodeId, Size, StoreGraph } from "../graph/graph.ts";
import type { Pool } from "../pool.ts";
import type { Warn } from "../run.ts";
import type { ReadOnlyTree } from "../trees/tree.ts";
import type { Verdict } from "../verdict.ts";

export type SourceKind = "docker-archive" | "oci-archive" | "oci-layout" | "skopeo-dir" | "docker";

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
  /**
   * How a layer node, or the writable layer of a container, is kept as files; null where it is a blob, or nothing is
   * there.
   */
  unpacked(node: NodeId): UnpackedLayer | null;
  /** The largest files, as many as were asked for; null where each node is a file. */
  readonly largest: readonly LargeFile[] | null;
  /** What reading it has shown of how its records agree with each other, for `verify` to tell. */
  checks(): Promise<readonly StructureCheck[]>;
  /** The files that the store lies in. */
  readonly tree: ReadOnlyTree;
  /** What was learned of a blob in the only pass over the source; null where it can be read at any time. */
  facts(node: NodeId): BlobFacts | null;
  close(): Promise<void>;
}

/** A file inside the place of a node. */
export interface LargeFile {
  readonly node: NodeId;
  readonly path: BytePath;
  readonly size: Size;
}

/** What a kind saw that makes it think a tree is its own. */
export interface Evidence {
  readonly saw: string;
}

export interface StoreContents {
  readonly graph: StoreGraph;
  /** Layers and writable layers kept as files, by node; none in stores that keep blobs. */
  readonly unpacked?: ReadonlyMap<NodeId, UnpackedLayer>;
  /** The largest files, as many as were asked for; none in stores whose nodes are files. */
  readonly largest?: readonly LargeFile[];
  /** Asked for by `verify` alone. */
  checks?(): Promise<readonly StructureCheck[]>;
  /** What must be told about its sizes. */
  readonly remarks?: readonly string[];
  readonly kind: SourceKind;
  readonly engine: string | null;
}

/** Whether one record of a store says what others say. */
export interface StructureCheck {
  /** `chain`: what lies on what; `database`: what names lead to. */
  readonly what: "chain" | "database" | "config";
  /** What the record is of: a chainID, an image's name or ID, a folder. */
  readonly id: string;
  readonly verdict: Verdict;
  readonly expected: string | null;
  readonly actual: string | null;
  /** The record, inside the source. */
  readonly path: BytePath | null;
  readonly detail: string | null;
  /** What cannot be used without it: `verify` names the images that need this node. */
  readonly node?: NodeId;
}

/** A registered kind of store. */
export interface StoreKind {
  readonly kind: SourceKind;
  /** By content, cheap; null: not this kind. */
  detect(tree: ReadOnlyTree): Promise<Evidence | null>;
  /** Bad parts become warnings; throws only where nothing can be told. */
  read(tree: ReadOnlyTree, reading: Reading): Promise<StoreContents>;
}

/** What a reader is handed beside the tree. */
export interface Reading {
  readonly warn: Warn;
  readonly pool: Pool;
  readonly signal: AbortSignal;
  /** Sizes as the store has recorded them are enough: do not walk the layers. */
  readonly recorded: boolean;
  /** How many of the largest files to name. */
  readonly largest: number;
}

/** A layer, or the changes in a container, kept as files, with what its tar was beside them. */
export interface UnpackedLayer {
  /** The packed tar-split; null where there is none. */
  readonly tarSplit: BytePath | null;
  /** The folder of its files: `diff` of overlay2; of a driver without diffs, the merged view. */
  readonly folder: BytePath;
  /** Whether the folder holds the layer alone, with whiteouts for what it deletes; else all below it as well. */
  readonly isDiff: boolean;
  /** Of a container: the folder of what the engine puts between it and its image, kept likewise; else null. */
  readonly init: BytePath | null;
}
