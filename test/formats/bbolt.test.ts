import { readdir, readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ByteSource, bufferSource } from "../../src/bytes/source.ts";
import { FormatError, InterruptedError } from "../../src/errors.ts";
import { type Bolt, type Bucket, openBolt } from "../../src/formats/bbolt.ts";
import { parseGoTime, parseUvarint, parseVarint, readUvarint } from "../../src/formats/go-encoding.ts";
import { type BoltKey, type BoltTree, sealMeta, sorted, writeBolt } from "../helpers/bbolt-writer.ts";

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString("latin1"));

/** A database that must be sound. */
async function open(bytes: Uint8Array): Promise<Bolt> {
  const { bolt, said } = await openDamaged(bytes);
  expect(said).toEqual([]);
  expect(bolt).toMatchObject({ state: "current", unreadable: 0 });
  return bolt;
}

async function openDamaged(bytes: Uint8Array): Promise<{ bolt: Bolt; said: string[] }> {
  const said: string[] = [];
  return { bolt: await openBolt(bufferSource("test.db", bytes), (message) => said.push(message)), said };
}

type Read = [string | null, string | null | Read][];

async function readTree(bucket: Bucket): Promise<Read> {
  const entries: Read = [];
  for await (const { key, value } of bucket.entries()) {
    entries.push([text(key), value === null ? await readTree((await bucket.bucket(key))!) : text(value)]);
  }
  return entries;
}

async function keysOf(bucket: Bucket | null): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of bucket!.entries()) keys.push(text(key)!);
  return keys;
}

function asRead(tree: BoltTree): Read {
  return tree.map(([key, value]) => [
    text(Buffer.from(key)),
    Array.isArray(value) ? asRead(value) : text(Buffer.from(value as BoltKey)),
  ]);
}

function numbered(count: number, value = "value"): BoltTree {
  return Array.from({ length: count }, (_, i) => [`key ${String(i).padStart(6, "0")}`, `${value} ${i}`]);
}

/** Offsets of the pages with these flags: 1 branch, 2 leaf, 4 meta, 0x10 free list. */
function pagesWith(flags: number, bytes: Buffer, pageSize = 4096): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at + 12) + 1) * pageSize) {
    if (bytes.readUInt16LE(at + 8) === flags) offsets.push(at);
  }
  return offsets;
}

