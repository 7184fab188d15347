/**
 * Tar archives: POSIX ustar and PAX (IEEE Std 1003.1, "pax Interchange Format"), GNU (long names, base-256
 * numbers, sparse maps: GNU tar manual, "Basic Tar Format") and V7.
 *
 * Everything is in blocks of 512 bytes; numbers are octal text or big-endian base-256. Names are kept as bytes.
 * Not handled: the data of sparse members is not expanded (`sparse` is set and `realSize` told), multi-volume
 * archives, global PAX headers (read over, as Go's archive/tar does).
 *
 * `tar-stream` decodes PAX names as UTF-8 and cannot seek, so it serves the tests as a writer and as a second
 * opinion, not the program.
 */
import { escapeControls } from "../byte-path.ts";
import type { ByteSource } from "../bytes/source.ts";
import { FormatError, TruncatedError } from "../errors.ts";

export type TarType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo" | "other";

export interface TarEntry {
  /** As written, one char = one byte; neither cleaned nor checked: see `parseBytePath`. */
  readonly rawName: string;
  readonly type: TarType;
  /** Bytes of data in the archive. */
  readonly size: number;
  /** Length of the file once expanded; differs from `size` for sparse members only. */
  readonly realSize: number;
  readonly sparse: boolean;
  /** Target of a hard or symbolic link, one char = one byte. */
  readonly linkName: string;
  readonly mode: number;
  /** Of the owner; null where the header's number makes no sense. */
  readonly uid: number | null;
  readonly gid: number | null;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes (`SCHILY.xattr.` records) by full name, values one char a byte; null: none. */
  readonly xattrs: ReadonlyMap<string, string> | null;
  /** Of the first header that belongs to the member (its PAX or long-name header), from the archive's start. */
  readonly start: number;
  readonly dataStart: number;
}

export const BLOCK = 512;
/** Extension headers (PAX, long names) larger than this are refused; Go's archive/tar has the same limit. */
const EXTENSION_LIMIT = 1 << 20;
const NUMERIC_LIMIT = Number.MAX_SAFE_INTEGER;

export function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

/** First byte after a member, padding included. */
export function entryEnd(entry: TarEntry): number {
  return entry.dataStart + padded(entry.size);
}

/** What the blocks read so far ask for next. */
export type TarStep =
  /** A member begins; its data follows. */
  | { readonly want: "data"; readonly entry: TarEntry }
  /** Give the next `length` bytes to `extend`; they and their padding belong to the headers. */
  | { readonly want: "extension"; readonly length: number }
  | { readonly want: "header" }
  | { readonly want: "end" };

/**
 * The state between headers: takes header blocks one by one, gathers extension headers, and hands out members.
 * Pure: knows nothing of where bytes come from. Throws {@link FormatError} with the offset of the bad block.
 */
export class TarHeaders {
  private start: number | null = null;
  private pending: { type: number; offset: number } | null = null;
  private longName: string | null = null;
  private longLink: string | null = null;
  private pax: Map<string, string> | null = null;
  /** An old GNU sparse header whose map goes on in the blocks after it. */
  private sparse: { header: Uint8Array; size: number } | null = null;
  /** Where the end marker begins; null: not met yet. */
  zeroAt: number | null = null;

  /** `block` is the 512 bytes at `offset`. */
  header(block: Uint8Array, offset: number): TarStep {
    if (this.sparse) return this.sparseMap(block, offset);
    if (isZero(block)) {
      if (this.start !== null) throw bad(offset, "an extension header is followed by no member");
      if (this.zeroAt !== null) return { want: "end" };
      this.zeroAt = offset;
      return { want: "header" };
    }
    // One alone is a header that was wiped out; Go's archive/tar refuses it too.
    if (this.zeroAt !== null) throw bad(this.zeroAt, "a lone block of zeros where a header should be");
    checkSum(block, offset);
    this.start ??= offset;
    const type = block[156]!;
    const size = numberAt(block, 124, 12, offset, "size");
    if (type === X || type === G || type === L || type === K) {
      if (size > EXTENSION_LIMIT) throw bad(offset, `an extension header of ${size} bytes`);
      this.pending = { type, offset };
      return { want: "extension", length: size };
    }
    if (type === S && block[482] !== 0) {
      this.sparse = { header: Uint8Array.from(block), size };
      return { want: "header" };
    }
    return this.begin(block, offset, type, size);
  }

