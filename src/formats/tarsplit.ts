/**
 * tar-split: all of a layer's tar but the contents of its files, which lie in the layer's diff folder. Docker keeps
 * it as `tar-split.json.gz` beside the layer's metadata, Podman as `<layer>.tar-split.gz`.
 *
 * gzip of one JSON object a line, after vbatts/tar-split 0.11 (`tar/storage/entry.go`, `packer.go`,
 * `tar/asm/disassemble.go` and `assemble.go`): segments (`type` 2: headers, padding, the end marker and what follows
 * it, in base64) and files (`type` 1: name, size and CRC-64/ISO, big-endian, in base64) in the order of the tar.
 * Byte strings are base64 with padding; sizes in bytes.
 *
 * Not handled: the copies of it inside zstd:chunked blobs.
 */
import { type BytePath, bytePathFromText, parseBytePath } from "../byte-path.ts";
import { Crc64 } from "../bytes/crc64.ts";
import { decompress } from "../bytes/decompress.ts";
import type { FileKind, FolderEntry, MaybePromise } from "../bytes/folder.ts";
import { FormatError, InterruptedError, messageOf, UllageError } from "../errors.ts";
import { asObject, type Json, type JsonObject, parseJson } from "./json.ts";
import { BLOCK, padded, type TarEntry, TarHeaders } from "./tar.ts";

export type TarSplitEntry =
  /** Bytes of the tar as they are; may be none. */
  { readonly kind: "segment"; readonly bytes: Uint8Array } | TarSplitFile;

/** A member of the tar, of whatever type. */
export interface TarSplitFile {
  readonly kind: "file";
  /** Where its content is, from the diff folder; null for a name that leads out of it, or that no file can have. */
  readonly path: BytePath | null;
  /** As written, one char = one byte. */
  readonly rawName: string;
  /** Of the content; 0 for folders, links and whiteouts. */
  readonly size: number;
  /** Of the content; null where there is none. */
  readonly crc: bigint | null;
}

/**
 * Longer lines are refused. A segment holds at most 1 MiB of what follows the end marker, or the headers of one
 * member: up to 1 MiB each of PAX records, long name and long link target.
 */
const LINE_LIMIT = 6 << 20;

/**
 * The entries of a tar-split file; `packed` are its bytes as stored. Throws {@link FormatError} at a line that is no
 * entry, and what {@link decompress} throws, after the entries before it.
 */
export async function* readTarSplit(
  packed: AsyncIterable<Uint8Array>,
  label: string,
): AsyncGenerator<TarSplitEntry> {
  let number = 0;
  for await (const line of splitLines(decompress("gzip", packed, label), label)) {
    number++;
    yield parseEntry(line, `${label}: line ${number}`);
  }
}

/** Lines without their end; a view that holds until the next is asked for. */
async function* splitLines(chunks: AsyncIterable<Uint8Array>, label: string): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of chunks) {
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      const piece = chunk.subarray(at, end);
      if (held + piece.length > LINE_LIMIT) throw lineTooLong(label);
      yield joined([...parts, piece]);
      parts = [];
      held = 0;
      at = end + 1;
    }
    held += chunk.length - at;
    if (held > LINE_LIMIT) throw lineTooLong(label);
    if (at < chunk.length) parts.push(chunk.subarray(at));
  }
  if (held > 0) yield Buffer.concat(parts);
}
const NEWLINE = 0x0a;

function lineTooLong(label: string): FormatError {
  return new FormatError("tar-split", `${label}: a line of more than ${LINE_LIMIT} bytes`);
}

const FILE = 1;
const SEGMENT = 2;

function parseEntry(line: Uint8Array, what: string): TarSplitEntry {
  const json = asObject(parseJson(line, what), what);
  if (json.type === SEGMENT) return { kind: "segment", bytes: bytesOf(json.payload, `${what}: payload`) };
  if (json.type !== FILE) throw new FormatError("tar-split", `${what}: neither a file nor a segment`);
  const size = json.size ?? 0;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw new FormatError("tar-split", `${what}: a size that is none`);
  }
  const { path, rawName } = nameOf(json, what);
  return { kind: "file", path, rawName, size, crc: size > 0 ? crcOf(json.payload, what) : null };
}

/** `name_raw` is there, and `name` is not, for what is not UTF-8; and, of some writers, for U+FFFD, which is. */
function nameOf(json: JsonObject, what: string): { path: BytePath | null; rawName: string } {
  const raw = bytesOf(json.name_raw, `${what}: name_raw`);
  if (raw.length > 0) {
    const rawName = raw.toString("latin1");
    return { path: parseBytePath(rawName), rawName };
  }
  const name = json.name ?? "";
  if (typeof name !== "string") throw new FormatError("tar-split", `${what}: a name that is no string`);
  return { path: bytePathFromText(name), rawName: Buffer.from(name, "utf8").toString("latin1") };
}

