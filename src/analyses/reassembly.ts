/** Layers that are kept as files: each is put together again from its tar-split and held against its diffID. */
import { type BytePath, displayPath, joinPath } from "../byte-path.ts";
import type { Folder, FolderEntry } from "../bytes/folder.ts";
import { algorithmOf, type Digest } from "../digest.ts";
import { InterruptedError, messageOf } from "../errors.ts";
import { type LayerFacts, reassembleLayer } from "../formats/reassemble.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import type { Store, UnpackedLayer } from "../stores/store.ts";
import type { Verdict } from "../verdict.ts";
import type { Holdings } from "./holdings.ts";
import { judgeLayer } from "./layer-verdicts.ts";
import { type Batch, batchesOf } from "./schedule.ts";
import { type Check, unknownAlgorithm } from "./verdicts.ts";

/** A layer node whose files are to be looked at. */
export interface UnpackedItem {
  readonly node: NodeId;
  readonly store: Store;
  readonly diffId: Digest | null;
  /** Null where the store keeps layers as files, and this one's are out of reach. */
  readonly layer: UnpackedLayer | null;
  /** As good as is known before: for the order, and for a progress bar. */
  readonly bytes: number;
}

export function unpackedItems(holdings: Holdings): UnpackedItem[] {
  return holdings.graph.nodes.flatMap((node, id): UnpackedItem[] => {
    if (node.kind !== "layer" || node.blob !== null) return [];
    const store = holdings.storeOf(id);
    const layer = store.unpacked(holdings.ownId(id));
    if (layer === null && store.kind !== "docker") return [];
    const bytes = node.unpacked ?? node.recorded ?? node.size.apparent;
    return [{ node: id, store, diffId: node.diffId, layer, bytes }];
  });
}

/** What comes of it. */
export type Judged = Pick<Check, "verdict" | "actual" | "bytes" | "detail">;

/** Batches of work that put what they find into `judged`. */
export function unpackedBatches(
  items: readonly UnpackedItem[],
  run: Run,
  judged: Map<UnpackedItem, Judged>,
): Batch[] {
  const work = async (batch: readonly UnpackedItem[], counter: SharedArrayBuffer): Promise<void> => {
    const remote: Remote[] = [];
    for (const item of batch) {
      const found = await look(item);
      if (!("parts" in found)) judged.set(item, found);
      else if (found.remote) remote.push({ item, ...found.parts, ...found.remote });
      else judged.set(item, judge(item, await reassembleHere(item, found.parts, counter, run)));
    }
    if (remote.length === 0) return;
    const layers = remote.map(({ item: _, ...job }) => job);
    const facts = await run.pool.run("reassemble", { layers, counter });
    for (const [i, { item }] of remote.entries()) judged.set(item, judge(item, facts[i]!));
  };
  return batchesOf(items, ({ bytes }) => bytes, work);
}

interface Parts {
  readonly label: string;
  readonly diffId: Digest;
  readonly isDiff: boolean;
}

interface Remote extends Parts {
  readonly item: UnpackedItem;
  readonly tarSplit: string;
  readonly folder: string;
}

/** What a task needs to know of a layer, and for another thread where its files are; or why there is nothing to do. */
async function look({ store, diffId, layer }: UnpackedItem): Promise<
  | Judged
  | {
      readonly parts: Parts;
      readonly remote: { readonly tarSplit: string; readonly folder: string } | null;
    }
