/**
 * Runs a decoder of node:zlib, which works on the thread pool: while the caller hashes one chunk the next is
 * being inflated, and never more than that one.
 */
import type { Transform } from "node:stream";
import type { ZlibOptions } from "node:zlib";
import { messageOf } from "../errors.ts";
import type { CompressedInput } from "./compressed-input.ts";

/**
 * Plain bytes a chunk. Two workers on two cores, gunzip and SHA-256: 395 MB/s at 64 KiB, where the hops between
 * threads tell, 465 at 256 KiB, 520 at 512 KiB and no more at 1 MiB.
 */
const CHUNK = 512 << 10;
export const ENGINE_OPTIONS = { chunkSize: CHUNK } satisfies ZlibOptions;

export type ZlibEngine = Transform & { readonly bytesWritten: number };

/** Resolves once the piece is used and may be overwritten, to how many of its bytes the engine took. */
export type WritePiece = (piece: Uint8Array) => Promise<number>;

/** What `engine` makes of the pieces that `feed` writes, one at a time. */
export async function* runEngine(
  engine: ZlibEngine,
  input: CompressedInput,
  feed: (write: WritePiece) => Promise<void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let abandonWrite = () => {};
  // A destroyed engine never calls back for the write it was busy with.
  engine.once("close", () => abandonWrite());
  const write: WritePiece = (piece) =>
    new Promise((resolve, reject) => {
      const before = engine.bytesWritten;
      abandonWrite = () => reject(new Error("stopped"));
      engine.write(piece, (error) => (error ? reject(error) : resolve(engine.bytesWritten - before)));
    });
  const feeding = feed(write).then(
    () => void engine.end(),
    (error) => void engine.destroy(error),
  );
  try {
    for await (const chunk of engine) yield chunk;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "Z_BUF_ERROR") throw input.truncated({ cause: error });
    if (code === "Z_DATA_ERROR" || code?.startsWith("ZSTD_error_")) {
      throw input.damaged(messageOf(error), engine.bytesWritten, { cause: error });
    }
    throw error;
  } finally {
    engine.destroy();
    await feeding;
  }
}
