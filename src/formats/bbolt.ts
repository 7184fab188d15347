/**
 * bbolt databases, for reading only: the bookkeeping of BuildKit and containerd, Docker's list of volumes.
 *
 * Follows go.etcd.io/bbolt 1.4: internal/common/{page,meta,bucket,inode}.go, node.go and db.go. A file is a row of
 * pages; 0 and 1 are metas, each naming the root of a B+ tree. Branch pages lead to leaf pages; a leaf element is a
 * key with a value or with a bucket, which is a tree of its own or, when small, one leaf page inside the element.
 * Numbers are in the byte order of the machine that wrote the file: little-endian here; the other is told and refused.
 *
 * Writing is copy-on-write: a transaction leaves the pages of the tree before it alone, and metas take turns. So when
 * the newer tree is damaged (BuildKit's cache.db is written without fsync), the older meta's tree may still be whole.
 * Which tree to read has to be known before the first value is handed out, or answers would mix two transactions:
 * {@link openBolt} therefore reads through all branch and leaf pages first, once each, and remembers which references
 * lead to nothing good. After that, reading is lazy and keeps a few pages in memory.
 *
 * No lock is taken and no page is trusted. Not handled: repair; values that make a page longer than 64 MiB.
 */
import type { ByteSource } from "../bytes/source.ts";
import { FormatError, InterruptedError, TruncatedError } from "../errors.ts";

type Key = string | Uint8Array;

export interface BoltEntry {
  readonly key: Uint8Array;
  /** null: a bucket of that name. */
  readonly value: Uint8Array | null;
}

/**
 * Keys given as strings stand for their UTF-8. Keys and values handed out are copies. What lies in a damaged place is
 * missing (see {@link Bolt.unreadable}): not listed, null when asked for, and an empty bucket where it was a bucket.
 * Throws FormatError only where a page has changed since the database was opened.
 */
export interface Bucket {
  /** null: there is no such key, or it names a bucket. Of equal keys (bbolt writes none) the first counts. */
  get(key: Key): Promise<Uint8Array | null>;
  /** null: there is no such key, or it holds a value. */
  bucket(key: Key): Promise<Bucket | null>;
  /** The bucket at the end of a chain of buckets. */
  path(...keys: readonly Key[]): Promise<Bucket | null>;
  /** In the order of the file, which is that of the keys' bytes unless something is damaged. */
  entries(): AsyncIterable<BoltEntry>;
}

export interface FreePages {
  readonly pageCount: number;
  readonly bytes: number;
  /** Counted as pages that the tree does not use, because the file has no (good) free list. */
  readonly derived: boolean;
}

export interface Bolt {
  readonly root: Bucket;
  /** "previous transaction": the last one was damaged, so all answers are from before it. */
  readonly state: "current" | "previous transaction";
  readonly pageSize: number;
  /** Of the transaction that is read. */
  readonly txid: bigint;
  /** Places in the tree that cannot be read, each hiding an unknown number of entries; 0: every entry is there. */
  readonly unreadable: number;
  /** Pages below the high-water mark and inside the file that hold nothing: bbolt reuses them, and never shrinks a file. */
  freePages(): Promise<FreePages>;
  /** Whether a transaction was committed since opening: then a scan may have met pages of both. */
  hasChanged(): Promise<boolean>;
}

const MAGIC = 0xed0cdaed;
const VERSION = 2;
const PAGE_HEADER = 16;
const ELEMENT = 16;
const BUCKET_HEADER = 16;
const META_END = PAGE_HEADER + 64;
/** Offset of the root's page number within a meta page: what refers to a root, for {@link Survey.refused}. */
const META_ROOT = PAGE_HEADER + 16;
const NO_FREELIST = 0xffff_ffff_ffff_ffffn;

const BRANCH = 0x01;
const LEAF = 0x02;
const FREELIST = 0x10;
const BUCKET_FLAG = 0x01;

