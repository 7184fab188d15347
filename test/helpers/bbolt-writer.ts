/** Writes bbolt databases: as bbolt lays them out, or with the oddities a test asks for. */

export type BoltKey = string | Uint8Array;
/** Pairs are written in the order given: bbolt's is that of the keys' bytes ({@link sorted}). */
export type BoltTree = readonly (readonly [BoltKey, BoltKey | BoltTree])[];

export interface BoltOptions {
  readonly pageSize?: number;
  /** Of the newer meta; it goes to page txid % 2. */
  readonly txid?: bigint;
  /** The tree of the older meta; by default it shares all pages of the newer, as after an empty transaction. */
  readonly previous?: BoltTree;
  /** Pages to leave unused, holding old bytes. */
  readonly freePages?: number;
  readonly storeFreelist?: boolean;
  readonly inline?: boolean;
  /** Elements to a page at most, but 2 as in bbolt: for deep trees with little in them. */
  readonly fanOut?: number;
}

const HEADER = 16;
const BRANCH = 1;
const LEAF = 2;
const META = 4;
const FREELIST = 0x10;

interface Element {
  readonly isBucket: boolean;
  readonly key: Buffer;
  readonly value: Buffer;
  /** Of a branch's element. */
  readonly child: number;
}

export function writeBolt(tree: BoltTree, options: BoltOptions = {}): Buffer {
  const writer = new BoltWriter(options);
  const { txid = 2n, storeFreelist = true } = options;
  const free = writer.skip(options.freePages ?? 0);
  const previous = options.previous && writer.tree(options.previous);
  const root = writer.tree(tree);
  const freelist = storeFreelist ? writer.freelist(free) : 0xffff_ffff_ffff_ffffn;
  for (const [id, top] of [
    [txid, root],
    [txid - 1n, previous ?? root],
  ] as const) {
    writer.meta(id, top, freelist);
  }
  return writer.bytes();
}

