/**
 * Where the damage of a layer begins, as far as it can be told from the layer itself: by the structure of its tar,
 * by the checks of its compression, and by the digests of single files in a table of contents, which two formats
 * made for lazy pulling carry:
 *
 * - eStargz (stargz-snapshotter docs/estargz.md): the last file of the tar, `stargz.index.json`; a footer of 51
 *   bytes, an empty gzip member, has its offset in hex in the extra field.
 * - zstd:chunked (containers/storage pkg/chunked/internal/minimal/compression.go): compressed JSON in a skippable
 *   frame; the last frame holds seven u64, little endian, and a magic number. The writer in skopeo 1.9 and its
 *   contemporaries, before tar-split data was added, has four u64 and another magic number.
 *
 * The table is taken at its word: its own digest stands in the manifest, which is not looked at here.
 */
import { createHash, type Hash } from "node:crypto";
import { type BytePath, bytePathFromText, displayPath, parseBytePath } from "../byte-path.ts";
import { CompressedInput } from "../bytes/compressed-input.ts";
import { type Compression, decompress, sniffCompression } from "../bytes/decompress.ts";
import { algorithmOf, type Digest, parseDigest } from "../digest.ts";
import { FormatError, messageOf, TruncatedError, UllageError } from "../errors.ts";
import { asArray, asObject, type JsonObject, parseJson } from "../formats/json.ts";
import { unpackLayer } from "../formats/layer.ts";
import { BLOCK, padded, readTar, type TarEntry, TarHeaders, type TarStep } from "../formats/tar.ts";

/** A layer blob as stored; `stream` starts anew with each call. */
interface Blob {
  readonly label: string;
  readonly byteLength: number;
  stream(): AsyncIterable<Uint8Array>;
}

/**
 * Where in a layer that is known to be wrong the damage begins, in one line without a full stop. Null: its tar is
 * well formed to the end and nothing in it tells what its files should hold. `stream` gives the stored bytes from
 * their start, `byteLength` in number; it is called several times, one after the other.
 */
export async function locateDamage(
  label: string,
  stream: () => AsyncIterable<Uint8Array>,
  byteLength: number,
): Promise<string | null> {
  const blob: Blob = { label, byteLength, stream };
  const compression = sniffCompression(await collect(slice(stream(), 0, 6), 6));
  const { toc, broken } = await findToc(blob, compression);
  const walked = await walk(blob, compression, toc);
  if (walked !== null) return walked;
  if (broken !== null) return `the layer's table of contents cannot be read: ${broken}`;
  if (toc) return "not in a file: all match the layer's table of contents, so it is in headers or that table";
  return null;
}

async function walk(blob: Blob, compression: Compression | null, toc: Toc | null): Promise<string | null> {
  let fault = await walkOnce(blob, toc, blob.stream());
  for (const crumb of compression === "gzip" ? CRUMBS : []) {
    if (typeof fault?.failedAt !== "number") break;
    fault = await walkOnce(blob, toc, inCrumbs(blob.stream(), fault.failedAt, crumb));
  }
  if (fault?.failedAt === undefined) return fault?.text ?? null;
  if (fault.failedAt === null)
    return `the blob ends at byte ${blob.byteLength} before its data does, ${fault.text}`;
  const place = compression === "gzip" ? fault.text : `and what comes out before that ends ${fault.text}`;
  return `decompression fails near byte ${fault.failedAt} of ${blob.byteLength}, ${place}`;
}

interface Fault {
  readonly text: string;
  /** The bytes of the tar could not be had: where in the blob, null for its end. `text` is how far the tar had got. */
  readonly failedAt?: number | null;
}

async function walkOnce(
  blob: Blob,
  toc: Toc | null,
  stored: AsyncIterable<Uint8Array>,
): Promise<Fault | null> {
  const tar = new CompressedInput("tar", blob.label, unpackLayer(stored, blob.label));
  const steps = new Walk(tar, toc);
  try {
    const text = await steps.toEnd();
    return text === null ? null : { text };
  } catch (error) {
    if (error instanceof TruncatedError) return { text: steps.position(), failedAt: null };
    if (error instanceof FormatError) return { text: steps.position(), failedAt: error.offset ?? 0 };
    throw error;
  } finally {
    await tar.close();
  }
}

