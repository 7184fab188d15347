/**
 * bzip2, after bzip2 1.0.8's decompress.c and huffman.c: any number of concatenated streams, block and stream
 * CRCs verified. Bits are read from the high end of each byte. Written here because the libraries at hand are
 * several times slower and read past the data's end. Not handled, and refused: randomised blocks (before 0.9.5).
 */
import type { CompressedInput } from "./compressed-input.ts";

const STREAM_MAGIC = 0x425a68; // "BZh", then the block size as a digit
const BLOCK_UNIT = 100_000;
const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
/**
 * No block is longer: 900,000 symbols of 20 bits are 2.2 MB, and its tables some 30 KB. A crafted one can be,
 * since code lengths may waver for ever; it is refused.
 */
const MAX_BLOCK_BYTES = 2.5 * 2 ** 20;
const MAX_CODE_LENGTH = 20;
const GROUP_SIZE = 50;
/** Codes up to this long are looked up at once. */
const LOOKUP_BITS = 10;
const OUTPUT_SIZE = 256 << 10;

export async function* bunzip2(input: CompressedInput): AsyncGenerator<Uint8Array, void, undefined> {
  const bits = new BitReader(input);
  const block = new Uint32Array(9 * BLOCK_UNIT);
  for (let isFirst = true; ; isFirst = false) {
    await bits.load();
    if (bits.atEnd && !isFirst) return;
    const isStream = bits.read(24) === STREAM_MAGIC;
    const level = bits.read(8) - 0x30;
    if (!isStream || level < 1 || level > 9)
      throw bits.damaged(isFirst ? "no bzip2 stream" : "trailing garbage");
    yield* readBlocks(bits, block.subarray(0, level * BLOCK_UNIT));
    bits.alignToByte();
  }
}

/** To the end of a stream. */
async function* readBlocks(bits: BitReader, block: Uint32Array): AsyncGenerator<Uint8Array, void, undefined> {
  for (let streamCrc = 0; ; ) {
    await bits.load();
    const magic = bits.read(24) * 2 ** 24 + bits.read(24);
    const crc = bits.read32();
    if (magic === END_MAGIC) {
      if (crc !== streamCrc) throw bits.damaged("stream CRC does not match");
      return;
    }
    if (magic !== BLOCK_MAGIC) throw bits.damaged("no block where one should start");
    const { length, origin } = readBlock(bits, block);
    if ((yield* plainBytes(block, length, origin)) !== crc) throw bits.damaged("block CRC does not match");
    streamCrc = (((streamCrc << 1) | (streamCrc >>> 31)) ^ crc) >>> 0;
  }
}

/** Decodes a block into the low bytes of `block`: still run-length encoded and in Burrows-Wheeler order. */
function readBlock(bits: BitReader, block: Uint32Array): { length: number; origin: number } {
  if (bits.read(1) === 1) throw bits.damaged("randomised blocks are not supported");
  const origin = bits.read(24);
  const symbols = readSymbols(bits);
  const tableCount = bits.read(3);
  if (tableCount < 2 || tableCount > 6) throw bits.damaged("bad number of code tables");
  const selectors = readSelectors(bits, tableCount);
  const tables: CodeTable[] = [];
  for (let i = 0; i < tableCount; i++) tables.push(readCodeTable(bits, symbols.length + 2));

  const endSymbol = symbols.length + 1;
  let length = 0;
  let runLength = 0;
  let runWeight = 1;
  for (let group = 0; ; group++) {
    if (group >= selectors.length) throw bits.damaged("more symbols than its selectors cover");
    const table = tables[selectors[group]!]!;
    for (let i = 0; i < GROUP_SIZE; i++) {
      const symbol = table.next(bits);
      if (symbol <= 1) {
        // A run's length in bijective base 2, lowest digit first.
        runLength += runWeight << symbol;
        runWeight <<= 1;
        if (runLength > block.length) throw bits.damaged("block is too long");
        continue;
      }
      if (runLength > 0) {
        if (length + runLength > block.length) throw bits.damaged("block is too long");
        block.fill(symbols[0]!, length, length + runLength);
        length += runLength;
        runLength = 0;
        runWeight = 1;
      }
      if (symbol === endSymbol) {
        if (origin >= length) throw bits.damaged("origin is outside its block");
        return { length, origin };
      }
      if (length === block.length) throw bits.damaged("block is too long");
      block[length++] = moveToFront(symbols, symbol - 1);
    }
  }
}

