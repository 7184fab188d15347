/**
 * Random access to bytes that are never written: a file, a part of one, or a buffer.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isMainThread } from "node:worker_threads";
import { FormatError, messageOf, SourceError, TruncatedError } from "../errors.ts";

/** Names bytes so that another thread can open them: a file by its real path, a byte range of it. */
export interface FileRange {
  readonly path: string;
  /** From the file's start. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

export interface ByteSource {
  /** For messages: `save.tar: blobs/sha256/ab12`. */
  readonly label: string;
  readonly byteLength: number;
  /** The same bytes as a range of a file on the host; null where they exist in this process only. */
  readonly range: FileRange | null;
  /** Exactly `length` bytes at `offset`, else {@link TruncatedError}. The result may be a view of a cache: do not write to it. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Chunks from `start` to `end` (exclusive); {@link TruncatedError} where the bytes stop earlier. A chunk may be reused once the next is asked for. */
  stream(start?: number, end?: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const CHUNK = 1 << 20;

/** `buffer` as a source. */
export function bufferSource(label: string, buffer: Uint8Array): ByteSource {
  const source: ByteSource = {
    label,
    byteLength: buffer.length,
    range: null,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > buffer.length)
        throw truncated(label, offset, length, buffer.length);
      return buffer.subarray(offset, offset + length);
    },
    async *stream(start = 0, end = buffer.length) {
      for (let at = start; at < end; at += CHUNK) yield await source.read(at, Math.min(CHUNK, end - at));
    },
    async close() {},
  };
  return source;
}

/** The bytes `start` to `end` of `parent`. Closing it does not close the parent. */
export function partOf(parent: ByteSource, label: string, start: number, end: number): ByteSource {
  const length = end - start;
  return {
    label,
    byteLength: length,
    range: parent.range && {
      path: parent.range.path,
      start: parent.range.start + start,
      end: parent.range.start + end,
    },
    read(offset, count) {
      if (offset < 0 || count < 0 || offset + count > length)
        return Promise.reject(truncated(label, offset, count, length));
      return parent.read(start + offset, count);
    },
    stream: (from = 0, to = length) => parent.stream(start + from, start + Math.min(to, length)),
    async close() {},
  };
}

/**
 * Opens a regular file for reading only: never through a link in the last component, and without changing the
 * access time where the platform lets us (O_NOATIME wants the owner or root).
 */
export async function openReadOnly(path: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const quiet = (constants as { O_NOATIME?: number }).O_NOATIME;
  if (quiet !== undefined) {
    try {
      return await open(path, flags | quiet);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
    }
  }
  return open(path, flags);
}

/**
 * The whole of a small regular file, read at once; null for anything else. Never through a link in the last component,
 * and without changing the access time where the platform lets us. Throws what the system says, and `FormatError` where
 * the file is longer than `limit`.
 */
export function readSmallFile(path: Buffer, label: string, limit: number): Uint8Array | null {
  const descriptor = openQuietly(path);
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return null;
    if (stat.size > limit)
      throw new FormatError(
        "size",
        `${label}: ${stat.size} bytes is more than the ${limit} allowed for such a file`,
      );
    const buffer = Buffer.allocUnsafe(stat.size);
    let got = 0;
    while (got < buffer.length) {
      const count = readSync(descriptor, buffer, got, buffer.length - got, got);
      if (count === 0) break; // it has become shorter
      got += count;
    }
    return buffer.subarray(0, got);
  } finally {
    closeSync(descriptor);
  }
}

function openQuietly(path: Buffer): number {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const quiet = (constants as { O_NOATIME?: number }).O_NOATIME;
  if (quiet !== undefined) {
    try {
      return openSync(path, flags | quiet);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
    }
  }
  return openSync(path, flags);
}

/** Opens the bytes of a host file, or the part of it that `range` names. */
export async function openFile(path: string, label = path, range?: FileRange): Promise<ByteSource> {
  const { handle, size } = await openRegular(path, label);
  return handleSource(handle, label, range ?? { path, start: 0, end: size });
}

