/**
 * xz (The .xz File Format 1.2.1) by XZ Embedded, in the WebAssembly build of xz-decompress, which reads on
 * through any number of streams and their padding. CRC32 and CRC64 are verified. Not handled, and refused:
 * SHA-256 checks, BCJ and delta filters, dictionaries over 64 MiB (what `xz -9` uses).
 */
import type { CompressedInput } from "./compressed-input.ts";

/** `enum xz_ret` of XZ Embedded's xz.h. */
const XZ_OK = 0;
const XZ_STREAM_END = 1;
const XZ_BUF_ERROR = 8;
const FAULTS: Record<number, string> = {
  2: "unsupported check",
  3: "not enough memory for its dictionary",
  4: "its dictionary is larger than 64 MiB",
  5: "no xz stream",
  6: "unsupported check or filter",
  7: "data corruption",
};

/** What xz-decompress exports; a context starts with the fields below, 32 bits each. */
interface XzExports {
  memory: WebAssembly.Memory;
  create_context(): number;
  /** Of the input buffer's bytes; 0 says that no more will come. */
  supply_input(context: number, length: number): void;
  /** Decodes until the input is used up or the output buffer is full; an `xz_ret`. */
  get_next_output(context: number): number;
}
const BUFFER_SIZE = 0;
const INPUT = 1;
const INPUT_POSITION = 2;
const INPUT_SIZE = 3;
const OUTPUT = 4;
const OUTPUT_POSITION = 5;
const FIELD_COUNT = 6;

export async function* unxz(input: CompressedInput): AsyncGenerator<Uint8Array, void, undefined> {
  const xz = await instantiate();
  const context = xz.create_context();
  // Views are made anew each time, since memory moves as it grows.
  const fields = () => new Uint32Array(xz.memory.buffer, context, FIELD_COUNT);
  const bytes = (start: number, length: number) => new Uint8Array(xz.memory.buffer, start, length);
  const bufferSize = fields()[BUFFER_SIZE]!;
  for (let state = XZ_OK; state !== XZ_STREAM_END; ) {
    const piece = await input.some(bufferSize);
    bytes(fields()[INPUT]!, bufferSize).set(piece);
    xz.supply_input(context, piece.length);
    for (let busy = true; busy; ) {
      state = xz.get_next_output(context);
      const made = fields()[OUTPUT_POSITION]!;
      if (made > 0) yield bytes(fields()[OUTPUT]!, made).slice();
      fields()[OUTPUT_POSITION] = 0;
      const left = fields()[INPUT_SIZE]! - fields()[INPUT_POSITION]!;
      if (state === XZ_BUF_ERROR) throw input.truncated();
      if (state > XZ_STREAM_END)
        throw input.damaged(FAULTS[state] ?? `xz error ${state}`, input.offset - left);
      // At the end of the input the decoder must come to its own, or it says that it cannot.
      busy = piece.length === 0 ? state !== XZ_STREAM_END : left > 0 || made === bufferSize;
    }
  }
}

/**
 * xz-decompress's own stream neither waits for memory to be free nor tells an early end from a fault, so its
 * module is driven directly: a new instance a stream, whose memory goes with it.
 */
async function instantiate(): Promise<XzExports> {
  const { default: library } = (await import("xz-decompress")) as unknown as { default: XzLibrary };
  const { XzReadableStream } = library;
  await XzReadableStream._getModuleInstance();
  return XzReadableStream._moduleInstance.exports as XzExports;
}

/** As of xz-decompress 0.2.3. */
interface XzLibrary {
  XzReadableStream: {
    /** Makes an instance and puts it into `_moduleInstance`. */
    _getModuleInstance(): Promise<void>;
    _moduleInstance: WebAssembly.Instance;
  };
}
