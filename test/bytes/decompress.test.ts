import * as zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CompressedInput } from "../../src/bytes/compressed-input.ts";
import { type Compression, decompress, sniffCompression } from "../../src/bytes/decompress.ts";
import { unzstdByWasm } from "../../src/bytes/unzstd.ts";
import { FormatError, SourceError, TruncatedError } from "../../src/errors.ts";

const LINES = Array.from({ length: 300 }, (_, i) => `${i}\n`).join("");
/** What the samples below hold: `head -c 400` of the numbers from 0, one a line. */
const SMALL = Buffer.from(LINES.slice(0, 400));
/** The numbers 0 to 299, 200 times. */
const BIG = Buffer.from(LINES.repeat(200));

const base64 = (text: string) => Buffer.from(text, "base64");
const GZIP = zlib.gzipSync(SMALL);
// zstd 1.5: zstd -19 -c <small
const ZSTD = base64(
  "KLUv/QRolQUABpkrCbDrJEmIcFKYdSYAKQApABRPLHHEjRlDfN16derTpUdvZ4d+3Hhx4sOFBy8nB37bNT3LcecQH2100UQPLXTQpUkDfbPNNdM8s8wxd+YM88kml0zyyCKHXJkyyBdbXHHACRyA32133XTPLXfcvXnDfbbZZZM9tthh16YN9tVWV0311FJH3Zo1VOVUPuVSHuUtZzmUH7mRFzmRD7mQB3nJSQ7kB9yAF3ACPsAFeABvAKlSsSY=",
);
// zstd -19 -c <big
const ZSTD_BIG = base64(
  "KLUv/QRobA4AKkQABwmw6yRJiHBSmHVtAGsAawB33L15w3222WWTPbbYYdemDfbVVldN9dRSR92aNdRHG1000UMLHXRp0kDfbHPNNM8sc8ydOcN8ssklkzyyyCFXpgzyxRZXTPHEEkfcmDHE161Xpz5devR2dujHjRcnPlx48HJy4Ldd07Mcdw4BB/ESJ3EgfsNteA2n4TNchsfwDudwGH7CTXgJJ+EjXISH8AqncBB+wS14BafgE1yCR/AGZ3AIfuVWXuVUPuVSHuUtZzmUH7mRFzmRD7mQB3nJSQ7kB9yAF3ACPsAFeAAvcAIH4HfbXTfdc0ud0SH6tVt7tVP7tEt7tLed7dB+7MZe7MQ+7MIe7GUnO7AfdINe0An6QBfoAb3QCR2g33E7Xsfp+ByX43G8x3kcjp9xM17GyfgYF+NhvMZpHIxfcStexan4FJfiUbzFWRyKH3EjXsSJ+BAXYt91u17X6fpcl+txvdd5Ha6fdbNe1sn6WBfrYb3WaR2sX3WrXtWp+lSX6lG91Vkdqh91o17UifpQF+pBvdRJHajfdJte02n6TJfpMb3TOR2mn3STXtJJ+kgX6SG90ikdpF90i17RKfpEl+gRvREBAELs7heRZypVAAAAAQCNU/P+uQYCCkVyWg==",
);
// xz 5.4: xz -c <small
const XZ = base64(
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AGPAKxdABgCgmi12UuzNxy2Ehcivi+KbkJqIZCQQja+OVAeRtuz8MdkANee8UY+JGMga3u0GF0CVZIx9JKUMWY+BPsn4sAt1pleJiruUg82s7HaSlzVTY3zx9LV2MEUFYXLMjQBIfqi8DOFLUItclOamLiedG2kLdNFi5DzAC9b6PqCCKS9GNL+Uodn4Jw8s8IwGXxy+tetp31Srs0xgF937xDNb+STwlEmUnjTlSCidAAA5hxDlRtO7/sAAcgBkAMAAEk+iLyxxGf7AgAAAAAEWVo=",
);
// xz -c <big
const XZ_BIG = base64(
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj41OPAWxdABgCgmi12UuzNxy2Ehcivi+KbkJqIZCQQja+OVAeRtuz8MdkANee8UY+JGMga3u0GF0CVZIx9JKUMWY+BPsn4sAt1pleJiruUg82s7HaSlzVTY3zx9LV2MEUFYXLMjQBIfqi8DOFLUItclOamLiedG2kLdNFi5DzAC9b6PqCCKS9GNL+Uodn4Jw8s8IwGXxy+tetp31Srs0xgF937xDNb+STwlEmUnjTlXr4+/wcEk80kfPCU/28N3hive5mBMwRjGYD57BRLV6O9kCza75+jXkTXtGzmiboOVsRWEdfl46dbvCMVIEuhdfwbziHcEX6ZqcyPGSH+5ZxzACMn8HELlyyLk+kxwu5t2MFuoWqiFg3PVA8vZnL/FLJCi0mosp4D2XtrEhGby9Kju3UawJBwBiwqtq7ogzZnL6SGEHq4i4Sp4FjMaBnHWdheFI6I6IsHLXFlQWUU8WXmOQc1P0GNzlwnqcjX+wfevcIAAAAce2no1gBglcAAYgDkKcNALTsz6KxxGf7AgAAAAAEWVo=",
);
// bzip2 1.0.8: bzip2 -c <small
const BZIP2 = base64(
  "QlpoOTFBWSZTWWxCyGUAAD/IAAAQf+AwAOMCKn6noPeqlCAaaaBp6qgTP/1VUv1Xmt87HosA7hgZmZ06fAODANhoGgbDAOD4B0sAigA5JX1SSSJX6l09YD7+t2ru1dtVVVVTwryA/b7VVVVs8KegPm7Cj2D3uwofA9bsKD+HndjAfTxuxgH5d2jAG7f4u5IpwoSDYhZDKA==",
);
// python3 -c "print('ab' * 130000, end='')" | bzip2 -1, three blocks
const BZIP2_BLOCKS = base64(
  "QlpoMTFBWSZTWfFLiycAYaMBADAAIAAwgCkZQlBaoSguYoKyTKayA328+ADDRgIAYABAAGEAUjVCUFlCUFzFBWSZTWbHwD3AAOqEBADAAIAAwgE1GKpJGKpJHF3JFOFCQd6OfFw=",
);
// python3 -c "print('a' * 1000 + 'b' * 4 + 'c' * 5 + 'd' * 259 + 'e' * 260)" after "aaaa": every length of run
const BZIP2_RUNS = base64(
  "QlpoOTFBWSZTWaFbpTYAAARBAeAQPgAACAAIIAAxADAbVNNNpqXjfoPUhkwkHtEO3RqV18XckU4UJChW6U2A",
);
// head -c 67108864 /dev/zero | bzip2 -9
const BZIP2_BOMB = base64(
  "QlpoOTFBWSZTWQ4J4t8BX45AAMAAAAggADCATUZCoCWpCoCXMUFZJlNZvAS1wwCidcAAwAAACCAAIKQINjKKiE0qKiE4u5IpwoSFALuD6A==",
);