describe("a sound database", () => {
  test("values, buckets, buckets in buckets", async () => {
    const tree: BoltTree = [
      ["a", "1"],
      ["empty", ""],
      ["none", []],
      [
        "v1",
        [
          ["default", [["images", [["app:1", [["size", "340"]]]]]]],
          ["version", Uint8Array.of(8)],
        ],
      ],
    ];
    for (const inline of [true, false]) {
      const { root, txid, pageSize } = await open(writeBolt(tree, { inline, txid: 41n }));
      expect(await readTree(root)).toEqual(asRead(tree));
      expect({ txid, pageSize }).toEqual({ txid: 41n, pageSize: 4096 });
      expect(text(await root.get("a"))).toBe("1");
      expect(text(await root.get(Buffer.from("empty")))).toBe("");
      expect(await root.get("v1")).toBeNull(); // a bucket
      expect(await root.bucket("a")).toBeNull(); // a value
      expect(await root.get("b")).toBeNull();
      expect(await root.get("")).toBeNull();
      expect(await keysOf(await root.bucket("none"))).toEqual([]);
      const app = await root.path("v1", "default", "images", "app:1");
      expect(text(await app!.get("size"))).toBe("340");
      expect(await root.path("v1", "other", "images")).toBeNull();
      expect(await readTree((await root.path())!)).toEqual(asRead(tree));
    }
  });

  test("an empty one", async () => {
    const bolt = await open(writeBolt([]));
    expect(await readTree(bolt.root)).toEqual([]);
    expect(await bolt.root.get("a")).toBeNull();
  });

  test("a deep tree finds every key and no other", async () => {
    const { root } = await open(writeBolt(numbered(300), { fanOut: 3 }));
    for (let i = 0; i < 300; i++) {
      const key = `key ${String(i).padStart(6, "0")}`;
      expect(text(await root.get(key))).toBe(`value ${i}`);
      expect(await root.get(`${key}x`)).toBeNull();
    }
    expect(await root.get("a")).toBeNull();
    expect(await root.get("z")).toBeNull();
    expect(await keysOf(root)).toHaveLength(300);
  });

  test("values over many pages, and one that fills its page to the byte", async () => {
    const long = Buffer.alloc(1_000_000, "long");
    const full = Buffer.alloc(4096 - 16 - 16 - 1, "f");
    for (const tree of [
      [
        ["a", long],
        ["b", "short"],
      ],
      [["a", full]],
      [["a", full.subarray(1)]],
    ] satisfies BoltTree[]) {
      const bolt = await open(writeBolt(tree, { storeFreelist: false, freePages: 3 }));
      expect(await readTree(bolt.root)).toEqual(asRead(tree));
      expect(await bolt.freePages()).toEqual({ pageCount: 3, bytes: 3 * 4096, derived: true });
    }
  });

  test("what is handed out is a copy", async () => {
    const { root } = await open(writeBolt([["a", "1"]]));
    (await root.get("a"))!.fill(0x39);
    for await (const entry of root.entries()) entry.value!.fill(0x39);
    expect(text(await root.get("a"))).toBe("1");
  });

  test.each([512, 1024, 4096, 16_384, 65_536])("pages of %i bytes", async (pageSize) => {
    const tree = numbered(500);
    const bolt = await open(writeBolt(tree, { pageSize, freePages: 2 }));
    expect(bolt.pageSize).toBe(pageSize);
    expect(await readTree(bolt.root)).toEqual(asRead(tree));
    expect(await bolt.freePages()).toEqual({ pageCount: 2, bytes: 2 * pageSize, derived: false });
  });

  test("a free list longer than 16 bits count", async () => {
    const bolt = await open(writeBolt([], { pageSize: 512, freePages: 70_000 }));
    expect(await bolt.freePages()).toMatchObject({ pageCount: 70_000, derived: false });
  });

  test("free pages that the file does not hold are not counted", async () => {
    const bytes = writeBolt([["a", "1"]], { freePages: 5 });
    // Pages 2 to 6 are free; the root is 7. A last page of zeros is beyond the high-water mark.
    const bolt = await open(Buffer.concat([bytes, Buffer.alloc(4096)]));
    expect(await bolt.freePages()).toEqual({ pageCount: 5, bytes: 20_480, derived: false });
  });
});

describe("metas", () => {
  const old: BoltTree = [["a", "old"]];
  const both = (txid: bigint) => writeBolt([["a", "new"]], { txid, previous: old });

  test.each([8n, 9n])("the newer of two is read, whichever page it is on: %i", async (txid) => {
    const bolt = await open(both(txid));
    expect(bolt.txid).toBe(txid);
    expect(text(await bolt.root.get("a"))).toBe("new");
  });

  test("a torn one leaves the other, and is told", async () => {
    for (const [page, value] of [
      [0, "old"],
      [1, "new"],
    ] as const) {
      const bytes = both(9n);
      bytes[page * 4096 + 70]! ^= 1;
      const { bolt, said } = await openDamaged(bytes);
      expect(bolt).toMatchObject({ state: "current", unreadable: 0, txid: page === 0 ? 9n : 8n });
      expect(text(await bolt.root.get("a"))).toBe(page === 0 ? "new" : "old");
      expect(value).toBe(page === 0 ? "old" : "new");
      expect(said).toEqual([expect.stringMatching(/^one of the two meta pages is unusable.*checksum/)]);
    }
  });

  test.each([1024, 4096, 65_536])("the page size is found without the first meta: %i", async (pageSize) => {
    const bytes = writeBolt(numbered(50), { pageSize, txid: 3n });
    bytes.fill(0, 0, 512);
    const { bolt } = await openDamaged(bytes);
    expect(bolt.pageSize).toBe(pageSize);
    expect(await keysOf(bolt.root)).toHaveLength(50);
  });

  test.each<[string, RegExp, (bytes: Buffer) => Buffer]>([
    ["nothing", /the file ends before/, () => Buffer.alloc(0)],
    ["a short file", /the file ends before/, (bytes) => bytes.subarray(0, 79)],
    ["something else", /no bbolt meta page/, () => Buffer.alloc(10_000, "text ")],
    ["the other byte order", /big-endian/, (bytes) => swapMagic(swapMagic(bytes, 0), 4096)],
    ["the other byte order, first meta lost", /big-endian/, (bytes) => swapMagic(bytes.fill(0, 0, 96), 4096)],
    ["a later version", /version 3/, (bytes) => setMetas(bytes, (page) => page.writeUInt32LE(3, 20))],
    ["an odd page size", /pages of 5000/, (bytes) => setMetas(bytes, (page) => page.writeUInt32LE(5000, 24))],
    [
      "a root that is a meta",
      /a meta page/,
      (bytes) => setMetas(bytes, (page) => page.writeBigUInt64LE(1n, 32)),
    ],
    [
      "a root beyond 2^53",
      /never written/,
      (bytes) => setMetas(bytes, (page) => page.writeBigUInt64LE(2n ** 63n, 32)),
    ],
  ])("refused: %s", async (_, message, change) => {
    await expect(openDamaged(change(both(2n)))).rejects.toThrow(message);
    await expect(openDamaged(change(both(2n)))).rejects.toThrow(FormatError);
  });

  function swapMagic(bytes: Buffer, at: number): Buffer {
    bytes.subarray(at + 16, at + 20).reverse();
    return bytes;
  }

  function setMetas(bytes: Buffer, set: (page: Buffer) => void): Buffer {
    for (const page of [bytes.subarray(0, 4096), bytes.subarray(4096, 8192)]) {
      set(page);
      sealMeta(page);
    }
    return bytes;
  }
});

