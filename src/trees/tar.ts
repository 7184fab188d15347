/**
 * A tar archive as a tree. A plain file is indexed by seeking from header to header; a compressed one or standard
 * input is read once, keeping the small members in memory and taking the digests of the large ones on the way.
 */
import { type BytePath, baseName, displayPath, parentOf, parseBytePath } from "../byte-path.ts";
import { type BlobFacts, scanBytes } from "../bytes/scan.ts";
import { type ByteSource, bufferSource, partOf, readAll } from "../bytes/source.ts";
import type { Algorithm } from "../digest.ts";
import { FormatError, messageOf, UllageError } from "../errors.ts";
import { entryEnd, listTar, readTar, type TarEnd, type TarEntry } from "../formats/tar.ts";
import type { Warn } from "../run.ts";
import {
  type FileType,
  type Measured,
  type MeasureOptions,
  measureByWalk,
  type ReadOnlyTree,
  type TreeEntry,
} from "./tree.ts";

/** What a command needs to know of the members of an archive that can be read only once. */
export type Need = "index" | "digests" | "content";

const MEMBER_LIMIT = 5_000_000;

/** Indexes a seekable archive. Null: not a tar at all. */
export async function openTarTree(source: ByteSource, warn: Warn): Promise<TarTree | null> {
  const tree = new TarTree(source.label, source);
  await tree.fill(listTar(source), warn, () => source.byteLength);
  return tree.looksLikeTar() ? tree : null;
}

/** Memory spent on members of an archive that is read once: documents always, layers only when their content is wanted. */
const KEEP_SMALL = 1 << 20;
const KEEP_DOCUMENT = 64 << 20;
const KEEP_TOTAL: Readonly<Record<Need, number>> = { index: 96 << 20, digests: 96 << 20, content: 512 << 20 };

/** Reads an archive in a single pass. Null: not a tar at all. */
export async function readTarTree(
  label: string,
  chunks: AsyncIterable<Uint8Array>,
  need: Need,
  warn: Warn,
): Promise<TarTree | null> {
  const tree = new TarTree(label, null);
  const meter = new Meter(chunks);
  let kept = 0;
  async function* members(): AsyncGenerator<Member, TarEnd> {
    const reader = readTar(meter);
    for (;;) {
      const next = await reader.next();
      if (next.done) {
        // To the very end: padding counts, and whoever writes into a pipe should not meet a closed one.
        await meter.drain();
        return next.value;
      }
      const { entry, data } = next.value;
      const wanted = need === "content" || entry.size <= KEEP_SMALL || isDocument(entry);
      const keep = entry.type === "file" && wanted && kept + entry.size <= KEEP_TOTAL[need];
      if (keep) {
        kept += entry.size;
        const content = await collect(data, entry.size);
        yield { entry, head: content.subarray(0, 16), content };
      } else if (need !== "index" && entry.type === "file") {
        const facts = await scanBytes(data, passWant(entry.rawName), entry.rawName);
        yield { entry, head: null, facts };
        if (facts.failure?.where === "stored") throw new FormatError("tar", facts.failure.message);
      } else {
        yield { entry, head: await firstBytes(data) };
      }
    }
  }
  try {
    await tree.fill(members(), warn, () => meter.byteLength);
  } finally {
    await meter.close();
  }
  return tree.looksLikeTar() ? tree : null;
}

/** Counts what a stream gives, and lets it be read on after a consumer has stopped. */
class Meter implements AsyncIterable<Uint8Array> {
  byteLength = 0;
  private readonly iterator: AsyncIterator<Uint8Array>;
  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  /** Without `return`: that the consumer stops does not end the stream. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.next() };
  }

  async drain(): Promise<void> {
    for (let next = await this.next(); !next.done; next = await this.next());
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    const next = await this.iterator.next();
    if (!next.done) this.byteLength += next.value.length;
    return next;
  }
}

interface Member {
  readonly entry: TarEntry;
  readonly head: Uint8Array | null;
  readonly content?: Uint8Array;
  readonly facts?: BlobFacts;
}

function isDocument(entry: TarEntry): boolean {
  return entry.size <= KEEP_DOCUMENT && /(^|\/)(repositories|json|[^/]*\.json)$/.test(entry.rawName);
}

/** The digests that a blob may be asked for later: those its name tells, and SHA-256, which diffIDs use. */
function passWant(name: string): { stored: Algorithm[]; unpacked: Algorithm[] } {
  const named = /(?:^|\/)blobs\/(sha384|sha512|blake3)\//.exec(name)?.[1] as Algorithm | undefined;
  return { stored: named ? ["sha256", named] : ["sha256"], unpacked: ["sha256"] };
}

async function collect(chunks: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []; // grows with what arrives, not with what a header claims
  for await (const chunk of chunks) parts.push(Uint8Array.from(chunk));
  return Buffer.concat(parts, size);
}

async function firstBytes(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  for await (const chunk of chunks) return Uint8Array.from(chunk.subarray(0, 16));
  return null;
}

const TYPES: readonly FileType[] = ["file", "directory", "symlink", "other"];
const HARDLINK = 4;
const SPARSE = 5;

/** Columns of numbers instead of an object a member: a million members stay below 200 MB. */
export class TarTree implements ReadOnlyTree {
  readonly holder = "archive";
  readonly label: string;
  incomplete: string | null = null;
  readonly overhead: { what: string; bytes: number }[] = [];
  /** Length of the archive, uncompressed. */
  byteLength = 0;
  private readonly source: ByteSource | null;
  private readonly rows = new Map<BytePath, number>();
  private readonly paths: BytePath[] = [];
  private readonly kinds: number[] = [];
  private readonly starts: number[] = [];
  private readonly dataStarts: number[] = [];
  private readonly sizes: number[] = [];
  private readonly heads: (Uint8Array | null)[] = [];
  private readonly links = new Map<BytePath, string>();
  private readonly contents = new Map<BytePath, Uint8Array>();
  private readonly known = new Map<BytePath, BlobFacts>();
  private readonly whiteouts = new Set<BytePath>();
  private readonly attributes = new Map<BytePath, ReadonlyMap<string, Uint8Array>>();
  private folders: Map<BytePath, number[]> | null = null;