/** A skippable frame, as zstd:chunked and pzstd write them. */
function skippable(payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50, 0);
  header.writeUInt32LE(payload.length, 4);
  return Buffer.concat([header, payload]);
}
const ZSTD_CHUNKED = Buffer.concat([
  skippable(Buffer.alloc(0)),
  ZSTD,
  ZSTD_BIG,
  skippable(ZSTD), // a table of contents is zstd itself, and must not come out
  skippable(Buffer.alloc(64, "GNUlInUx")),
]);

type Decoder = (input: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
const by =
  (kind: Compression): Decoder =>
  (input) =>
    decompress(kind, input, "layer");
/** Node has a zstd of its own from 22.15; the fallback is tested there too. */
const zstdByWasm: Decoder = (input) => unzstdByWasm(new CompressedInput("zstd", "layer", input));

interface Format {
  name: string;
  decode: Decoder;
  small: Buffer;
  /** Plain and compressed. */
  big: [Buffer, Buffer];
}
const FORMATS: Format[] = [
  { name: "gzip", decode: by("gzip"), small: GZIP, big: [BIG, zlib.gzipSync(BIG)] },
  { name: "zstd", decode: by("zstd"), small: ZSTD, big: [BIG, ZSTD_BIG] },
  { name: "zstd by WebAssembly", decode: zstdByWasm, small: ZSTD, big: [BIG, ZSTD_BIG] },
  { name: "xz", decode: by("xz"), small: XZ, big: [BIG, XZ_BIG] },
  { name: "bzip2", decode: by("bzip2"), small: BZIP2, big: [Buffer.alloc(260_000, "ab"), BZIP2_BLOCKS] },
];

/** Chunks of the given sizes, in turn, all in one buffer that is spoilt before the next: as a file is read. */
async function* chunksOf(bytes: Uint8Array, sizes: number[] = [1 << 20]): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(Math.min(Math.max(...sizes), bytes.length));
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const chunk = bytes.subarray(at, at + sizes[turn % sizes.length]!);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.length);
    buffer.fill(0xaa);
    at += chunk.length;
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