/** bbolt's MaxKeySize. */
const KEY_LIMIT = 32_768;
const PAGE_LIMIT = 1 << 26;
/** Pages from the root down, through nested buckets too. Engines nest six buckets of a few levels each. */
const DEPTH_LIMIT = 100;
/** Bytes of pages to hold at a time on the way down. */
const HELD_LIMIT = 1 << 27;
/** Damaged references to remember; a tree with more is given up, so that memory stays bounded. */
const REFUSED_LIMIT = 1 << 18;
const CACHE_BYTES = 1 << 22;
/** A database that is written to is read again this often before it is taken as it is. */
const ATTEMPTS = 3;
const TOLD = 8;

/**
 * Opens a database and checks the pages of its tree, all of them, so time grows with the file. `onDamage` gets what is
 * wrong, one sentence each and not many. Throws {@link FormatError} where no meta page, or no root page, is usable.
 * The database reads from `source` as long as it is used; whoever opened that closes it.
 */
export async function openBolt(
  source: ByteSource,
  onDamage: (message: string) => void,
  signal?: AbortSignal,
): Promise<Bolt> {
  for (let attempt = 1; ; attempt++) {
    const { metas, fault } = await readMetas(source);
    const { survey, state, messages } = await chooseTree(source, metas, signal);
    const newest = metas[0]!.txid;
    const hasChanged = async () => (await newestTxid(source)) !== newest;
    const changed = await hasChanged();
    if (changed && attempt < ATTEMPTS) continue;
    if (fault !== null)
      onDamage(`one of the two meta pages is unusable, the last transaction may be lost: ${fault}`);
    if (survey.rootDamage !== null) throw survey.rootDamage;
    for (const message of messages) onDamage(message);
    if (changed)
      onDamage(
        "it is being written to, and pages of several transactions may be mixed: stop the engine first",
      );
    return {
      root: new TreeBucket(survey, { ref: survey.rootRef, pgid: survey.meta.root }),
      state,
      pageSize: survey.meta.pageSize,
      txid: survey.meta.txid,
      unreadable: survey.unreadable,
      freePages: () => countFreePages(source, survey, onDamage),
      hasChanged,
    };
  }
}

// Metas.

interface Meta {
  /** 0 or 1. */
  readonly page: number;
  readonly pageSize: number;
  readonly root: number;
  /** null: not stored. */
  readonly freelist: number | null;
  /** The first page number never used so far. */
  readonly highWater: number;
  readonly txid: bigint;
}

/** The usable metas, newest first, and what is wrong with the other. */
async function readMetas(source: ByteSource): Promise<{ metas: Meta[]; fault: string | null }> {
  const first = await readMeta(source, 0, 0);
  if (!(first instanceof FormatError)) {
    const second = await readMeta(source, 1, first.pageSize);
    if (second instanceof FormatError) return { metas: [first], fault: second.message };
    return { metas: first.txid > second.txid ? [first, second] : [second, first], fault: null };
  }
  // Only the metas say how large a page is, so the second is looked for where it can be: getPageSizeFromSecondMeta.
  let swapped: FormatError | null = null;
  for (let pageSize = 1024; pageSize <= 1 << 24 && pageSize + META_END <= source.byteLength; pageSize *= 2) {
    const second = await readMeta(source, 1, pageSize);
    if (!(second instanceof FormatError)) return { metas: [second], fault: first.message };
    if (second.message.includes(SWAPPED)) swapped ??= second;
  }
  throw swapped ?? first;
}

async function readMeta(source: ByteSource, page: 0 | 1, offset: number): Promise<Meta | FormatError> {
  if (offset + META_END > source.byteLength) return bad(offset, `the file ends before meta page ${page}`);
  try {
    const meta = parseMeta(await source.read(offset, META_END), page, offset);
    if (page === 1 && meta.pageSize !== offset) return bad(offset, "a meta page of another page size");
    return meta;
  } catch (error) {
    if (error instanceof FormatError) return error;
    if (error instanceof TruncatedError) return bad(offset, "the file became shorter");
    throw error;
  }
}