/** The byte values that the block uses, ascending, from a two-level bit map. */
function readSymbols(bits: BitReader): Uint8Array {
  const symbols: number[] = [];
  const rows = bits.read(16);
  for (let row = 0; row < 16; row++) {
    if (!(rows & (0x8000 >> row))) continue;
    const columns = bits.read(16);
    for (let column = 0; column < 16; column++) {
      if (columns & (0x8000 >> column)) symbols.push(row * 16 + column);
    }
  }
  if (symbols.length === 0) throw bits.damaged("block uses no byte value");
  return Uint8Array.from(symbols);
}

/** Which code table each group of 50 symbols uses. */
function readSelectors(bits: BitReader, tableCount: number): Uint8Array {
  const selectors = new Uint8Array(bits.read(15));
  const order = Uint8Array.from({ length: tableCount }, (_, i) => i);
  for (let i = 0; i < selectors.length; i++) {
    let rank = 0;
    while (bits.read(1) === 1) if (++rank >= tableCount) throw bits.damaged("bad selector");
    selectors[i] = moveToFront(order, rank);
  }
  return selectors;
}

function readCodeTable(bits: BitReader, symbolCount: number): CodeTable {
  const lengths = new Uint8Array(symbolCount);
  let length = bits.read(5);
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    for (;;) {
      if (length < 1 || length > MAX_CODE_LENGTH) throw bits.damaged("bad code length");
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  return new CodeTable(lengths);
}

function moveToFront(list: Uint8Array, rank: number): number {
  const value = list[rank]!;
  if (rank > 32) list.copyWithin(1, 0, rank);
  else for (let i = rank; i > 0; i--) list[i] = list[i - 1]!; // a call costs more than so short a loop
  list[0] = value;
  return value;
}

/** A canonical Huffman code: shorter codes first, and by symbol among those of one length. */
class CodeTable {
  /** Of the next LOOKUP_BITS bits: `symbol << 5 | length`, 0 where the code is longer or there is none. */
  readonly #lookup = new Uint16Array(1 << LOOKUP_BITS);
  readonly #symbols: Uint16Array;
  /** By length: one past the last code, left-aligned to MAX_CODE_LENGTH bits. */
  readonly #limits = new Uint32Array(MAX_CODE_LENGTH + 1);
  /** By length: what to add to a code for its place in `#symbols`. */
  readonly #shifts = new Int32Array(MAX_CODE_LENGTH + 1);

  constructor(lengths: Uint8Array) {
    this.#symbols = new Uint16Array(lengths.length);
    let code = 0;
    let count = 0;
    for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
      this.#shifts[length] = count - code;
      for (let symbol = 0; symbol < lengths.length; symbol++) {
        if (lengths[symbol] !== length) continue;
        this.#symbols[count++] = symbol;
        if (length <= LOOKUP_BITS) {
          const from = code << (LOOKUP_BITS - length);
          this.#lookup.fill((symbol << 5) | length, from, from + (1 << (LOOKUP_BITS - length)));
        }
        code++;
      }
      this.#limits[length] = code << (MAX_CODE_LENGTH - length);
      code <<= 1;
    }
  }

  next(bits: BitReader): number {
    const ahead = bits.peek(MAX_CODE_LENGTH);
    const entry = this.#lookup[ahead >> (MAX_CODE_LENGTH - LOOKUP_BITS)]!;
    if (entry !== 0) {
      bits.consume(entry & 31);
      return entry >> 5;
    }
    let length = LOOKUP_BITS + 1;
    while (length <= MAX_CODE_LENGTH && ahead >= this.#limits[length]!) length++;
    const symbol = this.#symbols[(ahead >> (MAX_CODE_LENGTH - length)) + (this.#shifts[length] ?? 0)];
    if (length > MAX_CODE_LENGTH || symbol === undefined) throw bits.damaged("code that its table lacks");
    bits.consume(length);
    return symbol;
  }
}

/** Undoes the Burrows-Wheeler transform and the outer run-length encoding; returns the CRC of what it yields. */
function* plainBytes(
  block: Uint32Array,
  length: number,
  origin: number,
): Generator<Uint8Array, number, undefined> {
  linkBlock(block, length);
  let crc = 0xffffffff;
  let output = new Uint8Array(OUTPUT_SIZE);
  let used = 0;
  let entry = block[origin]!;
  let previous = -1;
  let equal = 0; // how many in a row, up to four; then a byte says how many more
  for (let left = length; left > 0; left--) {
    entry = block[entry >>> 8]!;
    let byte = entry & 0xff;
    let copies = 1;
    if (equal === 4) {
      copies = byte;
      byte = previous;
      equal = 0;
      previous = -1;
    } else if (byte === previous) {
      equal++;
    } else {
      equal = 1;
      previous = byte;
    }
    if (used + copies > OUTPUT_SIZE) {
      yield output.subarray(0, used);
      output = new Uint8Array(OUTPUT_SIZE);
      used = 0;
    }
    for (; copies > 0; copies--) {
      output[used++] = byte;
      crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte]!;
    }
  }
  if (used > 0) yield output.subarray(0, used);
  return ~crc >>> 0;
}