  constructor(label: string, source: ByteSource | null) {
    this.label = label;
    this.source = source;
  }

  looksLikeTar(): boolean {
    return this.paths.length > 0 || (this.incomplete === null && this.byteLength > 0);
  }

  /** Takes members until they end or break off; what was read until then stays. `held`: bytes that there are. */
  async fill(members: AsyncGenerator<Member, TarEnd>, warn: Warn, held: () => number): Promise<void> {
    let end = 0;
    let other = 0;
    try {
      for (;;) {
        const next = await members.next();
        if (next.done) {
          this.byteLength = held();
          this.finish(next.value, warn);
          other += this.byteLength - next.value.offset;
          break;
        }
        const { entry } = next.value;
        other += entry.start - end; // global headers belong to nobody
        end = entryEnd(entry);
        other += this.add(next.value, warn);
        if (this.paths.length > MEMBER_LIMIT) {
          throw new FormatError("tar", `more than ${MEMBER_LIMIT} members`, end);
        }
      }
    } catch (error) {
      if (!(error instanceof UllageError)) throw error;
      this.incomplete = messageOf(error);
      this.byteLength = held();
      other += Math.max(0, this.byteLength - end);
      if (this.paths.length > 0) {
        warn({
          code: "archive-broken",
          path: null,
          message: `${this.incomplete}; what follows was not read`,
          incomplete: true,
        });
      }
    }
    if (other > 0)
      this.overhead.push({ what: "end marker, padding and headers of the archive", bytes: other });
  }

  private finish(end: TarEnd, warn: Warn): void {
    if (end.marked || this.paths.length === 0) return;
    this.incomplete = `the archive ends at byte ${end.offset} without an end marker`;
    warn({
      code: "archive-unmarked",
      path: null,
      message: `${this.incomplete}: it may be cut off`,
      incomplete: true,
    });
  }

  /** Returns the bytes that the member leaves without an owner. */
  private add(member: Member, warn: Warn): number {
    const { entry, head, content, facts } = member;
    const path = parseBytePath(entry.rawName);
    const bytes = entryEnd(entry) - entry.start;
    if (path === null) {
      warn({
        code: "member-name",
        path: displayPath(entry.rawName),
        message: `member at byte ${entry.start} is left out: its name leads out of the archive`,
        incomplete: true,
      });
      return bytes;
    }
    if (path === "") return bytes; // "./"
    const before = this.rows.get(path);
    let lost = 0;
    if (before !== undefined) {
      lost = this.bytesOf(before);
      if (this.kinds[before] !== 1 || entry.type !== "directory") {
        const message = `two members of this name, at bytes ${this.starts[before]} and ${entry.start}: the last one counts`;
        warn({ code: "duplicate-member", path: displayPath(path), message, incomplete: true });
      }
    }
    const row = before ?? this.paths.length;
    this.rows.set(path, row);
    this.paths[row] = path;
    this.kinds[row] = kindOf(entry);
    this.starts[row] = entry.start;
    this.dataStarts[row] = entry.dataStart;
    this.sizes[row] = entry.size;
    this.heads[row] = head && head.length > 0 ? Uint8Array.from(head) : null;
    this.links.delete(path);
    this.contents.delete(path);
    this.known.delete(path);
    if (entry.linkName !== "") this.links.set(path, entry.linkName);
    this.whiteouts.delete(path);
    this.attributes.delete(path);
    if (entry.type === "char" && entry.deviceMajor === 0 && entry.deviceMinor === 0) this.whiteouts.add(path);
    if (entry.xattrs) this.attributes.set(path, bytesByName(entry.xattrs));
    if (content) this.contents.set(path, content);
    if (facts) this.known.set(path, facts);
    return lost;
  }

  private bytesOf(row: number): number {
    return this.dataStarts[row]! + Math.ceil(this.sizes[row]! / 512) * 512 - this.starts[row]!;
  }