  /** The end of an archive that has no more blocks, or whose last block was the end marker; `offset` is where it stops. */
  endAt(offset: number): TarEnd {
    if (this.start !== null) {
      throw new TruncatedError(`the archive ends at byte ${offset}, within the headers of a member`);
    }
    return { offset: this.zeroAt ?? offset, marked: this.zeroAt !== null };
  }

  /** The data of the extension header announced last. */
  extend(data: Uint8Array): TarStep {
    const { type, offset } = this.pending!;
    if (type === L) this.longName = cString(data, 0, data.length);
    else if (type === K) this.longLink = cString(data, 0, data.length);
    else if (type === X) this.pax = parsePax(data, offset + BLOCK);
    else this.start = null; // global: applies to nothing here
    this.pending = null;
    return { want: "header" };
  }

  private sparseMap(block: Uint8Array, offset: number): TarStep {
    if (block[504] !== 0) return { want: "header" };
    const { header, size } = this.sparse!;
    this.sparse = null;
    return this.begin(header, offset, S, size);
  }

  /** `offset` is that of the last header block of the member. */
  private begin(block: Uint8Array, offset: number, type: number, size: number): TarStep {
    const entry = this.member(block, offset, type, size);
    this.start = this.longName = this.longLink = this.pax = null;
    return { want: "data", entry };
  }

  private member(block: Uint8Array, offset: number, type: number, headerSize: number): TarEntry {
    const pax = this.pax;
    const size = paxNumber(pax, "size", offset) ?? headerSize;
    const rawName = pax?.get("GNU.sparse.name") ?? (this.longName || pax?.get("path")) ?? headerName(block);
    const linkName = (this.longLink || pax?.get("linkpath")) ?? cString(block, 157, 100);
    const kind = typeOf(type, rawName);
    const oldSparse = type === S;
    const sparse = oldSparse || pax?.has("GNU.sparse.major") === true || pax?.has("GNU.sparse.size") === true;
    const realSize = oldSparse
      ? numberAt(block, 483, 12, offset, "real size")
      : (paxNumber(pax, "GNU.sparse.realsize", offset) ?? paxNumber(pax, "GNU.sparse.size", offset) ?? size);
    const isDevice = kind === "char" || kind === "block";
    // Links, devices, folders and pipes have no data whatever their size field says: isHeaderOnlyType of Go's
    // archive/tar, which the engines read with.
    const noData = kind !== "file" && kind !== "other";
    return {
      rawName,
      type: kind,
      size: noData ? 0 : size,
      realSize: noData ? 0 : realSize,
      sparse,
      linkName,
      mode: numberAt(block, 100, 8, offset, "mode") & 0o7777,
      uid: ownerOf(pax, "uid", block, 108),
      gid: ownerOf(pax, "gid", block, 116),
      deviceMajor: isDevice ? numberAt(block, 329, 8, offset, "device") : 0,
      deviceMinor: isDevice ? numberAt(block, 337, 8, offset, "device") : 0,
      xattrs: pax && xattrsIn(pax),
      start: this.start!,
      dataStart: offset + BLOCK,
    };
  }
}

/** Nothing that is read from an archive depends on its owner: a bad one is no reason to stop. */
function ownerOf(
  pax: Map<string, string> | null,
  key: "uid" | "gid",
  block: Uint8Array,
  at: number,
): number | null {
  try {
    return paxNumber(pax, key, 0) ?? numberAt(block, at, 8, 0, key);
  } catch {
    return null;
  }
}

const X = 0x78; // 'x': PAX header of the next member
const G = 0x67; // 'g': PAX header of all that follow
const L = 0x4c; // 'L': GNU long name
const K = 0x4b; // 'K': GNU long link target
const S = 0x53; // 'S': GNU sparse file

function typeOf(type: number, rawName: string): TarType {
  switch (type) {
    case 0x00:
      // V7 had no folders: a name that ends in a slash is one.
      return rawName.endsWith("/") ? "directory" : "file";
    case 0x30: // '0'; with a slash at the end it is still a file, with data, to Go's archive/tar
    case 0x37: // '7', contiguous
    case S:
      return "file";
    case 0x31:
      return "hardlink";
    case 0x32:
      return "symlink";
    case 0x33:
      return "char";
    case 0x34:
      return "block";
    case 0x35:
      return "directory";
    case 0x36:
      return "fifo";
    default:
      return "other";
  }
}

/** ustar splits long names into prefix and name; GNU archives ("ustar  \0") use those bytes for other things. */
function headerName(block: Uint8Array): string {
  const name = cString(block, 0, 100);
  const isUstar = block[257] === 0x75 && block[262] === 0 && block[263] === 0x30; // "u....\0" "0"
  if (!isUstar || block[345] === 0) return name;
  return `${cString(block, 345, 155)}/${name}`;
}