> {
  if (diffId === null) return untold("unverifiable", "nothing records its digest");
  if (algorithmOf(diffId) === null) return { ...unknownAlgorithm(diffId), bytes: 0 };
  if (layer === null)
    return untold("unverifiable", "its driver keeps its files where they cannot be read from here");
  const { tree } = store;
  const absent = tree.incomplete;
  try {
    const folder = await tree.lstat(layer.folder);
    if (!folder && tree.incomplete !== null) return untold("unreadable", tree.incomplete);
    if (!folder) return untold("missing", "its folder is not there");
    if (folder.type !== "directory") return untold("corrupt", "where its folder should be is something else");
    const split = layer.tarSplit === null ? null : await tree.lstat(layer.tarSplit);
    if (split?.type !== "file") {
      const reason = absent !== null && layer.tarSplit !== null ? `: ${absent}` : "";
      return untold("unverifiable", `it has no tar-split, which its tar would be put together by${reason}`);
    }
  } catch (error) {
    return untold("unreadable", messageOf(error));
  }
  const label = `${store.source}: ${displayPath(layer.tarSplit!)}`;
  const parts = { label, diffId, isDiff: layer.isDiff };
  const tarSplit = tree.hostPath(layer.tarSplit!);
  const folder = tree.hostPath(layer.folder);
  return { parts, remote: tarSplit === null || folder === null ? null : { tarSplit, folder } };
}

function untold(verdict: Verdict, detail: string): Judged {
  return { verdict, actual: null, bytes: 0, detail };
}

/** In this thread, through the tree: there is no host path that another one could open. */
async function reassembleHere(
  { store: { tree }, layer }: UnpackedItem,
  parts: Parts,
  counter: SharedArrayBuffer,
  run: Run,
): Promise<LayerFacts> {
  const cell = new BigInt64Array(counter);
  const onBytes = (bytes: number): void => {
    if (run.signal.aborted) throw new InterruptedError("interrupted");
    Atomics.add(cell, 0, BigInt(bytes));
  };
  async function* tarSplit(): AsyncGenerator<Uint8Array> {
    const source = await tree.open(layer!.tarSplit!);
    try {
      yield* source.stream();
    } finally {
      await source.close();
    }
  }
  return reassembleLayer({ ...parts, tarSplit, folder: treeFolder(tree, layer!.folder) }, onBytes);
}

function judge({ store: { tree }, diffId }: UnpackedItem, facts: LayerFacts): Judged {
  // A folder of the host is looked at file by file: what could not be is told of that file.
  const incomplete = tree.holder === "archive" ? tree.incomplete : null;
  return { ...judgeLayer(facts, diffId!, incomplete), actual: facts.actual, bytes: facts.byteLength };
}

/** The check of a layer, once it was judged. */
export function unpackedCheck(
  item: UnpackedItem,
  judged: Judged,
  source: string,
  usedBy: readonly string[],
): Check {
  const { diffId, layer } = item;
  const path = layer && displayPath(layer.folder);
  return { what: "layer", id: diffId ?? path ?? "", expected: diffId, path, source, usedBy, ...judged };
}

/** One folder of a tree, as layers are looked at. */
export function treeFolder(tree: Store["tree"], root: BytePath): Folder {
  const at = (path: BytePath): BytePath => joinPath(root, path);
  const folder: Folder = {
    async lstat(path) {
      const entry = await tree.lstat(at(path));
      if (entry === null) return null;
      const unknown = { mode: null, uid: null, gid: null, names: null, device: null };
      const kind = entry.isWhiteout ? "char" : entry.type;
      return { kind, size: entry.size, isWhiteout: entry.isWhiteout, ...unknown } satisfies FolderEntry;
    },
    async open(path) {
      const entry = await folder.lstat(path);
      if (entry?.kind !== "file") return entry;
      const source = await tree.open(at(path));
      const { byteLength } = source;
      return { byteLength, entry, stream: () => source.stream(), close: () => source.close() };
    },
    readlink: async (path) => (await tree.lstat(at(path)))?.linkTarget ?? "",
    names: (path) => tree.names(at(path)),
    async isSame(path, other) {
      const [a, b] = await Promise.all([tree.lstat(at(path)), tree.lstat(at(other))]);
      if (a?.inode == null || b?.inode == null) return null;
      return a.device === b.device && a.inode === b.inode;
    },
    attributes: (path) => tree.xattrs(at(path)),
  };
  return folder;
}
