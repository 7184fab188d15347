/**
 * Zstandard (RFC 8878) by libzstd: Node's own where it has one (from 22.15), else the WebAssembly build in
 * zstddec. Both verify content checksums.
 *
 * The frames are taken apart here, since Node's decoder (up to 24 at least) silently drops whatever follows the
 * end of a frame in one write, and so that both refuse the same headers and say where. Little endian.
 * Not handled: dictionaries (refused), the legacy formats before 0.8.
 */
import * as zlib from "node:zlib";
import type { CompressedInput } from "./compressed-input.ts";
import { ENGINE_OPTIONS, runEngine, type ZlibEngine } from "./zlib-engine.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50; // to ...5f
/** As zstd(1) without --long: `zstd --ultra -22` needs this much and no standard writer of layers more. */
const MAX_WINDOW = 128 << 20;
const MAX_BLOCK = 128 << 10;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;
/** For an input of skippable frames only, which Node's engine takes for a truncated one. */
const EMPTY_FRAME = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00);
/** Compressed bytes handed over at once. */
const PIECE = 256 << 10;

/** Missing in the types of Node 20. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: zlib.ZlibOptions) => ZlibEngine };

export function unzstd(input: CompressedInput): AsyncIterable<Uint8Array> {
  return createZstdDecompress
    ? unzstdByNode(input, createZstdDecompress(ENGINE_OPTIONS))
    : unzstdByWasm(input);
}

function unzstdByNode(input: CompressedInput, engine: ZlibEngine): AsyncIterable<Uint8Array> {
  return runEngine(engine, input, async (write) => {
    let isEmpty = true;
    for await (const piece of framePieces(input)) {
      await write(piece);
      isEmpty = false;
    }
    if (isEmpty) await write(EMPTY_FRAME);
  });
}

/** Exported for its tests, which must reach it where Node has a decoder too. */
export async function* unzstdByWasm(input: CompressedInput): AsyncGenerator<Uint8Array, void, undefined> {
  const { malloc, memory, ZSTD_createDCtx, ZSTD_decompressStream } = await instantiate();
  // The instance and all its memory go with this stream, so nothing here is freed.
  const context = ZSTD_createDCtx();
  const source = malloc(PIECE);
  const target = malloc(PIECE);
  const [inBuffer, outBuffer] = [malloc(12), malloc(12)]; // ZSTD_inBuffer, ZSTD_outBuffer: address, size, position
  let buffers = new Uint32Array(memory.buffer);
  const set = (buffer: number, address: number, size: number) => buffers.set([address, size, 0], buffer >> 2);
  const position = (buffer: number) => buffers[(buffer >> 2) + 2]!;
  for await (const piece of framePieces(input)) {
    const start = input.offset - piece.length;
    new Uint8Array(memory.buffer).set(piece, source);
    set(inBuffer, source, piece.length);
    // A full target may leave more to come although all of the piece is taken.
    for (let full = false; full || position(inBuffer) < piece.length; ) {
      set(outBuffer, target, PIECE);
      const hint = ZSTD_decompressStream(context, outBuffer, inBuffer);
      if (buffers.length === 0) buffers = new Uint32Array(memory.buffer); // detached as the memory grew
      if (hint < 0) throw input.damaged(wasmError(-hint), start + position(inBuffer));
      const made = position(outBuffer);
      full = made === PIECE;
      if (made > 0) yield new Uint8Array(memory.buffer).slice(target, target + made);
    }
  }
}

/** `ZSTD_ErrorCode` of zstd_errors.h. */
function wasmError(code: number): string {
  if (code === 20) return "data corruption";
  if (code === 22) return "content checksum does not match";
  if (code === 64) return "not enough memory for its window";
  return `zstd error ${code}`;
}

/** The part of libzstd we call; addresses and sizes in bytes of `memory`. */
interface ZstdExports {
  memory: WebAssembly.Memory;
  malloc(size: number): number;
  ZSTD_createDCtx(): number;
  /** Negative where it fails. */
  ZSTD_decompressStream(context: number, outBuffer: number, inBuffer: number): number;
}

