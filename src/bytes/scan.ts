/**
 * One pass over the bytes of a blob: digests of what is stored and of what it unpacks to. This is the work that
 * `workers/scan.ts` does off the main thread, and that a single pass over a compressed archive does on the way.
 */
import { createHash } from "node:crypto";
import type { Algorithm } from "../digest.ts";
import { FormatError, messageOf, TruncatedError } from "../errors.ts";
import { type Compression, decompress, sniffCompression } from "./decompress.ts";

/** Which digests are asked for. */
export interface ScanWant {
  /** Of the bytes as stored. */
  readonly stored: readonly Algorithm[];
  /** Of the bytes once decompressed; the same bytes where they are not compressed. Empty: do not decompress. */
  readonly unpacked: readonly Algorithm[];
}

export type HexDigests = Readonly<Partial<Record<Algorithm, string>>>;

export interface ScanFailure {
  /** `truncated`: the bytes end early; `format`: compressed data is wrong; `unreadable`: an I/O error. */
  readonly kind: "truncated" | "format" | "unreadable";
  /** Whether it was met reading the stored bytes or decompressing them. */
  readonly where: "stored" | "unpacked";
  readonly message: string;
  /** From the start of the stored bytes; null where it cannot be told. */
  readonly offset: number | null;
}

/** What a scan found; plain data, so that it crosses threads. */
export interface BlobFacts {
  /** Stored bytes read. */
  readonly byteLength: number;
  readonly stored: HexDigests;
  readonly compression: Compression | null;
  /** Length once decompressed; null where it was not asked for or failed. */
  readonly unpackedLength: number | null;
  /** Empty where decompression failed. */
  readonly unpacked: HexDigests;
  readonly failure: ScanFailure | null;
}

/** Reads `chunks` to their end and returns the facts; never throws for what the bytes are. `onBytes` hears of progress. */
export async function scanBytes(
  chunks: AsyncIterable<Uint8Array>,
  want: ScanWant,
  label: string,
  onBytes: (count: number) => void = () => undefined,
): Promise<BlobFacts> {
  const input = new Tap(chunks, await hashers(want.stored), onBytes);
  let compression: Compression | null = null;
  let unpackedLength: number | null = null;
  let unpacked: HexDigests = {};
  let failure: ScanFailure | null = null;
  try {
    compression = sniffCompression(await input.peek());
  } catch (error) {
    failure = failureOf(error, "stored", input.byteLength);
  }
  if (compression && want.unpacked.length > 0 && !failure) {
    try {
      const hashes = await hashers(want.unpacked);
      let length = 0;
      for await (const chunk of decompress(compression, input.chunks(), label)) {
        length += chunk.length;
        for (const hash of hashes) hash.update(chunk);
      }
      unpackedLength = length;
      unpacked = digestsOf(hashes);
    } catch (error) {
      failure = input.failed
        ? failureOf(error, "stored", input.byteLength)
        : failureOf(error, "unpacked", null);
    }
  }
  const plain = !compression && want.unpacked.length > 0;
  if (plain) input.add(await hashers(want.unpacked.filter((name) => !want.stored.includes(name))));
  if (!input.failed) {
    try {
      for await (const _ of input.chunks()); // what is left counts for the stored digest
    } catch (error) {
      failure ??= failureOf(error, "stored", input.byteLength);
    }
  }
  const all = digestsOf(input.hashes);
  const stored = only(all, want.stored);
  if (plain && !input.failed) {
    unpacked = only(all, want.unpacked);
    unpackedLength = input.byteLength;
  }
  return { byteLength: input.byteLength, stored, compression, unpackedLength, unpacked, failure };
}

export interface Hasher {
  readonly name: Algorithm;
  update(chunk: Uint8Array): void;
  hex(): string;
}

async function hashers(names: readonly Algorithm[]): Promise<Hasher[]> {
  return Promise.all([...new Set(names)].map(hasher));
}

/** node:crypto where it has the algorithm (it is five times as fast), @noble/hashes for BLAKE3. */
export async function hasher(name: Algorithm): Promise<Hasher> {
  if (name === "blake3") {
    const { blake3 } = await import("@noble/hashes/blake3.js");
    const hash = blake3.create({});
    return {
      name,
      update: (chunk) => void hash.update(chunk),
      hex: () => Buffer.from(hash.digest()).toString("hex"),
    };
  }
  const hash = createHash(name);
  return { name, update: (chunk) => void hash.update(chunk), hex: () => hash.digest("hex") };
}

function digestsOf(hashes: readonly Hasher[]): HexDigests {
  return Object.fromEntries(hashes.map((hash) => [hash.name, hash.hex()]));
}

function only(all: HexDigests, names: readonly Algorithm[]): HexDigests {
  return Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name as Algorithm)));
}

function failureOf(error: unknown, where: ScanFailure["where"], offset: number | null): ScanFailure {
  const kind =
    error instanceof TruncatedError ? "truncated" : error instanceof FormatError ? "format" : "unreadable";
  return {
    kind,
    where,
    message: messageOf(error),
    offset: error instanceof FormatError ? error.offset : offset,
  };
}

/** Lets chunks through to a consumer that may stop early, hashing and counting each exactly once. */
class Tap {
  byteLength = 0;
  /** Reading itself threw: there is no more to be had. */
  failed = false;
  hashes: Hasher[];
  private readonly iterator: AsyncIterator<Uint8Array>;
  private readonly onBytes: (count: number) => void;
  private first: Uint8Array | null = null;

  constructor(chunks: AsyncIterable<Uint8Array>, hashes: Hasher[], onBytes: (count: number) => void) {
    this.iterator = chunks[Symbol.asyncIterator]();
    this.hashes = hashes;
    this.onBytes = onBytes;
  }

  /** Hashers for all that has not been let through yet; `add` before `chunks`. */
  add(hashes: Hasher[]): void {
    this.hashes = [...this.hashes, ...hashes];
  }

  /** The first chunk, which `chunks` will give again. */
  async peek(): Promise<Uint8Array> {
    this.first = await this.pull();
    return this.first ?? new Uint8Array(0);
  }

  /** No `finally`: leaving this generator must not end the underlying stream, since the rest is still to be hashed. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.first ?? (await this.pull());
      this.first = null;
      if (!chunk) return;
      this.byteLength += chunk.length;
      for (const hash of this.hashes) hash.update(chunk);
      this.onBytes(chunk.length);
      yield chunk;
    }
  }

  private async pull(): Promise<Uint8Array | null> {
    try {
      const next = await this.iterator.next();
      return next.done ? null : next.value;
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }
}