/** Values of a database as read, in the form it was written from. */
export function sorted(tree: BoltTree): BoltTree {
  return [...tree]
    .map(([key, value]) => [key, Array.isArray(value) ? sorted(value) : value] as const)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

class BoltWriter {
  private readonly pages: Buffer[] = [];
  private pageCount = 2;
  private readonly metas: [Buffer, Buffer];
  private readonly pageSize: number;
  private readonly inline: boolean;
  private readonly fanOut: number;
  constructor({ pageSize = 4096, inline = true, fanOut = 1000 }: BoltOptions) {
    this.pageSize = pageSize;
    this.inline = inline;
    this.fanOut = fanOut;
    this.metas = [Buffer.alloc(pageSize), Buffer.alloc(pageSize)];
  }

  /** Leaves out pages, which keep bytes of a page that was there. */
  skip(count: number): number[] {
    return Array.from({ length: count }, () => this.page(LEAF, 3, Buffer.alloc(0)));
  }

  /** Page number of the root. */
  tree(tree: BoltTree): number {
    let elements = tree.map(([key, value]) => this.element(Buffer.from(key), value));
    let flags = LEAF;
    for (;;) {
      const groups = this.split(elements);
      const pages = groups.map((group) => this.page(flags, group.length, pack(group, flags)));
      if (pages.length === 1) return pages[0]!;
      const empty = Buffer.alloc(0);
      elements = pages.map((child, i) => ({ isBucket: false, key: groups[i]![0]!.key, value: empty, child }));
      flags = BRANCH;
    }
  }

  freelist(free: readonly number[]): bigint {
    const long = free.length >= 0xffff;
    const numbers = [...(long ? [free.length] : []), ...free];
    const body = Buffer.alloc(numbers.length * 8);
    for (const [i, number] of numbers.entries()) body.writeBigUInt64LE(BigInt(number), i * 8);
    return BigInt(this.page(FREELIST, Math.min(free.length, 0xffff), body));
  }

  meta(txid: bigint, root: number, freelist: bigint): void {
    const index = Number(txid % 2n);
    const page = this.metas[index]!;
    page.writeBigUInt64LE(BigInt(index), 0);
    page.writeUInt16LE(META, 8);
    page.writeUInt32LE(0xed0cdaed, 16);
    page.writeUInt32LE(2, 20);
    page.writeUInt32LE(this.pageSize, 24);
    page.writeBigUInt64LE(BigInt(root), 32);
    page.writeBigUInt64LE(freelist, 48);
    page.writeBigUInt64LE(BigInt(this.pageCount), 56);
    page.writeBigUInt64LE(txid, 64);
    sealMeta(page);
  }

  bytes(): Buffer {
    return Buffer.concat([...this.metas, ...this.pages]);
  }

  private element(key: Buffer, value: BoltKey | BoltTree): Element {
    const isBucket = Array.isArray(value);
    const stored = isBucket ? this.bucket(value) : Buffer.from(value as BoltKey);
    return { isBucket, key, value: stored, child: 0 };
  }

  private bucket(tree: BoltTree): Buffer {
    const header = Buffer.alloc(16);
    header.writeBigUInt64LE(7n, 8); // the sequence, which nobody reads
    if (this.inline && !tree.some(([, value]) => Array.isArray(value))) {
      const body = pack(
        tree.map(([key, value]) => this.element(Buffer.from(key), value)),
        LEAF,
      );
      if (HEADER + body.length <= this.pageSize / 4) {
        return Buffer.concat([header, pageHeader(0, LEAF, tree.length, 0), body]);
      }
    }
    header.writeBigUInt64LE(BigInt(this.tree(tree)), 0);
    return header;
  }

  private split(elements: readonly Element[]): Element[][] {
    const groups: Element[][] = [[]];
    let size = HEADER;
    for (const element of elements) {
      const added = 16 + element.key.length + element.value.length;
      const group = groups.at(-1)!;
      if (group.length > 1 && (size + added > this.pageSize || group.length >= this.fanOut)) {
        groups.push([element]);
        size = HEADER + added;
      } else {
        group.push(element);
        size += added;
      }
    }
    return groups;
  }

  private page(flags: number, count: number, body: Buffer): number {
    const pgid = this.pageCount;
    const overflow = Math.floor((HEADER + body.length) / this.pageSize);
    const bytes = Buffer.alloc((overflow + 1) * this.pageSize);
    pageHeader(pgid, flags, count, overflow).copy(bytes);
    body.copy(bytes, HEADER);
    this.pages.push(bytes);
    this.pageCount += overflow + 1;
    return pgid;
  }
}

/** Makes the checksum of a meta page fit what it holds. */
export function sealMeta(page: Buffer): void {
  let hash = 0xcbf29ce484222325n;
  for (const byte of page.subarray(16, 72)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  page.writeBigUInt64LE(hash, 72);
}

function pageHeader(pgid: number, flags: number, count: number, overflow: number): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeBigUInt64LE(BigInt(pgid), 0);
  header.writeUInt16LE(flags, 8);
  header.writeUInt16LE(count, 10);
  header.writeUInt32LE(overflow, 12);
  return header;
}

/** Elements, then their keys and values. */
function pack(elements: readonly Element[], flags: number): Buffer {
  const table = Buffer.alloc(elements.length * 16);
  const data: Buffer[] = [];
  let end = table.length;
  for (const [i, { isBucket, key, value, child }] of elements.entries()) {
    const at = i * 16;
    if (flags === LEAF) {
      table.writeUInt32LE(isBucket ? 1 : 0, at);
      table.writeUInt32LE(end - at, at + 4);
      table.writeUInt32LE(key.length, at + 8);
      table.writeUInt32LE(value.length, at + 12);
      data.push(key, value);
      end += key.length + value.length;
    } else {
      table.writeUInt32LE(end - at, at);
      table.writeUInt32LE(key.length, at + 4);
      table.writeBigUInt64LE(BigInt(child), at + 8);
      data.push(key);
      end += key.length;
    }
  }
  return Buffer.concat([table, ...data]);
}