function cString(block: Uint8Array, start: number, length: number): string {
  const view = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const zero = view.indexOf(0, start);
  return view.toString("latin1", start, zero < 0 || zero > start + length ? start + length : zero);
}

function isZero(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** The sum of all header bytes with the field itself as spaces; old programs summed signed bytes. */
function checkSum(block: Uint8Array, offset: number): void {
  const expected = numberAt(block, 148, 8, offset, "checksum");
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i]!;
    unsigned += byte;
    if (byte > 127) high++;
  }
  if (unsigned !== expected && unsigned - 256 * high !== expected) {
    throw bad(offset, "no tar header here (its checksum does not match)");
  }
}

function numberAt(block: Uint8Array, start: number, length: number, offset: number, what: string): number {
  const first = block[start]!;
  if (first & 0x80) {
    // base-256: the sign bit and six more bits here, then whole bytes; negative numbers mean nothing to us.
    let value = first & 0x7f;
    for (let i = 1; i < length && value <= NUMERIC_LIMIT; i++) value = value * 256 + block[start + i]!;
    if (first & 0x40 || value > NUMERIC_LIMIT) throw bad(offset, `a ${what} out of range`);
    return value;
  }
  let value = 0;
  let i = start;
  const end = start + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  for (; i < end; i++) {
    const digit = block[i]! - 0x30;
    if (digit < 0 || digit > 7) {
      if (block[i] === 0x20 || block[i] === 0) break;
      throw bad(offset, `a ${what} that is no octal number`);
    }
    value = value * 8 + digit;
  }
  return value;
}

const XATTR = "SCHILY.xattr.";

function xattrsIn(pax: ReadonlyMap<string, string>): ReadonlyMap<string, string> | null {
  const found = [...pax].filter(([key]) => key.startsWith(XATTR));
  return found.length > 0 ? new Map(found.map(([key, value]) => [key.slice(XATTR.length), value])) : null;
}

/**
 * PAX records: `LENGTH KEY=VALUE\n`, the length in decimal and of the whole record; values are bytes. An empty
 * value takes the key back. Values are copied out, since a slice of `text` would keep all of it in memory.
 */
function parsePax(data: Uint8Array, offset: number): Map<string, string> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const text = bytes.toString("latin1");
  const records = new Map<string, string>();
  for (let at = 0; at < text.length && text[at] !== "\0"; ) {
    const space = text.indexOf(" ", at);
    const length = space < 0 || space - at > 8 ? Number.NaN : Number(text.slice(at, space));
    const end = at + length;
    const equals = text.indexOf("=", space);
    if (!(length > 0 && end <= text.length && text[end - 1] === "\n" && equals > space && equals < end)) {
      throw bad(offset + at, "a malformed PAX record");
    }
    const key = text.slice(space + 1, equals);
    if (equals + 1 === end - 1) records.delete(key);
    else records.set(key, bytes.toString("latin1", equals + 1, end - 1));
    at = end;
  }
  return records;
}

function paxNumber(pax: Map<string, string> | null, key: string, offset: number): number | null {
  const text = pax?.get(key);
  if (text === undefined) return null;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= NUMERIC_LIMIT)) throw bad(offset, `a PAX ${key} that is no number`);
  return value;
}

function bad(offset: number, message: string): FormatError {
  return new FormatError("tar", `${message} at byte ${offset}`, offset);
}

/** The end of an archive, as found: `marked` when a block of zeros closes it, as every writer does. */
export interface TarEnd {
  readonly offset: number;
  readonly marked: boolean;
}

/**
 * Lists the members of an archive by seeking from header to header; data is not read. Each comes with the first
 * bytes of its data (up to 16) where they were read along with the header. Returns the end.
 * Throws {@link TruncatedError} or {@link FormatError} at the place where it cannot go on.
 */
export async function* listTar(
  source: ByteSource,
): AsyncGenerator<{ entry: TarEntry; head: Uint8Array | null }, TarEnd> {
  const window = new Window(source);
  const headers = new TarHeaders();
  for (let offset = 0; ; ) {
    if (offset === source.byteLength) return headers.endAt(offset);
    let step = headers.header(await window.at(offset, BLOCK), offset);
    if (step.want === "extension") {
      const data = await window.at(offset + BLOCK, step.length);
      offset += BLOCK + padded(step.length);
      step = headers.extend(data);
      continue;
    }
    if (step.want === "end") return headers.endAt(offset);
    if (step.want === "header") offset += BLOCK;
    if (step.want === "data") {
      const { entry } = step;
      yield { entry, head: entry.size > 0 ? window.cached(entry.dataStart, Math.min(16, entry.size)) : null };
      offset = entryEnd(entry);
      if (offset > source.byteLength) {
        const what = escapeControls(entry.rawName);
        throw new TruncatedError(`the archive ends at byte ${source.byteLength}, within ${what}`);
      }
    }
  }
}

