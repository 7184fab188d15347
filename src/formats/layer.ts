/**
 * The changeset that a layer tar means (image-spec v1.1 layer.md): what it puts in place, and by `.wh.` names
 * what it hides of the layers below. Marker names are those of AUFS, which Docker's first driver was made for.
 *
 * Not handled: what overlayfs itself uses (character devices 0:0, opaque extended attributes), which no layer tar
 * holds: `src/stores/folder-changes.ts` does.
 */
import { type BytePath, baseName, joinPath, parentOf, parseBytePath } from "../byte-path.ts";
import { CompressedInput } from "../bytes/compressed-input.ts";
import { Crc64 } from "../bytes/crc64.ts";
import { decompress, sniffCompression } from "../bytes/decompress.ts";
import { readTar, type TarEntry } from "./tar.ts";
import { membersOf, readTarSplit, type TarSplitFile } from "./tarsplit.ts";

/** One member of a layer. Paths are of the merged tree; the root is "". */
export type Change =
  /** `size` in bytes once expanded, as the engines count it; `crc` (CRC-64/ISO) of as many, where it is known. */
  | { readonly kind: "file"; readonly path: BytePath; readonly size: number; readonly crc?: bigint }
  /** Another name of `target`; null where that name is invalid. */
  | { readonly kind: "hardlink"; readonly path: BytePath; readonly target: BytePath | null }
  /** `target` one char = one byte, as stored. */
  | { readonly kind: "symlink"; readonly path: BytePath; readonly target: string }
  | { readonly kind: "directory" | "other"; readonly path: BytePath }
  /** Hides `path`, and all that is under it, of lower layers. */
  | { readonly kind: "whiteout"; readonly path: BytePath }
  /** Hides all that lower layers have in the directory `path`. */
  | { readonly kind: "opaque"; readonly path: BytePath }
  /** A name that leads out of the layer or that no file can have; nothing is to be done for it. */
  | { readonly kind: "invalid"; readonly rawName: string };

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Everything else of this name is AUFS's own: `.wh..wh.plnk`, `.wh..wh.aufs`, `.wh..wh.orph`. */
const AUFS_OWN = /(?:^|\/)\.wh\.\.wh\.(?!\.opq$)/;

/** What one member of a layer tar means; null: nothing, it is left over from AUFS. */
export function changeOf(entry: TarEntry): Change | null {
  const { rawName } = entry;
  const path = parseBytePath(rawName);
  if (path === null) return { kind: "invalid", rawName };
  const marker = markerAt(path);
  if (marker !== undefined) return marker;
  switch (entry.type) {
    case "file":
      return { kind: "file", path, size: entry.realSize };
    case "hardlink":
      return { kind: "hardlink", path, target: parseBytePath(entry.linkName) };
    case "symlink":
      return { kind: "symlink", path, target: entry.linkName };
    case "directory":
      return { kind: "directory", path };
    default:
      return { kind: "other", path };
  }
}

/** What a name itself means; null: nothing, it is left over from AUFS; undefined: it is a name as any other. */
export function markerAt(path: BytePath): Change | null | undefined {
  if (!path.includes(WHITEOUT)) return undefined;
  if (AUFS_OWN.test(path)) return null;
  const name = baseName(path);
  if (name === OPAQUE) return { kind: "opaque", path: parentOf(path) };
  return name.startsWith(WHITEOUT) ? whiteout(path, name) : undefined;
}

/** `.wh.`, `.wh..` and `.wh...` would hide the directory they are in, or the one above. */
function whiteout(path: BytePath, name: string): Change {
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") return { kind: "invalid", rawName: path };
  return { kind: "whiteout", path: joinPath(parentOf(path), hidden) };
}

/** What the stored bytes of a layer are: its tar, compressed or not, or the packed tar-split of it. */
export type LayerForm = "tar" | "tar-split";

export interface LayerReading {
  /** Take checksums of the files of a tar, as a tar-split has them anyway. */
  readonly checksums: boolean;
}

/**
 * The changes of a layer in the order of its tar; `stored` are its bytes as kept. Throws what {@link decompress},
 * {@link readTar} and {@link readTarSplit} throw, after the changes that could be read.
 */
export async function* readLayer(
  stored: AsyncIterable<Uint8Array>,
  label: string,
  form: LayerForm = "tar",
  reading: LayerReading = { checksums: false },
): AsyncGenerator<Change> {
  if (form === "tar-split") return yield* readTarSplitLayer(stored, label);
  for await (const { entry, data } of readTar(unpackLayer(stored, label))) {
    const change = changeOf(entry);
    if (change?.kind === "file" && reading.checksums && !entry.sparse)
      yield { ...change, crc: await checksum(data) };
    else if (change) yield change;
  }
}

async function checksum(data: AsyncIterable<Uint8Array>): Promise<bigint> {
  const crc = new Crc64();
  for await (const chunk of data) crc.update(chunk);
  return crc.digest();
}

async function* readTarSplitLayer(packed: AsyncIterable<Uint8Array>, label: string): AsyncGenerator<Change> {
  for await (const { file, member } of membersOf(readTarSplit(packed, label))) {
    const change = changeOf(member ?? withoutHeaders(file));
    if (change?.kind === "file") yield { ...change, size: file.size, crc: file.crc ?? 0n };
    else if (change) yield change;
  }
}

/** A member whose headers make no sense: all that is known is its name and how long it is. */
function withoutHeaders({ rawName, size }: TarSplitFile): TarEntry {
  const type = rawName.endsWith("/") ? "directory" : "file";
  const unknown = {
    mode: 0,
    uid: 0,
    gid: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    start: 0,
    dataStart: 0,
    xattrs: null,
  };
  return { rawName, type, size, realSize: size, sparse: false, linkName: "", ...unknown };
}

/** The layer tar in `stored`, decompressed by what its first bytes say, whatever a media type claims. */
export async function* unpackLayer(
  stored: AsyncIterable<Uint8Array>,
  label: string,
): AsyncGenerator<Uint8Array> {
  const input = new CompressedInput("layer", label, stored);
  try {
    const head = new Uint8Array(6);
    const length = await input.fill(head);
    const kind = sniffCompression(head.subarray(0, length));
    const whole = resume(head.subarray(0, length), input);
    yield* kind ? decompress(kind, whole, label) : whole;
  } finally {
    await input.close();
  }
}

async function* resume(head: Uint8Array, rest: CompressedInput): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (let piece = await rest.some(); piece.length > 0; piece = await rest.some()) yield piece;
}