async function newestTxid(source: ByteSource): Promise<bigint | null> {
  try {
    return (await readMetas(source)).metas[0]!.txid;
  } catch (error) {
    if (error instanceof FormatError) return null;
    throw error;
  }
}

const SWAPPED = "big-endian";

function parseMeta(bytes: Uint8Array, page: number, offset: number): Meta {
  const view = viewOf(bytes);
  if (view.getUint32(PAGE_HEADER, false) === MAGIC) {
    throw bad(offset, `written on a ${SWAPPED} machine: such databases are not read`);
  }
  if (view.getUint32(PAGE_HEADER, true) !== MAGIC) throw bad(offset, "no bbolt meta page");
  const version = view.getUint32(PAGE_HEADER + 4, true);
  if (version !== VERSION) throw bad(offset, `bbolt version ${version}, where only ${VERSION} is known`);
  const sum = fnv1a64(bytes.subarray(PAGE_HEADER, PAGE_HEADER + 56));
  if (view.getBigUint64(PAGE_HEADER + 56, true) !== sum) {
    throw bad(offset, "a meta page whose checksum does not match");
  }
  const pageSize = view.getUint32(PAGE_HEADER + 8, true);
  if (pageSize < 512 || pageSize > 1 << 24 || (pageSize & (pageSize - 1)) !== 0) {
    throw bad(offset, `pages of ${pageSize} bytes`);
  }
  const freelist = view.getBigUint64(PAGE_HEADER + 32, true);
  return {
    page,
    pageSize,
    root: pageNumber(view, META_ROOT),
    freelist: freelist === NO_FREELIST ? null : pageNumber(view, PAGE_HEADER + 32),
    highWater: pageNumber(view, PAGE_HEADER + 40),
    txid: view.getBigUint64(PAGE_HEADER + 48, true),
  };
}

function fnv1a64(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/** A page number of 64 bits; from 2^53 on it is Infinity, which is in no file. */
function pageNumber(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high < 1 << 21 ? high * 2 ** 32 + view.getUint32(at, true) : Number.POSITIVE_INFINITY;
}

// Pages.

interface PageHeader {
  readonly flags: number;
  readonly count: number;
  /** Bytes of the page and the pages it runs on into. */
  readonly room: number;
}

/** `bytes` is at least the 16 of the header. */
function parsePageHeader(bytes: Uint8Array, pgid: number, offset: number, pageSize: number): PageHeader {
  const view = viewOf(bytes);
  const id = view.getBigUint64(0, true);
  if (id !== BigInt(pgid)) throw bad(offset, `page ${pgid} says it is page ${id}`);
  return {
    flags: view.getUint16(8, true),
    count: view.getUint16(10, true),
    room: (view.getUint32(12, true) + 1) * pageSize,
  };
}

/**
 * Where the data of a branch or leaf page ends, within `room` bytes; every element is checked against it.
 * `bytes` is at least the header and the elements; `offset` is that of `bytes` in the file.
 */
function checkElements(
  bytes: Uint8Array,
  leaf: boolean,
  count: number,
  room: number,
  offset: number,
): number {
  const view = viewOf(bytes);
  const table = PAGE_HEADER + count * ELEMENT;
  let end = table;
  for (let at = PAGE_HEADER; at < table; at += ELEMENT) {
    const start = at + view.getUint32(leaf ? at + 4 : at, true);
    const keyLength = view.getUint32(leaf ? at + 8 : at + 4, true);
    const last = start + keyLength + (leaf ? view.getUint32(at + 12, true) : 0);
    if (start < table || last > room || keyLength > KEY_LIMIT) {
      throw bad(offset + at, "an element that leads out of its page");
    }
    if (leaf && view.getUint32(at, true) > BUCKET_FLAG)
      throw bad(offset + at, "an element of an unknown kind");
    if (last > end) end = last;
  }
  return end;
}

/** A checked branch or leaf page, also one inside an element. */
class Page {
  readonly leaf: boolean;
  readonly count: number;
  readonly byteLength: number;
  /** In the file. */
  private readonly offset: number;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  constructor(bytes: Uint8Array, leaf: boolean, count: number, offset: number) {
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength); // slice() of a Buffer would not copy
    this.view = viewOf(bytes);
    this.leaf = leaf;
    this.count = count;
    this.byteLength = bytes.byteLength;
    this.offset = offset;
  }

  /** Of an element in the file: names the reference from there to a page or bucket. */
  ref(index: number): number {
    return this.offset + PAGE_HEADER + index * ELEMENT;
  }

  key(index: number): Uint8Array {
    const at = PAGE_HEADER + index * ELEMENT;
    const start = at + this.view.getUint32(this.leaf ? at + 4 : at, true);
    return this.bytes.subarray(start, start + this.view.getUint32(this.leaf ? at + 8 : at + 4, true));
  }

  value(index: number): Uint8Array {
    const at = PAGE_HEADER + index * ELEMENT;
    const start = this.valueStart(at);
    return this.bytes.subarray(start, start + this.view.getUint32(at + 12, true));
  }

  isBucket(index: number): boolean {
    return this.leaf && this.view.getUint32(PAGE_HEADER + index * ELEMENT, true) === BUCKET_FLAG;
  }

  /** Of a branch element: the page it leads to. */
  child(index: number): number {
    return pageNumber(this.view, PAGE_HEADER + index * ELEMENT + 8);
  }

  /** Of a bucket: where its tree begins. Throws {@link FormatError}. */
  bucket(index: number): BucketRoot {
    const at = PAGE_HEADER + index * ELEMENT;
    const ref = this.offset + at;
    const value = this.value(index);
    if (value.length < BUCKET_HEADER) throw bad(ref, "a bucket without a header");
    const pgid = pageNumber(viewOf(value), 0);
    if (pgid !== 0) return { ref, pgid };
    const offset = this.offset + this.valueStart(at) + BUCKET_HEADER;
    return parseInlinePage(value.subarray(BUCKET_HEADER), offset);
  }

  /** Index of the last key that is not greater than `key`; -1 where all are. */
  search(key: Uint8Array): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.key(middle), key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  private valueStart(at: number): number {
    return at + this.view.getUint32(at + 4, true) + this.view.getUint32(at + 8, true);
  }
}

