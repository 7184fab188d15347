/**
 * The changeset that a layer tar means (image-spec v1.1 layer.md): what it puts in place, and by `.wh.` names
 * what it hides of the layers below. Marker names are those of AUFS, which Docker's first driver was made for.
 *
 * Not handled: what overlayfs itself uses (character devices 0:0, opaque extended attributes), which no layer tar
 * holds.
 */
import { type BytePath, baseName, joinPath, parentOf, parseBytePath } from "../byte-path.ts";
import { CompressedInput } from "../bytes/compressed-input.ts";
import { decompress, sniffCompression } from "../bytes/decompress.ts";
import { readTar, type TarEntry } from "./tar.ts";

/** One member of a layer. Paths are of the merged tree; the root is "". */
export type Change =
  /** `size` in bytes once expanded, as the engines count it. */
  | { readonly kind: "file"; readonly path: BytePath; readonly size: number }
  /** Another name of `target`; null where that name is invalid. */
  | { readonly kind: "hardlink"; readonly path: BytePath; readonly target: BytePath | null }
  | { readonly kind: "directory" | "symlink" | "other"; readonly path: BytePath }
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
  if (path.includes(WHITEOUT)) {
    if (AUFS_OWN.test(path)) return null;
    const name = baseName(path);
    if (name === OPAQUE) return { kind: "opaque", path: parentOf(path) };
    if (name.startsWith(WHITEOUT)) return whiteout(path, name, rawName);
  }
  switch (entry.type) {
    case "file":
      return { kind: "file", path, size: entry.realSize };
    case "hardlink":
      return { kind: "hardlink", path, target: parseBytePath(entry.linkName) };
    case "directory":
    case "symlink":
      return { kind: entry.type, path };
    default:
      return { kind: "other", path };
  }
}

/** `.wh.`, `.wh..` and `.wh...` would hide the directory they are in, or the one above. */
function whiteout(path: BytePath, name: string, rawName: string): Change {
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") return { kind: "invalid", rawName };
  return { kind: "whiteout", path: joinPath(parentOf(path), hidden) };
}

/**
 * The changes of a layer in the order of its tar; `stored` are its bytes as kept, compressed or not. Throws what
 * {@link decompress} and {@link readTar} throw, after the changes that could be read.
 */
export async function* readLayer(stored: AsyncIterable<Uint8Array>, label: string): AsyncGenerator<Change> {
  for await (const { entry } of readTar(unpackLayer(stored, label))) {
    const change = changeOf(entry);
    if (change) yield change;
  }
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