function crcOf(value: Json | undefined, what: string): bigint {
  const bytes = bytesOf(value, `${what}: payload`);
  if (bytes.length !== 8) throw new FormatError("tar-split", `${what}: a CRC of ${bytes.length} bytes`);
  return bytes.readBigUInt64BE();
}

/** Null and absent are no bytes, as for Go. */
function bytesOf(value: Json | undefined, what: string): Buffer {
  if (value === undefined || value === null) return Buffer.alloc(0);
  if (typeof value === "string" && value.length % 4 === 0 && BASE64.test(value)) {
    return Buffer.from(value, "base64");
  }
  throw new FormatError("tar-split", `${what}: no base64`);
}
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * What is wrong with one file. Of a layer whose digest is wrong,
 * - `missing`, `type`, `size`, `checksum` and `name` are damage: the store differs from what was unpacked;
 * - `unreadable` says nothing either way;
 * - `sparse` and `whiteout-data` explain it: no engine can rebuild this layer, and whether the rest of it is as it was
 *   is known file by file only;
 * - `linked-data` is no explanation: the tar is rebuilt all the same.
 *
 * None of these, or only the last, and a wrong digest: the tar-split file itself was changed. A right digest with one
 * of the first five is damage all the same: zeros were missing, and zeros stood in for them.
 */
export type ContentFinding = FileName & Finding;

export interface FileName {
  /** As in {@link TarSplitFile}. */
  readonly path: BytePath | null;
  readonly rawName: string;
}

type Finding =
  | { readonly kind: "missing" }
  /** Something other than what the tar has is there. */
  | { readonly kind: "type"; readonly expected: FileKind; readonly found: FileKind }
  | { readonly kind: "size"; readonly expected: number; readonly found: number }
  | { readonly kind: "checksum"; readonly expected: bigint; readonly found: bigint }
  | { readonly kind: "unreadable"; readonly message: string }
  /** A name that leads out of the layer, of a file with content. */
  | { readonly kind: "name" }
  /** A GNU sparse member: the writer keeps the expanded length and loses the map. Content is still checked. */
  | { readonly kind: "sparse" }
  /** Content under a `.wh.` name, which unpacking throws away. */
  | { readonly kind: "whiteout-data" }
  /** A link whose header has a size though no data follows: Docker exports the target's content and then fails. */
  | { readonly kind: "linked-data" };

type Report = (finding: Finding) => void;