/** A bucket's page, or a reference to it; `ref` is the offset of what holds the page number. */
type BucketRoot = Page | { readonly ref: number; readonly pgid: number };

/** The page inside an element. Its page number and overflow mean nothing; it holds no buckets (Bucket.inlineable). */
function parseInlinePage(bytes: Uint8Array, offset: number): Page {
  if (bytes.length < PAGE_HEADER) throw bad(offset, "an inline bucket that is cut off");
  const view = viewOf(bytes);
  const count = view.getUint16(10, true);
  if (view.getUint16(8, true) !== LEAF || PAGE_HEADER + count * ELEMENT > bytes.length) {
    throw bad(offset, "an inline bucket that is no leaf page");
  }
  checkElements(bytes, true, count, bytes.length, offset);
  const page = new Page(bytes, true, count, offset);
  for (let i = 0; i < count; i++) {
    if (page.isBucket(i)) throw bad(page.ref(i), "a bucket within an inline bucket");
  }
  return page;
}

/** Takes the pages from `first` to `end` (exclusive) for one reference; throws {@link FormatError} where one is taken. */
type Claim = (first: number, end: number) => void;

/** The branch and leaf pages of one tree, the last used of which stay in memory. */
class Pages {
  /** Pages from here on are not there: beyond the high-water mark or the file's end. */
  readonly limit: number;
  private readonly cache = new Map<number, Page>();
  private cachedBytes = 0;
  private readonly source: ByteSource;
  private readonly pageSize: number;
  private readonly highWater: number;
  constructor(source: ByteSource, meta: Meta) {
    this.source = source;
    this.pageSize = meta.pageSize;
    this.highWater = meta.highWater;
    this.limit = Math.min(meta.highWater, Math.floor(source.byteLength / meta.pageSize));
  }

