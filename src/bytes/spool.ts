/** Streams that are read once: looking ahead in them, knowing why they broke off, and keeping them in a file. */
import { constants } from "node:fs";
import { mkdtemp, open, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  FormatError,
  InterruptedError,
  messageOf,
  SourceError,
  TruncatedError,
  UllageError,
  UsageError,
} from "../errors.ts";
import { type ByteSource, openFile } from "./source.ts";

/** A stream that remembers why it broke off, for where its consumer takes that for something else. */
export function watched(chunks: AsyncIterable<Uint8Array>): {
  readonly chunks: AsyncIterable<Uint8Array>;
  failure(): string | null;
} {
  let failure: string | null = null;
  async function* through(): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      failure = messageOf(error);
      throw error;
    }
  }
  return { chunks: through(), failure: () => failure };
}

/** The first bytes of a stream, and the stream with them still in front. */
export async function peek(
  input: AsyncIterable<Uint8Array>,
): Promise<[Uint8Array, AsyncIterable<Uint8Array>]> {
  const iterator = input[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < 16) {
    const next = await iterator.next();
    if (next.done) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  return [head, whole()];
}

/**
 * Writes a stream into a file of its own below `folder`, which goes when the source is closed. A stream that breaks
 * off is kept as far as it came, as a single pass over it is.
 */
export async function spool(
  label: string,
  chunks: AsyncIterable<Uint8Array>,
  folder: string,
  signal: AbortSignal,
  onBroken: (message: string) => void,
): Promise<ByteSource> {
  const own = await mkdtemp(join(folder, "ullage-")).catch((error: unknown) => {
    throw new UsageError(`cannot use --tmp ${folder}: ${messageOf(error)}`);
  });
  const path = join(own, "unpacked.tar");
  try {
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      for await (const chunk of chunks) {
        if (signal.aborted) throw new InterruptedError("interrupted");
        await file.writeFile(chunk);
      }
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof TruncatedError)) throw error;
      onBroken(messageOf(error));
    } finally {
      await file.close();
    }
    const source = await openFile(await realpath(path), label);
    return {
      ...source,
      async close() {
        await source.close();
        await rm(own, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(own, { recursive: true, force: true });
    if (error instanceof UllageError) throw error;
    throw new SourceError(`cannot unpack ${label} below ${folder}: ${messageOf(error)}; try another --tmp`, {
      cause: error,
    });
  }
}