describe("a damaged tree", () => {
  test("falls back to the transaction before, as a whole", async () => {
    const bytes = writeBolt(numbered(500, "new"), { previous: numbered(400, "old"), txid: 7n });
    const newest = pagesWith(2, bytes).at(-1)!;
    bytes.fill(0, newest, newest + 4096);
    const { bolt, said } = await openDamaged(bytes);
    expect(bolt).toMatchObject({ state: "previous transaction", txid: 6n, unreadable: 0 });
    expect(await readTree(bolt.root)).toEqual(asRead(numbered(400, "old")));
    expect(said).toEqual([
      expect.stringMatching(
        /^transaction 7 is damaged \(page \d+ says it is page 0 .*transaction 6 before it/,
      ),
    ]);
  });

  test("a page that both trees share is no reason to go back", async () => {
    const bytes = writeBolt(numbered(500));
    const leaf = pagesWith(2, bytes)[1]!;
    bytes.fill(0, leaf, leaf + 4096);
    const { bolt, said } = await openDamaged(bytes);
    expect(bolt).toMatchObject({ state: "current", txid: 2n, unreadable: 1 });
    const keys = await keysOf(bolt.root);
    expect(keys.length).toBeGreaterThan(300);
    expect(keys.length).toBeLessThan(500);
    expect(said).toEqual([expect.stringMatching(/^page \d+ says it is page 0 at byte \d+$/)]);
    for (const [key] of numbered(500))
      expect((await bolt.root.get(key)) !== null).toBe(keys.includes(key as string));
  });

  test("of two damaged trees the one with more in it is read", async () => {
    const bytes = writeBolt(numbered(500, "new"), { previous: numbered(500, "old") });
    const [oldRoot, newRoot] = pagesWith(1, bytes);
    bytes.fill(0, newRoot!, newRoot! + 4096);
    const oldLeaf = pagesWith(2, bytes)[0]!;
    expect(oldLeaf).toBeLessThan(oldRoot!);
    bytes.fill(0, oldLeaf, oldLeaf + 4096);
    const { bolt, said } = await openDamaged(bytes);
    expect(bolt).toMatchObject({ state: "previous transaction", unreadable: 1 });
    expect(said).toHaveLength(2);
  });

  test("a root that is gone in both is an error", async () => {
    const bytes = writeBolt(numbered(500));
    const root = pagesWith(1, bytes)[0]!;
    bytes.fill(0, root, root + 4096);
    await expect(openDamaged(bytes)).rejects.toThrow(/says it is page 0/);
  });

  test("a file that is cut off gives the rest", async () => {
    const bytes = writeBolt([["first", numbered(500)], ...numbered(500)], { storeFreelist: false });
    const branch = pagesWith(1, bytes).at(-1)!;
    // The root last: put it first instead, where a real database may well have it.
    const spare = writeBolt([["first", numbered(500)], ...numbered(500)], {
      freePages: 1,
      storeFreelist: false,
    });
    const root = pagesWith(1, spare).at(-1)!;
    expect(root).toBe(branch + 4096);
    spare.copy(spare, 8192, root, root + 4096);
    spare.writeBigUInt64LE(2n, 8192);
    for (const page of [spare.subarray(0, 4096), spare.subarray(4096, 8192)]) {
      page.writeBigUInt64LE(2n, 32);
      sealMeta(page);
    }
    const { bolt, said } = await openDamaged(spare.subarray(0, root - 8000));
    expect(bolt.unreadable).toBe(2); // a page and a part of one
    expect(said[0]).toMatch(/is cut off: the file ends at byte/);
    const keys = await keysOf(bolt.root);
    expect(keys.length).toBeGreaterThan(100);
    expect(keys.length).toBeLessThan(501);
    expect(await keysOf(await bolt.root.bucket("first"))).toHaveLength(500);
    expect((await bolt.freePages()).derived).toBe(true);
  });

  test("keys out of order and equal keys are still found, and told", async () => {
    const tree: BoltTree = [
      ["b", "1"],
      ["a", "2"],
      ["a", "3"],
      ["c", [["x", "4"]]],
    ];
    const { bolt, said } = await openDamaged(writeBolt(tree));
    expect(await readTree(bolt.root)).toEqual(asRead(tree));
    expect(text(await bolt.root.get("a"))).toBe("2");
    expect(text(await bolt.root.get("b"))).toBe("1");
    expect(text(await (await bolt.root.bucket("c"))!.get("x"))).toBe("4");
    expect(await bolt.root.get("d")).toBeNull();
    expect(said).toEqual([expect.stringMatching(/^keys out of order/)]);
  });

  test("pages that lead back to one another end", async () => {
    const bytes = writeBolt(numbered(300), { fanOut: 3 });
    const branches = pagesWith(1, bytes);
    // Every branch leads to the root in its first element and to the next branch in its second: 2^n ways down.
    const root = branches.at(-1)!;
    for (const [i, at] of branches.entries()) {
      bytes.writeBigUInt64LE(BigInt(root / 4096), at + 16 + 8);
      bytes.writeBigUInt64LE(BigInt((branches[i + 1] ?? branches[0]!) / 4096), at + 32 + 8);
    }
    const { bolt, said } = await openDamaged(bytes);
    expect((await keysOf(bolt.root)).length).toBeLessThan(301);
    expect(said[0]).toMatch(/used twice|too deep/);
    expect(said.length).toBeLessThan(10);
  });

  test("a bucket that leads nowhere is empty", async () => {
    const bytes = writeBolt(
      [
        ["a", numbered(5)],
        ["b", "1"],
      ],
      { inline: false, storeFreelist: false },
    );
    const inner = pagesWith(2, bytes)[0]!;
    bytes.writeUInt16LE(4, inner + 8);
    const { bolt, said } = await openDamaged(bytes);
    expect(await readTree(bolt.root)).toEqual([
      ["a", []],
      ["b", "1"],
    ]);
    expect(said).toEqual([expect.stringMatching(/is neither branch nor leaf/)]);
  });

  test("a bucket inside an inline one, and an inline one that is cut off", async () => {
    for (const [change, message] of [
      [(value: Buffer) => value.writeUInt32LE(1, 32), /within an inline bucket/],
      [(value: Buffer) => value.writeUInt16LE(400, 26), /is no leaf page/],
      [(value: Buffer) => value.writeUInt32LE(70, 40), /leads out of its page/],
    ] as const) {
      const bytes = writeBolt([
        ["a", [["inner", "1"]]],
        ["b", "1"],
      ]);
      const key = bytes.indexOf("ainner".slice(0, 1), 8192 + 48, "latin1");
      change(bytes.subarray(key + 1));
      const { bolt, said } = await openDamaged(bytes);
      expect(await readTree(bolt.root)).toEqual([
        ["a", []],
        ["b", "1"],
      ]);
      expect(said).toEqual([expect.stringMatching(message)]);
    }
  });

  test.each<[string, RegExp, (page: Buffer) => void]>([
    ["two flags", /neither branch nor leaf/, (page) => page.writeUInt16LE(3, 8)],
    ["too many elements", /more elements than room/, (page) => page.writeUInt16LE(400, 10)],
    ["an overflow over the end", /runs over the end/, (page) => page.writeUInt32LE(0xffff_ffff, 12)],
    ["a key before the elements' end", /leads out/, (page) => page.writeUInt32LE(4, 20)],
    ["a value over the page", /leads out/, (page) => page.writeUInt32LE(0xffff_ffff, 28)],
    ["a key too long", /leads out/, (page) => page.writeUInt32LE(40_000, 24)],
    ["an element of no kind", /unknown kind/, (page) => page.writeUInt32LE(2, 16)],
  ])("a page with %s", async (_, message, change) => {
    const bytes = writeBolt([
      ["a", numbered(200)],
      ["b", "1"],
    ]);
    change(bytes.subarray(pagesWith(2, bytes)[0]!));
    const { bolt, said } = await openDamaged(bytes);
    expect(said).toEqual([expect.stringMatching(message)]);
    expect(text(await bolt.root.get("b"))).toBe("1");
  });

  test("a damaged free list is told, and free pages are counted by what is used", async () => {
    const bytes = writeBolt([["a", "1"]], { freePages: 5 });
    const freelist = pagesWith(0x10, bytes)[0]!;
    bytes.writeUInt16LE(600, freelist + 10);
    const { bolt, said } = await openDamaged(bytes);
    expect(await bolt.freePages()).toEqual({ pageCount: 6, bytes: 6 * 4096, derived: true });
    expect(said).toEqual([expect.stringMatching(/^the list of free pages is damaged/)]);
  });
});

describe("a database that is written to", () => {
  /** Gives `versions` one after another: the next one after every `reads` reads. */
  function changing(versions: readonly Buffer[], reads: number): ByteSource {
    let count = 0;
    const source = bufferSource("live.db", versions[0]!);
    return {
      ...source,
      read: async (offset, length) => {
        const version = versions[Math.min(versions.length - 1, Math.floor(count++ / reads))]!;
        return version.subarray(offset, offset + length);
      },
    };
  }

  test("is read again until it holds still", async () => {
    const said: string[] = [];
    const versions = [5n, 6n].map((txid) => writeBolt([["a", String(txid)]], { txid }));
    const bolt = await openBolt(changing(versions, 2), (message) => said.push(message));
    expect(said).toEqual([]);
    expect(bolt.txid).toBe(6n);
    expect(text(await bolt.root.get("a"))).toBe("6");
    expect(await bolt.hasChanged()).toBe(false);
  });

  test("is read as it is when it never does, and that is told", async () => {
    const said: string[] = [];
    const versions = Array.from({ length: 20 }, (_, i) => writeBolt([["a", "1"]], { txid: BigInt(i + 2) }));
    await openBolt(changing(versions, 2), (message) => said.push(message));
    expect(said).toEqual([expect.stringMatching(/^it is being written to/)]);
  });

  test("tells a later transaction", async () => {
    const bytes = writeBolt([["a", "1"]], { txid: 5n });
    const { bolt } = await openDamaged(bytes);
    expect(await bolt.hasChanged()).toBe(false);
    writeBolt([["a", "2"]], { txid: 6n }).copy(bytes);
    expect(await bolt.hasChanged()).toBe(true);
  });

  test("a page that went bad since is an error, not an answer", async () => {
    const bytes = writeBolt(numbered(200_000));
    const { bolt } = await openDamaged(bytes);
    bytes.fill(0, 8192, 12_288); // long gone from the cache
    await expect(bolt.root.get("key 000000")).rejects.toThrow(FormatError);
  });

  test("stops when told to", async () => {
    const opening = openBolt(bufferSource("x", writeBolt([])), () => {}, AbortSignal.abort());
    await expect(opening).rejects.toThrow(InterruptedError);
  });
});

describe("properties", () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 40 });
  const value = fc.oneof(
    { weight: 9, arbitrary: fc.uint8Array({ maxLength: 60 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 9000 }).map((length) => Buffer.alloc(length, "v")) },
  );
  const { tree } = fc.letrec<{ tree: BoltTree }>((tie) => ({
    tree: fc.uniqueArray(
      fc.tuple(key, fc.oneof({ maxDepth: 3, withCrossShrink: true }, value, tie("tree"))),
      {
        maxLength: 30,
        selector: ([one]) => text(one),
      },
    ),
  }));
  const options = fc.record({
    pageSize: fc.constantFrom(512, 1024, 4096),
    fanOut: fc.integer({ min: 2, max: 20 }),
    inline: fc.boolean(),
    storeFreelist: fc.boolean(),
    freePages: fc.integer({ min: 0, max: 5 }),
    txid: fc.bigInt({ min: 2n, max: 2n ** 63n }),
  });

  test("what is written is read", async () => {
    await fc.assert(
      fc.asyncProperty(tree, options, async (unsorted, how) => {
        const written = sorted(unsorted);
        const bolt = await open(writeBolt(written, how));
        expect(await readTree(bolt.root)).toEqual(asRead(written));
        for (const [one, stored] of written) {
          const found = await bolt.root.get(one);
          expect(text(found)).toBe(Array.isArray(stored) ? null : text(Buffer.from(stored as BoltKey)));
        }
        expect(await bolt.freePages()).toMatchObject({
          pageCount: how.freePages,
          derived: !how.storeFreelist,
        });
      }),
      { numRuns: 200 },
    );
  });

  const anywhere = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  const changes = fc.array(fc.tuple(anywhere, fc.integer({ min: 1, max: 255 })), { maxLength: 8 });
  const sample = writeBolt(
    [
      ["a", numbered(40)],
      [
        "b",
        [
          ["c", numbered(9)],
          ["d", Buffer.alloc(3000)],
        ],
      ],
      ...numbered(60),
    ],
    { pageSize: 512, fanOut: 6, previous: numbered(90), freePages: 4 },
  );

  test("any change and any cut gives values or a FormatError, soon", async () => {
    const real = await readReal("containerd-snapshotter");
    const metas = fc.array(fc.tuple(fc.integer({ min: 16, max: 71 }), fc.integer({ min: 1, max: 255 })), {
      maxLength: 2,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(sample, real),
        changes,
        metas,
        fc.option(anywhere),
        async (original, changed, metaChanges, cut) => {
          const bytes = Buffer.from(original);
          for (const [place, by] of changed) bytes[Math.floor(place * bytes.length)]! ^= by;
          if (metaChanges.length > 0) changeMetas(bytes, original === sample ? 512 : 4096, metaChanges);
          await survives(cut === null ? bytes : bytes.subarray(0, Math.floor(cut * bytes.length)));
        },
      ),
      { numRuns: 1500 },
    );
  });

  /** With checksums that fit, as an attacker would. */
  function changeMetas(bytes: Buffer, pageSize: number, all: readonly [number, number][]): void {
    for (const page of [bytes.subarray(0, pageSize), bytes.subarray(pageSize, 2 * pageSize)]) {
      for (const [at, by] of all) page[at]! ^= by;
      sealMeta(page);
    }
  }

  test("every single byte of a small database", async () => {
    const small = writeBolt(
      [
        ["a", [["b", "1"]]],
        ["c", numbered(20)],
      ],
      { pageSize: 512, fanOut: 8, inline: true },
    );
    for (let at = 0; at < small.length; at++) {
      for (const by of [0x01, 0x80]) {
        const bytes = Buffer.from(small);
        bytes[at]! ^= by;
        await survives(bytes);
      }
    }
  });

  /** Reads all there is, in every way there is. */
  async function survives(bytes: Uint8Array): Promise<void> {
    const started = performance.now();
    let entries = 0;
    const walk = async (bucket: Bucket): Promise<void> => {
      for await (const { key, value } of bucket.entries()) {
        entries++;
        if (value === null) await walk((await bucket.bucket(key))!);
        else expect(await bucket.get(key)).not.toBeNull();
      }
    };
    try {
      const said: string[] = [];
      const bolt = await openBolt(bufferSource("bad.db", bytes), (message) => said.push(message));
      await walk(bolt.root).catch((error: unknown) => {
        throw new Error("a tree that was checked cannot be read", { cause: error });
      });
      const { pageCount } = await bolt.freePages();
      expect(pageCount * bolt.pageSize).toBeLessThanOrEqual(bytes.length);
      expect(said.length).toBeLessThan(20);
      if (bolt.unreadable > 0) expect(said).not.toEqual([]);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
    }
    expect(entries).toBeLessThanOrEqual(bytes.length / 16);
    expect(performance.now() - started).toBeLessThan(2000);
  }
});