  /** Why there is no such page; null: there is. */
  outside(pgid: number): string | null {
    if (pgid < 2) return `a reference to page ${pgid}, a meta page`;
    if (pgid >= this.highWater) return `a reference to page ${pgid}, which was never written`;
    return pgid >= this.limit
      ? `page ${pgid} is cut off: the file ends at byte ${this.source.byteLength}`
      : null;
  }

  /** `pgid` must not be outside. What is read first is claimed first, so that pages cannot make us read bytes often. */
  async load(pgid: number, claim?: Claim): Promise<Page> {
    const cached = claim === undefined ? this.cache.get(pgid) : undefined; // one that is cached is claimed already
    if (cached) return this.keep(pgid, cached);
    claim?.(pgid, pgid + 1);
    const { pageSize } = this;
    const offset = pgid * pageSize;
    let bytes = await this.read(offset, pageSize);
    const { flags, count, room } = parsePageHeader(bytes, pgid, offset, pageSize);
    const table = PAGE_HEADER + count * ELEMENT;
    if (flags !== BRANCH && flags !== LEAF) throw bad(offset, `page ${pgid} is neither branch nor leaf`);
    if (flags === BRANCH && count === 0) throw bad(offset, `page ${pgid} is a branch that leads nowhere`);
    if (pgid + room / pageSize > this.limit) throw bad(offset, `page ${pgid} runs over the end`);
    if (table > room) throw bad(offset, `page ${pgid} has more elements than room`);
    const tableEnd = pgid + Math.ceil(table / pageSize);
    claim?.(pgid + 1, tableEnd);
    if (table > bytes.length) bytes = await this.read(offset, table);
    const end = checkElements(bytes, flags === LEAF, count, room, offset);
    if (end > PAGE_LIMIT) throw bad(offset, `page ${pgid} has ${end} bytes, more than are read`);
    // bbolt allocates size / pageSize + 1 pages, so one too many where the size divides evenly (node.spill).
    claim?.(tableEnd, pgid + Math.min(Math.floor(end / pageSize) + 1, room / pageSize));
    if (end > bytes.length) bytes = await this.read(offset, end);
    return this.keep(pgid, new Page(bytes, flags === LEAF, count, offset));
  }

  private keep(pgid: number, page: Page): Page {
    if (!this.cache.delete(pgid)) this.cachedBytes += page.byteLength;
    this.cache.set(pgid, page);
    for (const [oldest, { byteLength }] of this.cache) {
      if (this.cachedBytes <= CACHE_BYTES) break;
      this.cache.delete(oldest);
      this.cachedBytes -= byteLength;
    }
    return page;
  }

  private async read(offset: number, length: number): Promise<Uint8Array> {
    try {
      return await this.source.read(offset, length);
    } catch (error) {
      if (error instanceof TruncatedError) throw bad(offset, "the file became shorter");
      throw error;
    }
  }
}

/** Page numbers, one bit each, in pieces: 4 GB of pages of 4 KiB take 128 KiB, and numbers far apart little more. */
class PageSet {
  size = 0;
  private readonly pieces = new Map<number, Uint8Array>();

  has(pgid: number): boolean {
    const piece = this.pieces.get(Math.floor(pgid / 32_768));
    return piece !== undefined && (piece[(pgid % 32_768) >> 3]! & (1 << (pgid & 7))) !== 0;
  }

  /** False where it was there already. */
  add(pgid: number): boolean {
    if (this.has(pgid)) return false;
    const index = Math.floor(pgid / 32_768);
    let piece = this.pieces.get(index);
    if (!piece) {
      piece = new Uint8Array(4096);
      this.pieces.set(index, piece);
    }
    piece[(pgid % 32_768) >> 3]! |= 1 << (pgid & 7);
    this.size++;
    return true;
  }
}

// The pass over all pages that decides which tree is read, and how.

interface Choice {
  readonly survey: Survey;
  readonly state: Bolt["state"];
  readonly messages: readonly string[];
}

/**
 * The newer tree if it is whole, else the older one if that is. Of two damaged ones the newer, unless it is damaged in
 * places where the older is not (so not by a page both share) and gives fewer entries.
 */