async function openRegular(path: string, label: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    const handle = await openReadOnly(path);
    const stat = await handle.stat();
    if (!stat.isFile()) {
      await handle.close();
      throw new SourceError(`cannot read ${label}: not a regular file`);
    }
    return { handle, size: stat.size };
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(`cannot read ${label}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Opens ranges of files one after another, and each file once where the next range is in the same one: to open, stat
 * and close an archive for each of its small blobs takes longer than to hash them.
 */
export class RangeOpener {
  private path: string | null = null;
  private handle: FileHandle | null = null;

  /** Good until the next call. */
  async open(label: string, range: FileRange): Promise<Pick<ByteSource, "stream">> {
    if (this.handle === null || this.path !== range.path) {
      await this.close();
      this.handle = (await openRegular(range.path, label)).handle;
      this.path = range.path;
    }
    return handleSource(this.handle, label, range);
  }

  async close(): Promise<void> {
    const { handle } = this;
    this.handle = null;
    await handle?.close();
  }
}

/** `range` of a file that is open; closing the source closes it. */
function handleSource(handle: FileHandle, label: string, range: FileRange): ByteSource {
  const { start } = range;
  const byteLength = range.end - start;
  return {
    label,
    byteLength,
    range,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > byteLength)
        throw truncated(label, offset, length, byteLength);
      const buffer = Buffer.allocUnsafe(length);
      let got = 0;
      while (got < length) {
        const bytesRead = await readSome(handle, buffer, got, start + offset + got);
        if (bytesRead === 0) throw truncated(label, offset, length, offset + got);
        got += bytesRead;
      }
      return buffer;
    },
    stream: (from = 0, to = byteLength) => {
      const read = isMainThread ? readAhead : readInTurn;
      return read(handle, label, start + from, start + Math.min(to, byteLength));
    },
    close: () => handle.close(),
  };
}

/**
 * Headers and documents are read at once: a small read in this thread takes 3 us, by way of the thread pool 40, and
 * an archive of 10,000 images takes some 30,000 of them.
 */
async function readSome(handle: FileHandle, buffer: Buffer, from: number, position: number): Promise<number> {
  const length = buffer.length - from;
  if (buffer.length <= SMALL) return readSync(handle.fd, buffer, from, length, position);
  return (await handle.read(buffer, from, length, position)).bytesRead;
}
const SMALL = 1 << 18;

/**
 * Reads a file range chunk by chunk into two buffers in turn, so that the next read runs while the consumer
 * works on the last chunk: hashing and reading overlap.
 */
async function* readAhead(
  handle: FileHandle,
  label: string,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  if (end <= start) return;
  const size = Math.min(CHUNK, end - start);
  const buffers = [Buffer.allocUnsafe(size), end - start > size ? Buffer.allocUnsafe(size) : null];
  let turn = 0;
  const next = (at: number) => handle.read(buffers[turn]!, 0, Math.min(size, end - at), at);
  let pending = next(start);
  try {
    for (let at = start; at < end; ) {
      const { bytesRead } = await pending;
      if (bytesRead === 0) throw truncated(label, at - start, end - at, at - start);
      const chunk = buffers[turn]!.subarray(0, bytesRead);
      at += bytesRead;
      if (at < end) {
        turn ^= 1;
        pending = next(at);
      }
      yield chunk;
    }
  } finally {
    await pending.catch(() => undefined); // a consumer that stops early must not leave a read behind
  }
}

/**
 * As {@link readAhead}, for a thread of its own, where waiting holds up nobody: with all cores busy hashing, the trips
 * to the thread pool and back took a tenth of the time, and the kernel reads ahead as well (cold files: no slower).
 * Chunks of 64 KiB instead of 1 MiB are slower by a quarter.
 */
async function* readInTurn(
  handle: FileHandle,
  label: string,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  if (end <= start) return;
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end - start));
  for (let at = start; at < end; ) {
    const count = readSync(handle.fd, buffer, 0, Math.min(buffer.length, end - at), at);
    if (count === 0) throw truncated(label, at - start, end - at, at - start);
    at += count;
    yield buffer.subarray(0, count);
  }
}

function truncated(label: string, offset: number, length: number, end: number): TruncatedError {
  return new TruncatedError(`${label}: ends at byte ${end}, but ${length} bytes at ${offset} were wanted`);
}

/** The whole of a source that must not be larger than `limit` bytes. */
export async function readAll(source: ByteSource, limit: number): Promise<Uint8Array> {
  if (source.byteLength > limit) {
    throw new FormatError(
      "size",
      `${source.label}: ${source.byteLength} bytes is more than the ${limit} allowed for such a file`,
    );
  }
  return source.read(0, source.byteLength);
}