const run = (kind: Compression, ...parts: Uint8Array[]) => collect(by(kind)(chunksOf(Buffer.concat(parts))));

async function errorOf(result: Promise<unknown>): Promise<unknown> {
  try {
    await result;
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

const flipped = (bytes: Buffer, bit: number) => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
};

const isClean = (error: unknown) => error instanceof FormatError || error instanceof TruncatedError;

describe("sniffCompression", () => {
  test.each<[string, Buffer, Compression | null]>([
    ["gzip", GZIP, "gzip"],
    ["zstd", ZSTD, "zstd"],
    ["zstd after a skippable frame", ZSTD_CHUNKED, "zstd"],
    ["xz", XZ, "xz"],
    ["bzip2", BZIP2, "bzip2"],
    ["bzip2 of no level", Buffer.from("BZh0AY"), null],
    ["a tar", Buffer.from("etc/passwd"), null],
    ["nothing", Buffer.alloc(0), null],
    ["too little", Buffer.from([0x1f, 0x8b]), null],
    ["half a skippable frame's magic", Buffer.from([0x50, 0x2a]), null],
  ])("%s", (_name, bytes, expected) => {
    expect(sniffCompression(bytes.subarray(0, 6))).toBe(expected);
  });
});

describe.each(FORMATS)("$name", ({ decode, small, big: [bigPlain, big] }) => {
  test("gives back what went in, however the input is cut", async () => {
    const bytes = Buffer.concat([small, big, small]);
    const plain = Buffer.concat([SMALL, bigPlain, SMALL]);
    expect((await collect(decode(chunksOf(bytes)))).equals(plain)).toBe(true);
    expect((await collect(decode(chunksOf(bytes, [small.length])))).equals(plain)).toBe(true);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 9 }),
        async (sizes) => {
          expect((await collect(decode(chunksOf(bytes, sizes)))).equals(plain)).toBe(true);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("empty chunks are no end", async () => {
    async function* withGaps() {
      yield new Uint8Array(0);
      yield small.subarray(0, 20);
      yield new Uint8Array(0);
      yield small.subarray(20);
    }
    expect((await collect(decode(withGaps()))).equals(SMALL)).toBe(true);
  });

  test("cut off anywhere is an error that names label and offset", async () => {
    for (let length = 0; length < small.length; length++) {
      const error = await errorOf(collect(decode(chunksOf(small.subarray(0, length)))));
      expect(error, `${length} bytes`).toBeInstanceOf(TruncatedError);
      expect((error as Error).message).toMatch(new RegExp(`^layer: ends at byte ${length} of`));
    }
    for (let length = 1; length < small.length; length += 5) {
      const cut = Buffer.concat([small, small.subarray(0, length)]);
      expect(await errorOf(collect(decode(chunksOf(cut)))), `second of ${length} bytes`).toSatisfy(isClean);
    }
  });

  test("a flipped bit is an error or of no consequence", async () => {
    for (let bit = 0; bit < small.length * 8; bit += 7) {
      const outcome = await collect(decode(chunksOf(flipped(small, bit)))).catch((error) => error);
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(SMALL), `bit ${bit}`).toBe(true);
      else expect(outcome, `bit ${bit}: ${outcome}`).toSatisfy(isClean);
    }
  });

  test("noise behind a good start ends quickly", async () => {
    const noise = fc.uint8Array({ minLength: 1, maxLength: 4000 });
    await fc.assert(
      fc.asyncProperty(fc.nat(small.length), noise, async (kept, bytes) => {
        const input = Buffer.concat([small.subarray(0, kept), bytes]);
        const outcome = await collect(decode(chunksOf(input))).catch((error) => error);
        expect(Buffer.isBuffer(outcome) || isClean(outcome), String(outcome)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test("trailing garbage is an error, with its offset", async () => {
    const error = await errorOf(
      collect(decode(chunksOf(Buffer.concat([small, Buffer.alloc(40, "garbage")])))),
    );
    expect(error).toBeInstanceOf(FormatError);
    const { offset } = error as FormatError;
    // Node's gunzip says only which chunk failed.
    expect([0, small.length, small.length + 4, small.length + 12]).toContain(offset);
  });

  test("a consumer that stops early releases the input", async () => {
    let released = false;
    async function* endless() {
      try {
        for (;;) yield Uint8Array.from(big);
      } finally {
        released = true;
      }
    }
    for await (const chunk of decode(endless())) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    if (decode === zstdByWasm) return; // decompress() is what closes
    expect(released).toBe(true);
  });

  test("a slow consumer holds the input back", async () => {
    let asked = 0;
    async function* counted() {
      for (;;) {
        asked++;
        yield Uint8Array.from(big);
      }
    }
    const chunks = decode(counted())[Symbol.asyncIterator]();
    await chunks.next();
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ahead = (asked - before) * bigPlain.length;
    expect(ahead).toBeLessThanOrEqual(1 << 20);
    await chunks.return?.();
  });

  test("an error of the input comes through as it is", async () => {
    const failure = new SourceError("disk on fire");
    async function* failing() {
      yield small.subarray(0, 50);
      throw failure;
    }
    expect(await errorOf(collect(decode(failing())))).toBe(failure);
  });
});

describe("gzip", () => {
  test("thousands of members, empty ones among them", async () => {
    const members = Array.from({ length: 4000 }, (_, i) => zlib.gzipSync(i % 3 ? `member ${i}\n` : ""));
    const plain = Array.from({ length: 4000 }, (_, i) => (i % 3 ? `member ${i}\n` : "")).join("");
    expect((await run("gzip", ...members)).toString()).toBe(plain);
  });

  test("zero padding after the last member is no garbage", async () => {
    const padded = Buffer.concat([GZIP, Buffer.alloc(5000)]);
    expect((await run("gzip", padded)).equals(SMALL)).toBe(true);
    expect((await collect(by("gzip")(chunksOf(padded, [GZIP.length, 77])))).equals(SMALL)).toBe(true);
  });

  test("what follows the padding is", async () => {
    const bytes = Buffer.concat([GZIP, Buffer.alloc(5000), GZIP]);
    const error = await errorOf(collect(by("gzip")(chunksOf(bytes, [1000]))));
    expect(error).toMatchObject({ code: "format", format: "gzip", offset: GZIP.length + 5000 });
    expect((error as Error).message).toBe(
      `layer: bad gzip data near byte ${GZIP.length + 5000}: trailing garbage`,
    );
  });

  test("a wrong CRC or length is an error", async () => {
    for (const back of [8, 4]) {
      const wrong = flipped(GZIP, (GZIP.length - back) * 8);
      expect(await errorOf(run("gzip", GZIP, wrong))).toBeInstanceOf(FormatError);
    }
  });
});

describe("zstd", () => {
  for (const [name, decode] of [["zstd", by("zstd")] as const, ["WebAssembly", zstdByWasm] as const]) {
    test(`${name}: frames and skippable frames in any order`, async () => {
      const plain = Buffer.concat([SMALL, BIG]);
      expect((await collect(decode(chunksOf(ZSTD_CHUNKED)))).equals(plain)).toBe(true);
      expect((await collect(decode(chunksOf(ZSTD_CHUNKED, [1])))).equals(plain)).toBe(true);
      expect(await collect(decode(chunksOf(skippable(ZSTD))))).toHaveLength(0);
      const cut = ZSTD_CHUNKED.subarray(0, ZSTD_CHUNKED.length - 1);
      expect(await errorOf(collect(decode(chunksOf(cut))))).toBeInstanceOf(TruncatedError);
    });

    test(`${name}: content checksum`, async () => {
      const error = await errorOf(collect(decode(chunksOf(flipped(ZSTD, ZSTD.length * 8 - 1)))));
      expect(error).toBeInstanceOf(FormatError);
      expect((error as Error).message).toMatch(/checksum/);
    });

    test(`${name}: a bomb of RLE blocks streams through`, async () => {
      const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]); // window 128 KiB
      const block = Buffer.from([0x02, 0x00, 0x10, 0x00]); // 128 KiB of zeros
      const last = Buffer.from([0x03, 0x00, 0x10, 0x00]);
      const bomb = Buffer.concat([header, ...Array(2047).fill(block), last]);
      await expectBounded(decode(chunksOf(bomb)), 256 << 20);
    });
  }

  test.each<[string, number[], RegExp]>([
    ["window of 2 GiB", [0x00, 21 << 3], /window of 2147483648 bytes/],
    ["window just over the limit", [0x00, (17 << 3) | 1], /window/],
    ["single segment of 16 EiB", [0xe0, ...Array(8).fill(0xff)], /window/],
    ["dictionary", [0x21, 7, 10], /dictionary/],
    ["reserved bit", [0x28, 0], /reserved/],
    ["reserved block type", [0x00, 0, 0x07, 0, 0], /block/],
    ["block over 128 KiB", [0x00, 0x50, 0xfc, 0xff, 0xff], /block/],
  ])("%s is refused", async (_name, bytes, message) => {
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...bytes, ...Array(20).fill(0)]);
    const error = await errorOf(run("zstd", frame));
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(message);
  });

  test.runIf("zstdCompressSync" in zlib)("what Node compresses", async () => {
    const { zstdCompressSync } = zlib as unknown as { zstdCompressSync(bytes: Uint8Array): Buffer };
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 5000 }),
        fc.integer({ min: 1, max: 400 }),
        async (part, times) => {
          const plain = Buffer.concat(Array(times).fill(part));
          const frames = Buffer.concat([zstdCompressSync(plain), zstdCompressSync(plain)]);
          const expected = Buffer.concat([plain, plain]);
          for (const decode of [by("zstd"), zstdByWasm]) {
            expect((await collect(decode(chunksOf(frames, [1000, 70_000])))).equals(expected)).toBe(true);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe("xz", () => {
  test("streams with padding between and after", async () => {
    const plain = Buffer.concat([SMALL, SMALL]);
    expect((await run("xz", XZ, Buffer.alloc(8), XZ, Buffer.alloc(4))).equals(plain)).toBe(true);
    expect(await errorOf(run("xz", XZ, Buffer.alloc(3)))).toSatisfy(isClean);
    expect(await errorOf(run("xz", XZ, Buffer.alloc(3), XZ))).toBeInstanceOf(FormatError);
  });

  test("what is not supported is refused by name", async () => {
    // xz --check=sha256, xz --lzma2=dict=192MiB and xz --x86 --lzma2: their headers
    const sha256 = base64("/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4AGPAKxd");
    const largeDictionary = base64("/Td6WFoAAATm1rRGAgAhAR8AAAD+YO3e4AGPAKxd");
    const branchFilter = base64("/Td6WFoAAATm1rRGAgEEACEBFgANhjUf4AGPAKxd");
    expect(await errorOf(run("xz", sha256))).toMatchObject({
      message: expect.stringMatching(/check or filter/),
    });
    expect(await errorOf(run("xz", largeDictionary))).toMatchObject({
      message: expect.stringMatching(/64 MiB/),
    });
    expect(await errorOf(run("xz", branchFilter))).toMatchObject({
      message: expect.stringMatching(/filter/),
    });
  });
});

describe("bzip2", () => {
  test("several blocks", async () => {
    expect((await run("bzip2", BZIP2_BLOCKS, BZIP2_BLOCKS)).equals(Buffer.alloc(520_000, "ab"))).toBe(true);
  });

  test("runs of every kind", async () => {
    const runs = [
      ["a", 1004],
      ["b", 4],
      ["c", 5],
      ["d", 259],
      ["e", 260],
    ] as const;
    const plain = runs.map(([letter, count]) => letter.repeat(count)).join("");
    expect((await run("bzip2", BZIP2_RUNS)).toString()).toBe(`${plain}\n`);
  });

  test("a bomb streams through", async () => {
    await expectBounded(by("bzip2")(chunksOf(BZIP2_BOMB)), 64 << 20, 60 << 20);
  });

  test("many empty streams cost no more than their bytes", async () => {
    const empty = Buffer.from("425a683917724538509000000000", "hex");
    const started = performance.now();
    expect(await run("bzip2", Buffer.concat(Array(100_000).fill(empty)))).toHaveLength(0);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("code lengths that waver for ever are refused", async () => {
    const fields: [value: number, bitCount: number][] = [
      [0x425a6839, 32],
      [0x314159265359, 48],
      [0, 32 + 1 + 24], // CRC, randomised, origin
      [0x80008000, 32], // one byte value
      [2, 3], // code tables
      [1, 15], // selectors
      [0, 1],
      [5, 5], // the first code length
    ];
    const header = fields.map(([value, bitCount]) => value.toString(2).padStart(bitCount, "0")).join("");
    const bytes = `${header}${"1011".repeat(4)}`.match(/.{8}/g)!.map((bits) => Number.parseInt(bits, 2));
    const error = await errorOf(run("bzip2", Buffer.from(bytes), Buffer.alloc(5 << 20, bytes.at(-1))));
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(/too long/);
  });
});

test("a gzip bomb streams through in bounded memory", async () => {
  const member = zlib.gzipSync(Buffer.alloc(32 << 20));
  await expectBounded(by("gzip")(chunksOf(Buffer.concat(Array(8).fill(member)))), 256 << 20, 60 << 20);
});

/**
 * Reads `length` zero bytes while the process grows by far less than that: mostly chunks not yet collected, of
 * which V8 lets some 64 MiB gather where nothing is awaited in between.
 */
async function expectBounded(
  chunks: AsyncIterable<Uint8Array>,
  length: number,
  growth = 120 << 20,
): Promise<void> {
  const before = process.memoryUsage.rss();
  let peak = before;
  let total = 0;
  for await (const chunk of chunks) {
    total += chunk.length;
    if (chunk[0] !== 0 || chunk.at(-1) !== 0) throw new Error("not zero");
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  expect(total).toBe(length);
  expect(peak - before).toBeLessThan(growth);
}