async function chooseTree(source: ByteSource, metas: readonly Meta[], signal?: AbortSignal): Promise<Choice> {
  const current = await surveyTree(source, metas[0]!, signal);
  if (current.broken.size === 0 || metas.length === 1) {
    return { survey: current, state: "current", messages: current.messages() };
  }
  const previous = await surveyTree(source, metas[1]!, signal);
  const helps = [...current.broken].some((place) => !previous.broken.has(place));
  if (previous.broken.size > 0 && !(helps && previous.entryCount > current.entryCount)) {
    return { survey: current, state: "current", messages: current.messages() };
  }
  const why = `transaction ${current.meta.txid} is damaged (${current.problems[0]})`;
  const what = `${why}, so transaction ${previous.meta.txid} before it is read`;
  return { survey: previous, state: "previous transaction", messages: [what, ...previous.messages()] };
}

async function surveyTree(source: ByteSource, meta: Meta, signal?: AbortSignal): Promise<Survey> {
  const survey = new Survey(source, meta, signal);
  await survey.run();
  return survey;
}

/** One tree: which of its pages are in use, and which references must not be followed. */
class Survey {
  readonly meta: Meta;
  readonly pages: Pages;
  readonly rootRef: number;
  readonly used = new PageSet();
  /** References (their offsets) to something damaged; those to pages that are {@link Pages.outside} need no entry. */
  readonly refused = new Set<number>();
  /** Where the damage is, for comparing two trees. */
  readonly broken = new Set<number>();
  readonly problems: string[] = [];
  /** Whether every bucket's keys ascend: else binary search would miss some. */
  ordered = true;
  entryCount = 0;
  unreadable = 0;
  rootDamage: FormatError | null = null;
  private heldBytes = 0;
  private readonly signal: AbortSignal | undefined;
  constructor(source: ByteSource, meta: Meta, signal?: AbortSignal) {
    this.meta = meta;
    this.pages = new Pages(source, meta);
    this.rootRef = meta.page * meta.pageSize + META_ROOT;
    this.signal = signal;
  }

  async run(): Promise<void> {
    try {
      await this.tree({ ref: this.rootRef, pgid: this.meta.root }, new KeyOrder(), 1);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.rootDamage = error;
      this.note(error.message, this.rootRef);
    }
  }

  /** What was found, shortened. */
  messages(): string[] {
    const more = this.unreadable - this.problems.length;
    return more > 0 ? [...this.problems, `${more} more places cannot be read`] : this.problems;
  }

  private async tree(root: { ref: number; pgid: number }, order: KeyOrder, depth: number): Promise<void> {
    if (this.signal?.aborted) throw new InterruptedError("interrupted");
    const page = await this.enter(root.ref, root.pgid, depth);
    if (page === null) return;
    this.heldBytes += page.byteLength;
    if (page.leaf) await this.leaf(page, order, depth);
    else await this.branch(page, order, depth);
    this.heldBytes -= page.byteLength;
  }

  private async branch(page: Page, order: KeyOrder, depth: number): Promise<void> {
    for (let i = 0; i < page.count; i++) {
      // The first key of a branch bounds nothing: smaller ones are looked for below it too.
      if (i > 0 && !order.separator(page.key(i))) this.disorder(page.ref(i));
      await this.tree({ ref: page.ref(i), pgid: page.child(i) }, order, depth + 1);
    }
  }

  private async leaf(page: Page, order: KeyOrder, depth: number): Promise<void> {
    this.entryCount += page.count;
    for (let i = 0; i < page.count; i++) {
      if (!order.key(page.key(i))) this.disorder(page.ref(i));
      if (!page.isBucket(i)) continue;
      const root = this.bucket(page, i);
      if (root instanceof Page) await this.leaf(root, new KeyOrder(), depth);
      else if (root !== null) await this.tree(root, new KeyOrder(), depth + 1);
    }
  }