/**
 * The gzip engine drops what it made of a piece in which it fails, and tells where that piece began. So the place
 * is closed in on: a chunk of 1 MiB, then 1 KiB, then the byte.
 */
const CRUMBS = [1024, 1];

/** The same bytes, those after `from` in pieces of `size`. */
async function* inCrumbs(
  chunks: AsyncIterable<Uint8Array>,
  from: number,
  size: number,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  for await (const chunk of chunks) {
    const plain = Math.max(0, Math.min(chunk.length, from - offset));
    if (plain > 0) yield chunk.subarray(0, plain);
    for (let at = plain; at < chunk.length; at += size) yield chunk.subarray(at, at + size);
    offset += chunk.length;
  }
}

/** Goes through a tar from front to back, looking at every byte of it; anything thrown comes from its source. */
class Walk {
  private readonly tar: CompressedInput;
  private readonly toc: Toc | null;
  private readonly headers = new TarHeaders();
  /** The member that is being read, or was last. */
  private entry: TarEntry | null = null;
  private isOver = false;

  constructor(tar: CompressedInput, toc: Toc | null) {
    this.tar = tar;
    this.toc = toc;
  }

  /** What is wrong first; null: nothing that shows. */
  async toEnd(): Promise<string | null> {
    const block = new Uint8Array(BLOCK);
    for (;;) {
      const offset = this.tar.offset;
      const got = await this.tar.fill(block);
      if (got < BLOCK) return this.cutOff(got);
      const step = this.parse(() => this.headers.header(block, offset));
      if (typeof step === "string") return step;
      let fault: string | null = null;
      if (step.want === "end") return this.trailer();
      if (step.want === "extension") fault = await this.extension(step.length);
      if (step.want === "data") fault = await this.member(step.entry);
      if (fault !== null) return fault;
    }
  }

  /** How far the tar has been read. */
  position(): string {
    if (this.isOver) return "after the last file, any of which may be the wrong one";
    if (!this.entry) return "before the first file";
    const { rawName, dataStart, size } = this.entry;
    const done = this.tar.offset - dataStart;
    return done < size ? `inside ${shown(rawName)}, ${done} of ${size} bytes` : `after ${shown(rawName)}`;
  }

  private parse(step: () => TarStep): TarStep | string {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const which = this.entry ? `the header after ${shown(this.entry.rawName)}` : "the first header";
      return `${which}: ${messageOf(error)} of the tar`;
    }
  }

  /** The tar stops after `got` bytes where a header or the end marker should be. */
  private cutOff(got: number): string | null {
    const { offset } = this.tar;
    if (offset === 0) return "there are no bytes at all";
    if (got === 0 && this.headers.zeroAt !== null) return null;
    return `the tar ends at byte ${offset}, ${this.position()}, without an end marker`;
  }

  private async extension(length: number): Promise<string | null> {
    const data = new Uint8Array(length); // bounded by TarHeaders
    if ((await this.tar.fill(data)) < length) return this.cutOff(length);
    const step = this.parse(() => this.headers.extend(data));
    return typeof step === "string" ? step : this.zeros(padded(length) - length, "the padding of a header");
  }

  private async member(entry: TarEntry): Promise<string | null> {
    this.entry = entry;
    const path = parseBytePath(entry.rawName);
    // Sparse files are told of in the table as they are once expanded.
    const isChecked = entry.type === "file" && !entry.sparse && path !== null;
    const expected = isChecked ? this.toc?.get(path) : null;
    const content = expected ? new Content(expected, entry.size) : null;
    for (let left = entry.size; left > 0; ) {
      const piece = await this.tar.some(left);
      if (piece.length === 0) return `the tar ends ${this.position()}`;
      left -= piece.length;
      const wrong = content?.update(piece);
      if (typeof wrong === "string") {
        return `the content of ${shown(entry.rawName)}${wrong} differs from the layer's table of contents`;
      }
    }
    return this.zeros(padded(entry.size) - entry.size, `the padding after ${shown(entry.rawName)}`);
  }

  private async trailer(): Promise<string | null> {
    this.isOver = true;
    return this.zeros(Number.POSITIVE_INFINITY, "what follows the end of the tar");
  }

  private async zeros(length: number, what: string): Promise<string | null> {
    for (let left = length; left > 0; ) {
      const piece = await this.tar.some(left);
      if (piece.length === 0) return left === Number.POSITIVE_INFINITY ? null : `the tar ends in ${what}`;
      left -= piece.length;
      const stray = piece.findIndex((byte) => byte !== 0);
      if (stray >= 0)
        return `${what}, at byte ${this.tar.offset - piece.length + stray} of the tar, is not zero`;
    }
    return null;
  }
}