/**
 * One buffered stretch of a source. Small members lie close together, so a hit streak reads further ahead; large
 * ones are seeked over, so a miss reads one page.
 */
class Window {
  private buffer: Uint8Array = new Uint8Array(0);
  private start = 0;
  private readonly source: ByteSource;
  constructor(source: ByteSource) {
    this.source = source;
  }

  cached(offset: number, length: number): Uint8Array | null {
    const from = offset - this.start;
    return from >= 0 && from + length <= this.buffer.length
      ? this.buffer.subarray(from, from + length)
      : null;
  }

  async at(offset: number, length: number): Promise<Uint8Array> {
    const hit = this.cached(offset, length);
    if (hit) return hit;
    const close = offset >= this.start && offset - (this.start + this.buffer.length) < 32_768;
    const left = this.source.byteLength - offset;
    const wanted = Math.max(length, Math.min(close ? 262_144 : 4096, left));
    this.buffer = await this.source.read(offset, wanted);
    this.start = offset;
    return this.buffer.subarray(0, length);
  }
}

/** One member of a tar that arrives as a stream. `data` must be read, if at all, before the next member is asked for. */
export interface TarMember {
  readonly entry: TarEntry;
  readonly data: AsyncIterable<Uint8Array>;
}

/** Reads a tar from front to back. Errors as {@link listTar}; what follows the end marker is not looked at. */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember, TarEnd> {
  const input = new Intake(chunks);
  const headers = new TarHeaders();
  try {
    for (;;) {
      const offset = input.offset;
      const block = await input.take(BLOCK, true);
      if (block === null) return headers.endAt(offset);
      const step = headers.header(block, offset);
      if (step.want === "extension") {
        headers.extend((await input.take(step.length))!);
        await input.skip(padded(step.length) - step.length);
      } else if (step.want === "end") {
        return headers.endAt(offset);
      } else if (step.want === "data") {
        const { entry } = step;
        yield { entry, data: input.body(entry.dataStart + entry.size) };
        await input.skip(entryEnd(entry) - input.offset, entry.rawName);
      }
    }
  } finally {
    await input.close();
  }
}

/** Pulls exact lengths out of a stream of chunks. */
class Intake {
  offset = 0;
  private chunk: Uint8Array = new Uint8Array(0);
  private readonly iterator: AsyncIterator<Uint8Array>;
  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  /** `length` bytes, copied; null at the end of the stream when `orEnd`. */
  async take(length: number, orEnd = false): Promise<Uint8Array | null> {
    if (this.chunk.length >= length) return this.cut(length);
    const parts = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      if (this.chunk.length === 0 && !(await this.more())) {
        if (orEnd && filled === 0) return null;
        throw this.ended(`${length - filled} more bytes of headers were expected`);
      }
      const piece = this.cut(Math.min(this.chunk.length, length - filled));
      parts.set(piece, filled);
      filled += piece.length;
    }
    return parts;
  }

  async skip(length: number, inside?: string): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.chunk.length === 0 && !(await this.more())) {
        throw this.ended(inside === undefined ? "padding was expected" : `within ${escapeControls(inside)}`);
      }
      left -= this.cut(Math.min(this.chunk.length, left)).length;
    }
  }

  async *body(end: number): AsyncGenerator<Uint8Array> {
    while (this.offset < end) {
      if (this.chunk.length === 0 && !(await this.more()))
        throw this.ended(`${end - this.offset} bytes early`);
      yield this.cut(Math.min(this.chunk.length, end - this.offset));
    }
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }

  private cut(length: number): Uint8Array {
    const piece = this.chunk.subarray(0, length);
    this.chunk = this.chunk.subarray(length);
    this.offset += length;
    return piece;
  }

  private async more(): Promise<boolean> {
    const next = await this.iterator.next();
    if (next.done) return false;
    this.chunk = next.value;
    return true;
  }

  private ended(detail: string): TruncatedError {
    return new TruncatedError(`the archive ends at byte ${this.offset}, ${detail}`);
  }
}