  private bucket(page: Page, index: number): BucketRoot | null {
    try {
      return page.bucket(index);
    } catch (error) {
      return this.refuse(page.ref(index), error);
    }
  }

  private async enter(ref: number, pgid: number, depth: number): Promise<Page | null> {
    const outside = this.pages.outside(pgid);
    if (outside !== null) return this.refuse(ref, bad(ref, outside), false);
    try {
      if (depth > DEPTH_LIMIT) throw bad(ref, "pages nested too deep");
      const page = await this.pages.load(pgid, (first, end) => this.claim(first, end));
      if (this.heldBytes + page.byteLength > HELD_LIMIT)
        throw bad(ref, "pages nested too deep for their size");
      return page;
    } catch (error) {
      return this.refuse(ref, error);
    }
  }

  /** bbolt gives every page to one reference, so a second one is damage, and a walk that allowed it might never end. */
  private claim(first: number, end: number): void {
    for (let pgid = first; pgid < end; pgid++) {
      if (!this.used.add(pgid)) throw bad(pgid * this.meta.pageSize, `page ${pgid} is used twice`);
    }
  }

  private refuse(ref: number, error: unknown, remember = true): null {
    if (!(error instanceof FormatError)) throw error;
    if (ref === this.rootRef) throw error;
    if (remember) this.refused.add(ref);
    if (this.refused.size > REFUSED_LIMIT) throw bad(ref, "too many damaged pages to go on");
    this.unreadable++;
    this.note(error.message, error.offset ?? ref);
    return null;
  }

  private disorder(ref: number): void {
    if (this.ordered) this.note(bad(ref, "keys out of order, which bbolt never writes,").message, ref);
    this.ordered = false;
  }

  private note(message: string, place: number): void {
    if (this.problems.length < TOLD) this.problems.push(message);
    if (this.broken.size < REFUSED_LIMIT) this.broken.add(place);
  }
}

/** Checks that the keys of one bucket ascend, and that the keys in its branches part them. */
class KeyOrder {
  private last: Uint8Array | null = null;
  /** Whether the next key may equal `last`, which is then a branch's. */
  private mayEqual = true;

  key(key: Uint8Array): boolean {
    return this.next(key, false);
  }

  separator(key: Uint8Array): boolean {
    return this.next(key, true);
  }

  private next(key: Uint8Array, mayEqual: boolean): boolean {
    const compared = this.last === null ? 1 : Buffer.compare(key, this.last);
    const ascends = compared > 0 || (compared === 0 && this.mayEqual);
    this.last = key;
    this.mayEqual = mayEqual;
    return ascends;
  }
}

// Reading, once the tree is known.

class TreeBucket implements Bucket {
  private readonly tree: Survey;
  /** null: damaged. */
  private readonly top: BucketRoot | null;
  constructor(tree: Survey, top: BucketRoot | null) {
    this.tree = tree;
    this.top = top;
  }

  async get(key: Key): Promise<Uint8Array | null> {
    const found = await this.find(bytesOf(key));
    return found === null || found.page.isBucket(found.index) ? null : found.page.value(found.index).slice();
  }

  async bucket(key: Key): Promise<Bucket | null> {
    const found = await this.find(bytesOf(key));
    if (found === null || !found.page.isBucket(found.index)) return null;
    const refused = this.tree.refused.has(found.page.ref(found.index));
    return new TreeBucket(this.tree, refused ? null : found.page.bucket(found.index));
  }

  async path(...keys: readonly Key[]): Promise<Bucket | null> {
    let at: Bucket | null = this;
    for (const key of keys) at = at && (await at.bucket(key));
    return at;
  }

  async *entries(): AsyncGenerator<BoltEntry> {
    for await (const { page, index } of this.elements()) {
      yield { key: page.key(index).slice(), value: page.isBucket(index) ? null : page.value(index).slice() };
    }
  }