const FIXTURES = "fixtures/bbolt";

async function readReal(name: string): Promise<Buffer> {
  return gunzipSync(await readFile(`${FIXTURES}/${name}.db.gz`));
}

describe("databases of real engines", () => {
  /** The rows that `ctr` printed for a command, without its header. */
  async function ctr(command: string, file = "containerd.oracle.txt"): Promise<string[][]> {
    const all = await readFile(`${FIXTURES}/${file}`, "utf8");
    const start = all.indexOf(`$ ctr ${command}\n`);
    expect(start).toBeGreaterThanOrEqual(0);
    const [, , ...rows] = all.slice(start).split("\n$ ")[0]!.trim().split("\n");
    return rows.map((row) => row.trim().split(/\s+/));
  }

  const firstColumn = (rows: readonly string[][]) => rows.map(([name]) => name!).sort();

  test("all of them are whole, and their free list is what their trees leave over", async () => {
    const names = (await readdir(FIXTURES)).filter((name) => name.endsWith(".db.gz"));
    expect(names.length).toBeGreaterThan(7);
    for (const name of names) {
      const bytes = await readReal(name.slice(0, -".db.gz".length));
      const bolt = await open(bytes);
      expect((await readTree(bolt.root)).length).toBeGreaterThan(0);
      const listed = await bolt.freePages();
      expect(listed.derived).toBe(false);
      for (const page of [bytes.subarray(0, 4096), bytes.subarray(4096, 8192)]) {
        page.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 48);
        sealMeta(page);
      }
      // One page more: that of the free list itself.
      const derived = await (await open(bytes)).freePages();
      expect(derived).toMatchObject({ pageCount: listed.pageCount + 1, derived: true });
    }
  });

  test.each(["moby", "k8s.io"])("containerd's metadata, namespace %s", async (namespace) => {
    const { root } = await open(await readReal("containerd-meta"));
    expect(parseVarint((await (await root.bucket("v1"))!.get("version"))!)).toBe(3);
    const space = await root.path("v1", namespace);
    const rowsOf = (what: string) => ctr(`-n ${namespace} ${what}`);
    const keys = async (...path: string[]) => {
      const bucket = await space!.path(...path);
      return bucket === null ? [] : await keysOf(bucket);
    };
    expect(await keys("images")).toEqual(firstColumn(await rowsOf("images ls")));
    expect(await keys("content", "blob")).toEqual(firstColumn(await rowsOf("content ls")));
    expect(await keys("snapshots", "overlayfs")).toEqual(firstColumn(await rowsOf("snapshots ls")));
    expect(await keys("leases")).toEqual(firstColumn(await rowsOf("leases ls")));
    expect(await keys("containers")).toEqual(firstColumn(await rowsOf("containers ls")));
    for (const [name, type, digest] of await rowsOf("images ls")) {
      const target = await space!.path("images", name!, "target");
      expect([text(await target!.get("mediatype")), text(await target!.get("digest"))]).toEqual([
        type,
        digest,
      ]);
    }
    for (const [id, created] of await rowsOf("leases ls")) {
      const at = parseGoTime((await (await space!.path("leases", id!))!.get("createdat"))!);
      expect(new Date(at!.unixMs).toISOString().replace(/\.\d+Z$/, "Z")).toBe(created);
    }
    const sizes: Record<string, number> = {
      "5.632kB": 5632,
      "4.096kB": 4096,
      "2.048kB": 2048,
      "1.273kB": 1273,
    };
    for (const [digest, size] of await rowsOf("content ls")) {
      const blob = await space!.path("content", "blob", digest!);
      if (size! in sizes) expect(parseVarint((await blob!.get("size"))!)).toBe(sizes[size!]);
    }
  });

  test("a bucket over many leaves, after deletions", async () => {
    const { root } = await open(await readReal("containerd-many-leases"));
    const leases = await root.path("v1", "many", "leases");
    const listed = await ctr("-n many leases ls", "containerd-many-leases.oracle.txt");
    expect(listed).toHaveLength(200);
    expect(await keysOf(leases)).toEqual(firstColumn(listed));
    for (const [id, , labels] of listed) {
      const bucket = await leases!.path(id!, "labels");
      const found = await readTree(bucket!);
      expect(found.map(([name, value]) => `${name}=${value}`).join(",")).toBe(
        labels!.split(",").sort().join(","),
      );
    }
    expect(await leases!.bucket("lease-001")).toBeNull();
  });

  test("containerd's snapshots", async () => {
    const { root } = await open(await readReal("containerd-snapshotter"));
    const snapshots = await root.path("v1", "snapshots");
    const ids = new Map<string, number>();
    const kinds = ["", "View", "Active", "Committed"];
    const listed = [];
    for await (const { key } of snapshots!.entries()) {
      const snapshot = await snapshots!.bucket(key);
      ids.set(text(key)!, parseUvarint((await snapshot!.get("id"))!));
      const [namespace, , name] = text(key)!.split("/");
      const size = await snapshot!.get("size");
      const inodes = await snapshot!.get("inodes");
      listed.push({
        namespace,
        name,
        kind: kinds[(await snapshot!.get("kind"))![0]!],
        usage: size && inodes && [parseVarint(size), parseVarint(inodes)].map(String),
      });
    }
    for (const namespace of ["moby", "k8s.io"]) {
      const own = listed.filter((one) => one.namespace === namespace);
      const rows = await ctr(`-n ${namespace} snapshots ls`);
      expect(own.map(({ name, kind }) => `${name} ${kind}`).sort()).toEqual(
        rows.map((row) => `${row[0]} ${row.at(-1)}`).sort(),
      );
      for (const [name, ...usage] of await ctr(`-n ${namespace} snapshots usage -b`)) {
        const found = own.find((one) => one.name === name)!;
        if (found.kind === "Committed") expect(found.usage).toEqual(usage);
      }
    }
    const parents = await root.path("v1", "parents");
    for await (const { key, value } of parents!.entries()) {
      const parent = readUvarint(key, 0);
      const child = readUvarint(key, parent.end + 1);
      expect(child.end).toBe(key.length);
      expect(ids.get(text(value)!)).toBe(child.value);
      expect([...ids.values()]).toContain(parent.value);
    }
  });

  interface DockerOracle {
    BuildCache: {
      ID: string;
      Parent: string;
      Type: string;
      Description: string;
      Size: number;
      UsageCount: number;
    }[];
    Volumes: { Name: string; Driver: string }[];
  }
  const docker = async (): Promise<DockerOracle> =>
    JSON.parse(await readFile(`${FIXTURES}/docker.oracle.json`, "utf8"));

  test("BuildKit's records", async () => {
    const { root } = await open(await readReal("buildkit-metadata_v2"));
    const records = await root.bucket("_main");
    const { BuildCache } = await docker();
    const field = async (id: string, key: string) => {
      const bytes = await (await records!.bucket(id))!.get(key);
      return bytes === null || bytes.length === 0
        ? undefined
        : JSON.parse(Buffer.from(bytes).toString()).value;
    };
    // Some immutable records share their data with a mutable one, which is the one the engine lists.
    const twins = new Map<string, string>();
    const listed: string[] = [];
    for (const id of await keysOf(records)) {
      const mutable = await field(id, "cache.equalMutable");
      if (mutable === undefined) listed.push(id);
      else twins.set(mutable, id);
    }
    expect(twins.size).toBe(4);
    expect(listed).toEqual(BuildCache.map(({ ID }) => ID).sort());
    for (const { ID, Parent, Type, Description, Size, UsageCount } of BuildCache) {
      expect({
        Parent: (await field(ID, "cache.parent")) ?? "",
        Type: (await field(ID, "cache.recordType")) ?? "regular",
        Description: await field(ID, "cache.description"),
        Size: (await field(ID, "snapshot.size")) ?? (await field(twins.get(ID)!, "snapshot.size")),
        UsageCount: await field(ID, "cache.usageCount"),
      }).toEqual({ Parent, Type, Description, Size, UsageCount });
    }
  });

  test("BuildKit's snapshots, leases and cache keys", async () => {
    const { BuildCache } = await docker();
    const snapshots = await keysOf((await open(await readReal("buildkit-snapshots"))).root);
    for (const { ID } of BuildCache) expect(snapshots).toContain(ID);
    const leases = await (await open(await readReal("buildkit-containerdmeta"))).root.path(
      "v1",
      "buildkit",
      "leases",
    );
    const leaseIds = await keysOf(leases);
    for (const { ID } of BuildCache) expect(leaseIds).toContain(ID);
    const results = await keysOf((await open(await readReal("buildkit-cache"))).root);
    expect(results).toEqual(["_backlinks", "_byresult", "_links", "_result"]);
  });

  test("Docker's volumes", async () => {
    const volumes = await (await open(await readReal("docker-volumes"))).root.bucket("volumes");
    const { Volumes } = await docker();
    expect(await keysOf(volumes)).toEqual(Volumes.map(({ Name }) => Name).sort());
    expect(JSON.parse(text(await volumes!.get("data1"))!)).toMatchObject({
      Name: "data1",
      Labels: { purpose: "test" },
    });
  });
});