export interface LayerFile {
  readonly byteLength: number;
  /** What is known of it beside; may be left out. */
  readonly entry?: FolderEntry;
  stream(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  close(): MaybePromise<void>;
}

export interface LayerFiles {
  /**
   * The regular file at `path`, not through links, or what else is there; null where nothing is. A file is closed after
   * use.
   */
  open(path: BytePath): MaybePromise<LayerFile | FolderEntry | null>;
}

export interface AssembleOptions {
  /** Whether to take the CRC of each file: needed only to tell which one differs, where the digest does. */
  readonly checksums?: boolean;
  /**
   * Hears of every member in order: its header, null where the segments do not tell, and what was opened for its
   * content, null where nothing was (that it has none, or that a finding says why).
   */
  readonly onMember?: (
    file: TarSplitFile,
    header: TarEntry | null,
    opened: FolderEntry | null,
  ) => MaybePromise<void>;
}

/**
 * Rebuilds the tar of a layer chunk by chunk, for its digest to be compared with the diffId. `onFinding` hears of each
 * file whose content is not as it was when unpacked, and the tar goes on after it: where content cannot be had, zeros
 * stand in for as many bytes as the header says, so that headers stay where they were.
 *
 * A chunk may be reused once the next is asked for. Throws what `entries` throws; what reading a file throws is a
 * finding.
 */
export async function* assembleLayer(
  entries: AsyncIterable<TarSplitEntry>,
  files: LayerFiles,
  onFinding: (finding: ContentFinding) => void,
  { checksums = true, onMember }: AssembleOptions = {},
): AsyncGenerator<Uint8Array> {
  const headers = new HeaderWatch();
  const filler = new Filler();
  for await (const entry of entries) {
    if (entry.kind === "segment") {
      headers.segment(entry.bytes);
      if (entry.bytes.length > 0) yield entry.bytes;
      continue;
    }
    const header = headers.file(entry);
    const report = (finding: Finding) => onFinding({ path: entry.path, rawName: entry.rawName, ...finding });
    const isLink = entry.crc === 0n && header?.realSize !== entry.size;
    if (entry.size === 0 || isLink) {
      if (isLink) report({ kind: "linked-data" });
      await onMember?.(entry, header, null);
      continue;
    }
    const file = await openContent(entry, files, report);
    try {
      await onMember?.(entry, header, file?.entry ?? null);
    } catch (error) {
      await file?.close();
      throw error;
    }
    if (header?.sparse) {
      report({ kind: "sparse" });
      // Whether it is as it was is not in the digest: the CRC alone can tell.
      if (file) for await (const _ of readContent(entry, file, true, report));
      yield* filler.zeros(header.size);
    } else {
      let left = entry.size;
      if (file) {
        for await (const chunk of readContent(entry, file, checksums, report)) {
          left -= chunk.length;
          yield chunk;
        }
      }
      if (left > 0) yield* filler.zeros(left);
    }
  }
}

/**
 * The members of the tar that a tar-split was made from, with the headers that stand before each; null where those
 * make no sense. Throws what `entries` throws.
 */
export async function* membersOf(
  entries: AsyncIterable<TarSplitEntry>,
): AsyncGenerator<{ readonly file: TarSplitFile; readonly member: TarEntry | null }> {
  const headers = new HeaderWatch();
  for await (const entry of entries) {
    if (entry.kind === "segment") headers.segment(entry.bytes);
    else yield { file: entry, member: headers.file(entry) };
  }
}

/** What can be had of a file's content, never more than its size. */
async function* readContent(
  { size, crc: expected }: TarSplitFile,
  file: LayerFile,
  checksums: boolean,
  report: Report,
): AsyncGenerator<Uint8Array> {
  try {
    if (file.byteLength !== size) return report({ kind: "size", expected: size, found: file.byteLength });
    const crc = checksums ? new Crc64() : null;
    for await (const chunk of file.stream()) {
      crc?.update(chunk);
      yield chunk;
    }
    const found = crc?.digest() ?? expected;
    if (found !== expected) report({ kind: "checksum", expected: expected!, found: found! });
  } catch (error) {
    report({ kind: "unreadable", message: reasonOf(error) });
  } finally {
    await file.close();
  }
}

async function openContent(
  { path }: TarSplitFile,
  files: LayerFiles,
  report: Report,
): Promise<LayerFile | null> {
  if (!path) {
    report({ kind: "name" });
    return null;
  }
  try {
    const found = await files.open(path);
    if (found && "stream" in found) return found;
    if (UNKEPT.test(path)) report({ kind: "whiteout-data" });
    else if (found) report({ kind: "type", expected: "file", found: found.kind });
    else report({ kind: "missing" });
  } catch (error) {
    report({ kind: "unreadable", message: reasonOf(error) });
  }
  return null;
}
const UNKEPT = /(?:^|\/)\.wh\./;

/** Why reading failed; rethrows what is no failure to read. */
export function reasonOf(error: unknown): string {
  const isIo = typeof (error as NodeJS.ErrnoException).syscall === "string";
  if (error instanceof InterruptedError || !(isIo || error instanceof UllageError)) throw error;
  return messageOf(error);
}

/**
 * Zeros in place of content. All of it together is limited, since a size is only a claim: a layer that has lost more
 * goes on without, and its headers are found no more.
 */
class Filler {
  private left = 1 << 30;

  *zeros(length: number): Generator<Uint8Array> {
    const end = this.left - Math.min(length, this.left);
    while (this.left > end) {
      const chunk = ZEROS.subarray(0, this.left - end);
      this.left -= chunk.length;
      yield chunk;
    }
  }
}
const ZEROS = new Uint8Array(1 << 18);

/** The headers of one member, with the padding before them, take less; writers put them into one segment or two. */
const HEADER_LIMIT = 4 << 20;
const SEGMENT_LIMIT = 64;

/** Reads the headers that go by in segments, to know what each file is in the tar. */
class HeaderWatch {
  /** Bytes of the tar before the segments held. */
  private position = 0;
  /** Since the last file; null where they are too many to be the headers of one. */
  private segments: Uint8Array[] | null = [];
  private held = 0;

  segment(bytes: Uint8Array): void {
    this.held += bytes.length;
    this.segments?.push(bytes);
    if (this.held > HEADER_LIMIT || this.segments?.length === SEGMENT_LIMIT) this.segments = null;
  }

  /** The member that a file is the content of; null where the segments before it do not say. */
  file(file: TarSplitFile): TarEntry | null {
    const bytes = joined(this.segments ?? []);
    const member = parseHeaders(bytes, padded(this.position) - this.position);
    this.position += this.held + (member?.size ?? file.size);
    this.segments = [];
    this.held = 0;
    return member;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function parseHeaders(bytes: Uint8Array, start: number): TarEntry | null {
  const headers = new TarHeaders();
  try {
    for (let at = start; at + BLOCK <= bytes.length; ) {
      const step = headers.header(bytes.subarray(at, at + BLOCK), at);
      at += BLOCK;
      if (step.want === "data") return step.entry;
      if (step.want === "extension") {
        headers.extend(bytes.subarray(at, at + step.length));
        at += padded(step.length);
      } else if (step.want === "end") return null;
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error; // what is wrong with the tar is for its digest to tell
  }
  return null;
}