  private async find(key: Uint8Array): Promise<{ page: Page; index: number } | null> {
    if (!this.tree.ordered) return this.findByScan(key);
    let page = await this.root();
    for (let depth = 1; page !== null && !page.leaf; depth++) {
      if (depth > DEPTH_LIMIT) throw changed();
      page = await this.child(page, Math.max(0, page.search(key)));
    }
    const index = page === null ? -1 : page.search(key);
    return page !== null && index >= 0 && Buffer.compare(page.key(index), key) === 0 ? { page, index } : null;
  }

  private async findByScan(key: Uint8Array): Promise<{ page: Page; index: number } | null> {
    for await (const element of this.elements()) {
      if (Buffer.compare(element.page.key(element.index), key) === 0) return element;
    }
    return null;
  }

  private async *elements(): AsyncGenerator<{ page: Page; index: number }> {
    const root = await this.root();
    const stack = root === null ? [] : [{ page: root, next: 0 }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { page } = top;
      if (page.leaf) for (let index = 0; index < page.count; index++) yield { page, index };
      if (page.leaf || top.next === page.count) {
        stack.pop();
        continue;
      }
      if (stack.length > DEPTH_LIMIT) throw changed();
      const child = await this.child(page, top.next++);
      if (child !== null) stack.push({ page: child, next: 0 });
    }
  }

  private async root(): Promise<Page | null> {
    if (this.top === null || this.top instanceof Page) return this.top;
    return this.page(this.top.ref, this.top.pgid);
  }

  private child(page: Page, index: number): Promise<Page | null> {
    return this.page(page.ref(index), page.child(index));
  }

  private async page(ref: number, pgid: number): Promise<Page | null> {
    const { refused, pages } = this.tree;
    return refused.has(ref) || pages.outside(pgid) !== null ? null : pages.load(pgid);
  }
}

function changed(): FormatError {
  return new FormatError("bbolt", "the database has changed since it was opened");
}

// Free pages.

async function countFreePages(
  source: ByteSource,
  survey: Survey,
  onDamage: (message: string) => void,
): Promise<FreePages> {
  const { pageSize, freelist } = survey.meta;
  const { limit } = survey.pages;
  const free = new PageSet();
  let derived = freelist === null;
  if (freelist !== null) {
    try {
      for await (const pgid of readFreelist(source, freelist, pageSize, limit)) {
        if (pgid >= 2 && pgid < limit && !survey.used.has(pgid)) free.add(pgid);
      }
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof TruncatedError)) throw error;
      onDamage(
        `the list of free pages is damaged, so pages that nothing uses were counted: ${error.message}`,
      );
      derived = true;
    }
  }
  const pageCount = derived ? Math.max(0, limit - 2 - survey.used.size) : free.size;
  return { pageCount, bytes: pageCount * pageSize, derived };
}

/** The page numbers in a free list, pending ones too, as they stand. */
async function* readFreelist(
  source: ByteSource,
  pgid: number,
  pageSize: number,
  limit: number,
): AsyncGenerator<number> {
  const start = pgid * pageSize;
  if (pgid < 2 || pgid >= limit) throw bad(0, `its page ${pgid} is not in the file`);
  const head = await source.read(start, PAGE_HEADER + 8);
  const { flags, count, room } = parsePageHeader(head, pgid, start, pageSize);
  if (flags !== FREELIST) throw bad(start, `page ${pgid} is no free list`);
  // A count that does not fit 16 bits stands in front of the numbers.
  const long = count === 0xffff;
  const first = PAGE_HEADER + (long ? 8 : 0);
  const end = first + 8 * (long ? pageNumber(viewOf(head), PAGE_HEADER) : count);
  if (!(end <= room) || start + end > source.byteLength) throw bad(start, "it leads out of its page");
  for (let at = first; at < end; at += 65_536) {
    const bytes = await source.read(start + at, Math.min(65_536, end - at));
    const view = viewOf(bytes);
    for (let i = 0; i < bytes.length; i += 8) yield pageNumber(view, i);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bytesOf(key: Key): Uint8Array {
  return typeof key === "string" ? Buffer.from(key) : key;
}

function bad(offset: number, message: string): FormatError {
  return new FormatError("bbolt", `${message} at byte ${offset}`, offset);
}