let compiled: Promise<WebAssembly.Module> | undefined;

/**
 * zstddec's own decodeStreaming() neither sees errors (it spins on them) nor lets a caller wait for input, so its
 * module is caught at its `_init` hook and driven directly.
 */
async function instantiate(): Promise<ZstdExports> {
  compiled ??= import("zstddec/stream").then(async ({ ZSTDDecoder }) => {
    let module: WebAssembly.Module | undefined;
    class ModuleCatcher extends ZSTDDecoder {
      override _init(result: WebAssembly.WebAssemblyInstantiatedSource): void {
        module = result.module;
      }
    }
    await new ModuleCatcher().init();
    if (!module) throw new Error("zstddec has been initialised by someone else");
    return module;
  });
  const imports = { env: { emscripten_notify_memory_growth() {} } };
  const instance = await WebAssembly.instantiate(await compiled, imports);
  return instance.exports as unknown as ZstdExports;
}

/**
 * The data frames of `input` in pieces of at most {@link PIECE} bytes, none of which crosses the end of a frame;
 * skippable frames are left out. A piece is overwritten once the next is asked for.
 */
async function* framePieces(input: CompressedInput): AsyncGenerator<Uint8Array, void, undefined> {
  const piece = Buffer.alloc(PIECE);
  let used = 0;
  const take = async (length: number) => {
    const taken = piece.subarray(used, used + length);
    if ((await input.fill(taken)) < length) throw input.truncated();
    used += length;
    return taken;
  };
  for (let start = 0; ; start = input.offset) {
    const got = await input.fill(piece.subarray(0, 4));
    if (got === 0 && start > 0) return;
    if (got < 4) throw input.truncated();
    const magic = piece.readUInt32LE(0);
    if ((magic & ~0xf) >>> 0 === SKIPPABLE_MAGIC) {
      await input.skip(Buffer.from(await input.bytes(4)).readUInt32LE(0));
      continue;
    }
    if (magic !== MAGIC) throw input.damaged(start === 0 ? "no zstd frame" : "trailing garbage", start);
    used = 4;
    const hasChecksum = await takeFrameHeader(take, (what) => input.damaged(what, start));
    for (let last = false; !last; ) {
      if (used + 3 + MAX_BLOCK + 4 > PIECE) {
        yield piece.subarray(0, used);
        used = 0;
      }
      const header = (await take(3)).readUIntLE(0, 3);
      last = (header & 1) === 1;
      const type = (header >> 1) & 3;
      const size = header >> 3;
      if (type === RESERVED_BLOCK || size > MAX_BLOCK)
        throw input.damaged("bad block header", input.offset - 3);
      await take(type === RLE_BLOCK ? 1 : size);
    }
    if (hasChecksum) await take(4);
    yield piece.subarray(0, used);
  }
}

/** Section 3.1.1.1, after the magic number; returns whether a checksum follows the last block. */
async function takeFrameHeader(
  take: (length: number) => Promise<Buffer>,
  damaged: (what: string) => Error,
): Promise<boolean> {
  const descriptor = (await take(1))[0]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  if (descriptor & 0x08) throw damaged("reserved bit set in a frame header");
  let window = 0;
  if (!isSingleSegment) {
    const byte = (await take(1))[0]!;
    const base = 2 ** (10 + (byte >> 3));
    window = base + (base / 8) * (byte & 7);
  }
  const dictionaryId = await take([0, 1, 2, 4][descriptor & 3]!);
  if (dictionaryId.some((byte) => byte !== 0)) throw damaged("needs a dictionary");
  const size = await take(sizeFlag === 0 ? Number(isSingleSegment) : 1 << sizeFlag);
  if (isSingleSegment)
    window = size.length === 8 ? Number(size.readBigUInt64LE()) : size.readUIntLE(0, size.length);
  if (window > MAX_WINDOW) throw damaged(`wants a window of ${window} bytes, more than ${MAX_WINDOW}`);
  return (descriptor & 0x04) !== 0;
}