/** Puts above each byte the index of the entry that follows it in the plain order. */
function linkBlock(block: Uint32Array, length: number): void {
  const next = new Uint32Array(256);
  for (let i = 0; i < length; i++) next[block[i]!]!++;
  for (let byte = 0, sum = 0; byte < 256; byte++) {
    const count = next[byte]!;
    next[byte] = sum;
    sum += count;
  }
  for (let i = 0; i < length; i++) {
    const target = next[block[i]! & 0xff]!++;
    block[target] = block[target]! | (i << 8);
  }
}

/** CRC-32 of polynomial 04c11db7, high bit first: not zlib's. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let i = 0; i < 8; i++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0);
  return crc;
});

/** Bits of the input, high end first; reading is synchronous between one {@link load} and the next. */
class BitReader {
  readonly #input: CompressedInput;
  /** Room for one block and half as much, so that the rest is not moved for each of many small blocks. */
  readonly #buffer = new Uint8Array(MAX_BLOCK_BYTES * 1.5);
  #end = 0;
  /** Whether the input ends in the buffer. */
  #isLast = false;
  /** Of the next byte to take into `#bits`. */
  #at = 0;
  /** The low `#count` bits are the next ones; those above are used up. */
  #bits = 0;
  #count = 0;

  constructor(input: CompressedInput) {
    this.#input = input;
  }

  /** Brings a whole block within reach. */
  async load(): Promise<void> {
    const ahead = this.#count >> 3;
    this.#at -= ahead;
    this.#bits >>>= ahead * 8;
    this.#count -= ahead * 8;
    if (this.#isLast || this.#end - this.#at >= MAX_BLOCK_BYTES) return;
    this.#buffer.copyWithin(0, this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
    this.#end += await this.#input.fill(this.#buffer.subarray(this.#end));
    this.#isLast = this.#end < this.#buffer.length;
  }

  /** After {@link load}: only bits of a byte that is begun are left. */
  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Up to 24 bits. */
  read(count: number): number {
    const value = this.peek(count);
    this.consume(count);
    return value;
  }

  read32(): number {
    return this.read(16) * 0x10000 + this.read(16);
  }

  /** Up to 24 bits; zeros past the end, where only {@link consume} fails. */
  peek(count: number): number {
    while (this.#count < count) {
      const byte = this.#at < this.#end ? this.#buffer[this.#at]! : 0;
      this.#at++;
      this.#bits = (this.#bits << 8) | byte;
      this.#count += 8;
    }
    return (this.#bits >>> (this.#count - count)) & ((1 << count) - 1);
  }

  consume(count: number): void {
    this.#count -= count;
    if (this.#at > this.#end && this.#at - (this.#count >> 3) > this.#end) throw this.#pastEnd();
  }

  alignToByte(): void {
    this.consume(this.#count & 7);
  }

  damaged(what: string): Error {
    return this.#input.damaged(what, this.#input.offset - this.#end + this.#at - (this.#count >> 3));
  }

  #pastEnd(): Error {
    return this.#isLast ? this.#input.truncated() : this.damaged("block is too long");
  }
}