/** A name for people, cut in the middle where it would fill the screen. */
function shown(rawName: string): string {
  const cut = rawName.length > 300 ? `${rawName.slice(0, 150)}...${rawName.slice(-150)}` : rawName;
  return displayPath(cut);
}

/** What a table of contents says of a file. */
interface Expected {
  /** Of the whole content. */
  digest: Digest | null;
  /** Parts of it in order, each up to the start of the next; empty where it is not told in parts. */
  readonly parts: { readonly start: number; readonly digest: Digest | null }[];
}

/** Null for a name that the table has twice. */
type Toc = Map<BytePath, Expected | null>;

/** Holds the content of one file against its digests as it comes. */
class Content {
  private readonly digest: Digest | null;
  private readonly parts: Expected["parts"];
  private readonly size: number;
  private readonly whole: Hash | null;
  private partHash: Hash | null = null;
  private partIndex = 0;
  private at = 0;

  constructor(expected: Expected, size: number) {
    this.digest = expected.digest;
    this.parts = expected.parts.length > 1 || expected.digest === null ? expected.parts : [];
    this.size = size;
    this.whole = hashFor(expected.digest);
  }

  /** Which part of the content is wrong, as words to follow its name ("" for the whole); null: none so far. */
  update(piece: Uint8Array): string | null {
    this.whole?.update(piece);
    for (let used = 0; used < piece.length; ) {
      const end = this.partEnd();
      const portion = piece.subarray(used, used + end - this.at);
      const { start = 0, digest = null } = this.parts[this.partIndex] ?? {};
      this.partHash ??= hashFor(digest);
      this.partHash?.update(portion);
      used += portion.length;
      this.at += portion.length;
      if (this.at < end) continue;
      if (this.partHash && !matches(this.partHash, digest)) {
        return this.parts.length > 1 ? `, bytes ${start} to ${end},` : "";
      }
      this.partHash = null;
      this.partIndex++;
    }
    return this.at === this.size && this.whole && !matches(this.whole, this.digest) ? "" : null;
  }

  private partEnd(): number {
    return Math.min(this.parts[this.partIndex + 1]?.start ?? this.size, this.size);
  }
}

function hashFor(digest: Digest | null): Hash | null {
  const algorithm = digest && algorithmOf(digest);
  return algorithm && algorithm !== "blake3" ? createHash(algorithm) : null;
}

function matches(hash: Hash, digest: Digest | null): boolean {
  return digest?.endsWith(`:${hash.digest("hex")}`) === true;
}

/** Larger tables are not read: 32 MiB of JSON tell of some 100,000 files. */
const TOC_LIMIT = 32 << 20;
const ESTARGZ_NAME = "stargz.index.json";
const ESTARGZ_FOOTER = 51;
/** Payload of the last frame of zstd:chunked: its length and the magic number it ends in; now, and before. */
const CHUNKED_FOOTERS = [
  { length: 64, magic: "GNUlInUx" },
  { length: 40, magic: "GnUlInUx" },
] as const;
const SKIPPABLE_MAGIC = 0x184d2a50;
const FRAME_HEADER = 8;

/** The table of contents, if the blob has one; `broken` tells why one that it has cannot be read. */
async function findToc(
  blob: Blob,
  compression: Compression | null,
): Promise<{ toc: Toc | null; broken: string | null }> {
  try {
    const json = await readToc(blob, compression);
    return { toc: json && parseToc(json), broken: null };
  } catch (error) {
    if (!(error instanceof UllageError)) throw error;
    // A plain tar has no other sign of a table than the tar itself, which the walk will judge.
    return { toc: null, broken: compression === null ? null : messageOf(error) };
  }
}

