/** Compressed bytes to plain ones, as a stream whose memory does not depend on what the bytes claim. */
import { CompressedInput } from "./compressed-input.ts";

export type Compression = "gzip" | "zstd" | "xz" | "bzip2";

type Decoder = (input: CompressedInput) => AsyncIterable<Uint8Array>;

/** Loaded when first needed: most runs meet one compression, and start-up pays for none. */
const DECODERS: Record<Compression, () => Promise<Decoder>> = {
  gzip: async () => (await import("./gunzip.ts")).gunzip,
  zstd: async () => (await import("./unzstd.ts")).unzstd,
  xz: async () => (await import("./unxz.ts")).unxz,
  bzip2: async () => (await import("./bunzip2.ts")).bunzip2,
};

/**
 * Compression by its magic number, null where there is none; `head` is the first bytes, of which six are enough.
 * A zstd skippable frame counts as zstd: pzstd opens with one, and nothing else we read starts so.
 */
export function sniffCompression(head: Uint8Array): Compression | null {
  const starts = (...magic: number[]) => magic.every((byte, i) => head[i] === byte);
  if (starts(0x1f, 0x8b, 0x08)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  if (starts(0x42, 0x5a, 0x68) && head[3]! >= 0x31 && head[3]! <= 0x39) return "bzip2";
  if (head[0]! >> 4 === 5 && head.length > 3 && starts(head[0]!, 0x2a, 0x4d, 0x18)) return "zstd";
  return null;
}

/**
 * The uncompressed bytes of `input`, chunk by chunk; each chunk is the caller's to keep. Concatenated members,
 * frames and streams are read through to the end, and anything else that follows them is an error, as in Go's
 * readers; only gzip may end in zero bytes and xz in its stream padding.
 *
 * Throws `FormatError` where the bytes are wrong and `TruncatedError` where they stop early, with the offset
 * into the compressed bytes, which for gzip and Node's zstd may be up to a chunk before the fault. Chunks may
 * come out first, so nothing read is to be trusted until the end is reached. A consumer that stops early waits
 * for the chunk of input that was asked for, if any.
 */
export async function* decompress(
  kind: Compression,
  input: AsyncIterable<Uint8Array>,
  label: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const decode = await DECODERS[kind]();
  const compressed = new CompressedInput(kind, label, input);
  try {
    yield* decode(compressed);
  } finally {
    await compressed.close();
  }
}
