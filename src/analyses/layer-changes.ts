/** The changes that a layer makes, whichever way its store keeps it: a blob, a tar-split beside a folder, a folder. */
import { type BytePath, displayPath } from "../byte-path.ts";
import type { ByteSource } from "../bytes/source.ts";
import { type Change, type LayerForm, type LayerReading, readLayer } from "../formats/layer.ts";
import type { NodeId } from "../graph/graph.ts";
import { type FolderDoubts, readFolder } from "../stores/folder-changes.ts";
import type { Store } from "../stores/store.ts";
import type { Holdings } from "./holdings.ts";

/** Closed after use. */
export interface ReadableLayer {
  /** For messages. */
  readonly label: string;
  /** The bytes that tell of it, for a thread to read as well; null where files in a folder do. */
  readonly stored: { readonly form: LayerForm; readonly source: ByteSource } | null;
  /** Throws as {@link readLayer} does. `onBytes` hears of what was read of `stored`. */
  changes(reading: LayerReading, onBytes?: (count: number) => void): AsyncIterable<Change>;
  close(): Promise<void>;
}

/**
 * A layer of an image; null where there is nothing to read. The tar-split beside a folder is a list of its own: with
 * checksums, with the markers that the tar had, and of the layer alone where the folder shows all below it as well.
 */
export async function openLayer(
  holdings: Holdings,
  id: NodeId,
  doubts: FolderDoubts,
): Promise<ReadableLayer | null> {
  const { blob } = holdings.layer(id);
  if (blob !== null) return storedLayer("tar", await holdings.storeOf(blob).open(holdings.ownId(blob)));
  const store = holdings.storeOf(id);
  const unpacked = store.unpacked(holdings.ownId(id));
  if (!unpacked) return null;
  const { tarSplit, folder, isDiff } = unpacked;
  if (tarSplit !== null && (await store.tree.lstat(tarSplit))?.type === "file")
    return storedLayer("tar-split", await store.tree.open(tarSplit));
  return isDiff ? folderLayer(store, folder, true, doubts) : null;
}

/** What a folder holds, as a layer or as the whole view of a tree; null where there is none. */
export async function folderLayer(
  store: Store,
  folder: BytePath,
  isDiff: boolean,
  doubts: FolderDoubts,
): Promise<ReadableLayer | null> {
  // A tar need not have a member for each folder.
  const isThere =
    (await store.tree.lstat(folder))?.type === "directory" || (await store.tree.names(folder)).length > 0;
  if (!isThere) return null;
  return {
    label: `${store.source}: ${displayPath(folder)}`,
    stored: null,
    changes: () => readFolder(store.tree, folder, isDiff, doubts),
    async close() {},
  };
}

function storedLayer(form: LayerForm, source: ByteSource): ReadableLayer {
  async function* counted(onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
    for await (const chunk of source.stream()) {
      onBytes(chunk.length);
      yield chunk;
    }
  }
  return {
    label: source.label,
    stored: { form, source },
    changes: (reading, onBytes = () => undefined) => readLayer(counted(onBytes), source.label, form, reading),
    close: () => source.close(),
  };
}