  async lstat(path: BytePath): Promise<TreeEntry | null> {
    const row = this.rows.get(path);
    return row === undefined ? null : this.entry(row);
  }

  async *walk(): AsyncGenerator<TreeEntry> {
    for (let row = 0; row < this.paths.length; row++) yield this.entry(row);
  }

  private entry(row: number): TreeEntry {
    const path = this.paths[row]!;
    const kind = this.kinds[row]!;
    const target = kind === HARDLINK ? this.hardLinkTarget(path) : undefined;
    const type = kind === HARDLINK || kind === SPARSE ? "file" : TYPES[kind]!;
    const data = target ?? row;
    const size = type === "file" ? this.sizes[data]! : 0;
    const cutShort = Math.min(size, Math.max(0, this.dataStarts[data]! + size - this.byteLength));
    return {
      path,
      type,
      size: size - cutShort,
      cutShort,
      allocated: Math.min(this.bytesOf(row), this.byteLength - this.starts[row]!),
      inodes: null,
      linkTarget: type === "symlink" ? (this.links.get(path) ?? "") : null,
      head: this.heads[data]!,
      device: null,
      inode: null,
      linkOf: target === undefined ? null : this.paths[target]!,
      isWhiteout: this.whiteouts.has(path),
    };
  }

  async names(folder: BytePath): Promise<string[]> {
    return (await this.list(folder)).map((entry) => baseName(entry.path));
  }

  async list(folder: BytePath): Promise<TreeEntry[]> {
    this.folders ??= this.rowsByFolder();
    const rows = this.folders.get(folder) ?? [];
    return rows.map((row) => this.entry(row)).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  private rowsByFolder(): Map<BytePath, number[]> {
    const folders = new Map<BytePath, number[]>();
    for (let row = 0; row < this.paths.length; row++) {
      const folder = parentOf(this.paths[row]!);
      const rows = folders.get(folder);
      if (rows) rows.push(row);
      else folders.set(folder, [row]);
    }
    return folders;
  }

  async readSmall(path: BytePath, limit: number): Promise<Uint8Array | null> {
    if ((await this.lstat(path))?.type !== "file") return null;
    const source = await this.open(path);
    try {
      return await readAll(source, limit);
    } finally {
      await source.close();
    }
  }

  /** A hard link's bytes are those of its target, which count there. */
  measure(claims: ReadonlySet<BytePath>, options: MeasureOptions): Promise<Measured> {
    const isLink = (path: BytePath): boolean => this.kinds[this.rows.get(path) ?? -1] === HARDLINK;
    return measureByWalk(this, claims, options, isLink);
  }

  async xattrs(path: BytePath): Promise<ReadonlyMap<string, Uint8Array> | null> {
    return this.attributes.get(path) ?? NO_ATTRIBUTES;
  }

  hostPath(): null {
    return null;
  }

  /** The row that a hard link leads to in the end; undefined where there is none. */
  private hardLinkTarget(path: BytePath): number | undefined {
    let at: BytePath | null = path;
    for (let hops = 0; hops < 40; hops++) {
      at = parseBytePath(this.links.get(at) ?? "");
      const row: number | undefined = at === null ? undefined : this.rows.get(at);
      if (row === undefined || at === null) return undefined;
      if (this.kinds[row] !== HARDLINK) return row;
    }
    return undefined;
  }

  async open(path: BytePath): Promise<ByteSource> {
    const label = `${this.label}: ${displayPath(path)}`;
    const named = this.rows.get(path);
    const row = named !== undefined && this.kinds[named] === HARDLINK ? this.hardLinkTarget(path) : named;
    if (row === undefined) throw new FormatError("tar", `${label}: no such member`);
    if (this.kinds[row] === SPARSE)
      throw new FormatError("tar", `${label}: a sparse member, which is not expanded`);
    if (this.kinds[row] !== 0) throw new FormatError("tar", `${label}: not a regular file`);
    const start = this.dataStarts[row]!;
    const end = start + this.sizes[row]!;
    if (this.source) return partOf(this.source, label, start, end);
    const content = this.contents.get(this.paths[row]!);
    if (content) return bufferSource(label, content);
    const advice = "a compressed archive or standard input is read once; give --tmp DIR to unpack it there";
    throw new FormatError("tar", `${label}: not kept in memory: ${advice}`);
  }

  facts(path: BytePath): BlobFacts | null {
    return this.known.get(path) ?? null;
  }

  walked(): number {
    return this.byteLength;
  }

  async close(): Promise<void> {
    await this.source?.close();
  }
}

function bytesByName(xattrs: ReadonlyMap<string, string>): ReadonlyMap<string, Uint8Array> {
  return new Map([...xattrs].map(([name, value]) => [name, Buffer.from(value, "latin1")]));
}

const NO_ATTRIBUTES: ReadonlyMap<string, Uint8Array> = new Map();

function kindOf(entry: TarEntry): number {
  if (entry.type === "hardlink") return HARDLINK;
  if (entry.type === "file" && entry.sparse) return SPARSE;
  const index = TYPES.indexOf(entry.type as FileType);
  return index < 0 ? 3 : index;
}