async function readToc(blob: Blob, compression: Compression | null): Promise<Uint8Array | null> {
  if (compression === null) return estargzToc(blob.stream());
  if (compression !== "gzip" && compression !== "zstd") return null;
  const length = FRAME_HEADER + CHUNKED_FOOTERS[0].length;
  const tail = await collect(slice(blob.stream(), blob.byteLength - length, blob.byteLength), length);
  const place = compression === "gzip" ? estargzPlace(tail) : chunkedPlace(tail);
  if (!place) return null;
  const stored = slice(blob.stream(), place.start, Math.min(place.end, blob.byteLength));
  const plain = decompress(compression, stored, blob.label);
  if (compression === "zstd") return collect(plain, TOC_LIMIT);
  const toc = await estargzToc(plain);
  if (!toc) throw new FormatError("estargz", `no ${ESTARGZ_NAME} where the footer says`);
  return toc;
}

/** Where the gzip members of the table start; it is the last file of the tar. The footer is the end of `tail`. */
function estargzPlace(tail: Buffer): { start: number; end: number } | null {
  const hex = /([0-9a-f]{16})STARGZ/.exec(tail.subarray(-ESTARGZ_FOOTER).toString("latin1"))?.[1];
  return hex === undefined ? null : { start: Number.parseInt(hex, 16), end: Number.POSITIVE_INFINITY };
}

/** Where the compressed table is, inside its skippable frame. */
function chunkedPlace(tail: Buffer): { start: number; end: number } | null {
  for (const { length, magic } of CHUNKED_FOOTERS) {
    const frame = tail.subarray(-(FRAME_HEADER + length));
    if (frame.length < FRAME_HEADER + length || !frame.toString("latin1").endsWith(magic)) continue;
    if (frame.readUInt32LE(0) !== SKIPPABLE_MAGIC || frame.readUInt32LE(4) !== length) continue;
    const start = Number(frame.readBigUInt64LE(8));
    return { start, end: start + Number(frame.readBigUInt64LE(16)) };
  }
  return null;
}

async function estargzToc(tar: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  for await (const { entry, data } of readTar(tar)) {
    if (parseBytePath(entry.rawName) === ESTARGZ_NAME) return await collect(data, TOC_LIMIT);
  }
  return null;
}

/** Both formats have the same fields; what does not fit is passed over, since the table is only a help. */
function parseToc(json: Uint8Array): Toc {
  const toc: Toc = new Map();
  const { entries } = asObject(parseJson(json, "table of contents"), "table of contents");
  for (const value of asArray(entries, "entries of the table of contents")) {
    const entry = asObject(value, "entry of the table of contents");
    const path = typeof entry.name === "string" ? bytePathFromText(entry.name) : null;
    if (path === null) continue;
    if (entry.type === "reg") toc.set(path, toc.has(path) ? null : expectedOf(entry));
    if (entry.type === "chunk") addPart(toc.get(path), entry);
  }
  return toc;
}

function expectedOf(entry: JsonObject): Expected {
  const expected: Expected = { digest: parseDigest(entry.digest), parts: [] };
  addPart(expected, entry);
  return expected;
}

function addPart(expected: Expected | null | undefined, entry: JsonObject): void {
  const start = numberOf(entry.chunkOffset);
  const last = expected?.parts[expected.parts.length - 1];
  if (!last || start > last.start) expected?.parts.push({ start, digest: parseDigest(entry.chunkDigest) });
}

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** The bytes `start` to `end`, exclusive, of those in `chunks`; fewer where there are fewer. */
async function* slice(
  chunks: AsyncIterable<Uint8Array>,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
    if (part.length > 0) yield part;
    offset += chunk.length;
    if (offset >= end) return;
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > limit) throw new FormatError("size", `more than the ${limit} bytes allowed for it`);
    parts.push(Uint8Array.from(chunk));
  }
  return Buffer.concat(parts);
}
