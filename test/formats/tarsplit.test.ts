import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BytePath, displayPath } from "../../src/byte-path.ts";
import { Crc64 } from "../../src/bytes/crc64.ts";
import { type ByteSource, bufferSource } from "../../src/bytes/source.ts";
import { FormatError, InterruptedError, SourceError, TruncatedError } from "../../src/errors.ts";
import { listTar, readTar, type TarEntry } from "../../src/formats/tar.ts";
import {
  assembleLayer,
  type ContentFinding,
  type LayerFiles,
  readTarSplit,
  type TarSplitEntry,
} from "../../src/formats/tarsplit.ts";
import { openTarTree } from "../../src/trees/tar.ts";
import { base256, END, inChunks, packTar, paxMember, rawHeader, rawMember } from "../helpers/tar-writer.ts";

const FIXTURES = fileURLToPath(new URL("../../fixtures/tar-split/", import.meta.url));

interface Layer {
  readonly split: Uint8Array;
  readonly files: LayerFiles;
  readonly diffId: string;
}

/** A real layer, its folder read from a tar. */
async function realLayer(name: string): Promise<Layer> {
  const read = (part: string) => readFileSync(`${FIXTURES}${name}.${part}`);
  const tree = (await openTarTree(bufferSource(`${name}.diff.tar`, read("diff.tar")), () => undefined))!;
  const open = async (path: BytePath) => ((await tree.lstat(path))?.type === "file" ? tree.open(path) : null);
  return { split: read("tar-split.json.gz"), files: { open }, diffId: read("diff-id").toString().trim() };
}

interface Rebuilt {
  readonly tar: Buffer;
  readonly digest: string;
  readonly findings: ContentFinding[];
}

async function rebuild(entries: AsyncIterable<TarSplitEntry>, files: LayerFiles): Promise<Rebuilt> {
  const chunks: Buffer[] = [];
  const findings: ContentFinding[] = [];
  for await (const chunk of assembleLayer(entries, files, (finding) => findings.push(finding))) {
    chunks.push(Buffer.from(chunk)); // a copy: chunks may be reused
  }
  const tar = Buffer.concat(chunks);
  return { tar, digest: `sha256:${createHash("sha256").update(tar).digest("hex")}`, findings };
}

const entriesOf = (split: Uint8Array, size?: number) => readTarSplit(inChunks(split, size), "split");
const rebuildLayer = ({ split, files }: Layer) => rebuild(entriesOf(split), files);
const said = (findings: readonly ContentFinding[]) =>
  findings.map(({ kind, rawName }) => `${kind} ${rawName}`);

async function readLines(lines: string, label = "split"): Promise<TarSplitEntry[]> {
  const entries: TarSplitEntry[] = [];
  for await (const entry of readTarSplit(inChunks(gzipSync(lines)), label)) entries.push(entry);
  return entries;
}

const line = (fields: object) => `${JSON.stringify(fields)}\n`;
const base64 = (bytes: string) => Buffer.from(bytes, "latin1").toString("base64");

/** A layer as the writer would have taken it apart; content in memory. */
async function splitTar(tar: Buffer): Promise<{ lines: string; files: Map<string, Buffer> }> {
  const files = new Map<string, Buffer>();
  let lines = "";
  let at = 0;
  const segment = (end: number) => {
    lines += line({ type: 2, payload: tar.subarray(at, end).toString("base64") });
    at = end;
  };
  for await (const { entry } of listTar(bufferSource("tar", tar))) {
    segment(entry.dataStart);
    const content = tar.subarray(at, at + entry.size);
    lines += line(fileOf(entry, content));
    if (entry.size > 0) files.set(entry.rawName, content);
    at += entry.size;
  }
  segment(tar.length);
  return { lines, files };
}

function fileOf(entry: TarEntry, content: Buffer): object {
  const name = Buffer.from(entry.rawName, "latin1");
  const text = name.toString("utf8");
  const named = text.includes("\ufffd") ? { name_raw: name.toString("base64") } : { name: text };
  return content.length > 0
    ? { type: 1, ...named, size: content.length, payload: crcOf(content) }
    : { type: 1, ...named, payload: null };
}

function crcOf(content: Uint8Array): string {
  const crc = Buffer.alloc(8);
  crc.writeBigUInt64BE(new Crc64().update(content).digest());
  return crc.toString("base64");
}

const filesOf = (files: ReadonlyMap<string, Buffer>): LayerFiles => ({
  open: async (path) => (files.has(path) ? bufferSource(path, files.get(path)!) : null),
});

/** Three files of a real layer's kind, to be tampered with. */
async function smallLayer() {
  const tar = await packTar([
    { name: "a", content: "first file" },
    { name: "dir", type: "directory" },
    { name: "dir/b", content: Buffer.alloc(300_000, "second file ") },
    { name: "dir/.wh.gone" },
    { name: "c", content: "third" },
  ]);
  const { lines, files } = await splitTar(tar);
  return { tar, lines, files, entries: () => entriesOf(gzipSync(lines)) };
}

describe("entries", () => {
  test("of Docker's making", async () => {
    const lines = [
      '{"type":2,"payload":"YWJj","position":0}\n',
      '{"type":1,"name":"./","payload":null,"position":1}\n',
      '{"type":2,"payload":"","position":2}\n',
      '{"type":1,"name":"./after.txt","size":22,"payload":"V4tpGm0TghQ=","position":3}\n',
      '{"type":1,"name_raw":"Li9uYW1lcy9ieXRlcy3//oA=","size":300,"payload":"JhRSohpA1ao=","position":4}\n',
      '{"type":2,"payload":null,"position":5}\n',
    ];
    expect(await readLines(lines.join(""))).toEqual([
      { kind: "segment", bytes: Buffer.from("abc") },
      { kind: "file", path: "", rawName: "./", size: 0, crc: null },
      { kind: "segment", bytes: Buffer.alloc(0) },
      { kind: "file", path: "after.txt", rawName: "./after.txt", size: 22, crc: 0x578b691a6d138214n },
      {
        kind: "file",
        path: "names/bytes-\xff\xfe\x80",
        rawName: "./names/bytes-\xff\xfe\x80",
        size: 300,
        crc: 0x261452a21a40d5aan,
      },
      { kind: "segment", bytes: Buffer.alloc(0) },
    ]);
  });

  test.each([
    ['{"type":1,"name":"a\\u003cb\\u00e9"}', "a<b\xc3\xa9"],
    ['{"type":1,"name":"/etc//x/./y"}', "etc/x/y"],
    ['{"type":1,"name":"x","name_raw":"eQ=="}', "y"],
    ['{"type":1,"name":"../x"}', null],
    ['{"type":1,"name_raw":"YS8uLi8uLi9i"}', null],
    ['{"type":1,"name":"a\\u0000b"}', null],
    ['{"type":1}', ""],
  ])("names: %s", async (text, path) => {
    expect(await readLines(text)).toMatchObject([{ kind: "file", path }]);
  });

  test.each([
    "",
    "x",
    "null",
    "[]",
    "{}",
    '{"type":"1","name":"a"}',
    '{"type":3,"name":"a"}',
    '{"type":1,"name":7}',
    '{"type":1,"name_raw":"?"}',
    '{"type":1,"name":"a","size":-1,"payload":"AAAAAAAAAAA="}',
    '{"type":1,"name":"a","size":1.5,"payload":"AAAAAAAAAAA="}',
    '{"type":1,"name":"a","size":9007199254740993,"payload":"AAAAAAAAAAA="}',
    '{"type":1,"name":"a","size":"3","payload":"AAAAAAAAAAA="}',
    '{"type":1,"name":"a","size":3,"payload":null}',
    '{"type":1,"name":"a","size":3,"payload":"AAAA"}',
    '{"type":2,"payload":"YWJ"}',
    '{"type":2,"payload":"YW-j"}',
    '{"type":2,"payload":"=YWJ"}',
    '{"type":2,"payload":"YWJj\\n"}',
    '{"type":2,"payload":[1]}',
    '{"type":2,"payload":"YWJj"',
  ])("refuses %s", async (text) => {
    const reading = readLines(`{"type":2,"payload":""}\n${text}\n`);
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(/^split: line 2/);
  });

  test("a line that goes on and on is refused before it is held", async () => {
    let given = 0;
    async function* endless() {
      for (; given < 1000; given++) yield ENDLESS;
    }
    const reading = async () => {
      for await (const _ of readTarSplit(endless(), "split"));
    };
    await expect(reading()).rejects.toThrow("split: a line of more than 6291456 bytes");
    expect(given).toBeLessThan(20);
  });
  const ENDLESS = gzipSync(Buffer.alloc(1 << 20, "{"));

  test("the longest segment that a writer makes is read", async () => {
    const payload = Buffer.alloc(3 << 20, "x");
    const [entry] = await readLines(line({ type: 2, payload: payload.toString("base64") }));
    expect(entry!.kind === "segment" && payload.equals(entry!.bytes)).toBe(true);
  });

  test("a file that is cut off, or is none", async () => {
    const { lines } = await smallLayer();
    const packed = gzipSync(lines);
    const reading = async (bytes: Uint8Array) => {
      for await (const _ of entriesOf(bytes));
    };
    await expect(reading(packed.subarray(0, 100))).rejects.toThrow(TruncatedError);
    await expect(reading(packed.subarray(0, packed.length - 1))).rejects.toThrow(TruncatedError);
    await expect(reading(packed.subarray(0, 0))).rejects.toThrow(TruncatedError);
    await expect(reading(Buffer.from(lines))).rejects.toThrow(FormatError);
  });

  test("chunk boundaries change nothing", async () => {
    const { split } = await realLayer("whiteouts");
    const whole: TarSplitEntry[] = [];
    for await (const entry of entriesOf(split)) whole.push(entry);
    expect(whole).toHaveLength(46);
    const property = fc.asyncProperty(fc.integer({ min: 1, max: 2000 }), async (size) => {
      const pieces: TarSplitEntry[] = [];
      for await (const entry of entriesOf(split, size)) pieces.push(entry);
      expect(pieces).toEqual(whole);
    });
    await fc.assert(property, { numRuns: 20 });
  });
});

describe("real layers", () => {
  test.each(["oddities", "whiteouts", "buildkit"])("%s: byte for byte", async (name) => {
    const layer = await realLayer(name);
    const { digest, findings } = await rebuildLayer(layer);
    expect(findings).toEqual([]);
    expect(digest).toBe(layer.diffId);
  });

  test("oddities: names that are no text", async () => {
    const { tar } = await rebuildLayer(await realLayer("oddities"));
    const names: string[] = [];
    for await (const { entry } of listTar(bufferSource("tar", tar))) names.push(entry.rawName);
    expect(names).toContain("./names/bytes-\xff\xfe\x80");
    expect(names.map(displayPath)).toContain("./names/latin1-caf\\xe9.txt");
  });

  test("linked-data: exact, where Docker itself fails", async () => {
    const layer = await realLayer("linked-data");
    const { digest, findings } = await rebuildLayer(layer);
    expect(said(findings)).toEqual(["linked-data again"]);
    expect(digest).toBe(layer.diffId);
  });

  test("pax-sparse: cannot be rebuilt, and says so", async () => {
    const layer = await realLayer("pax-sparse");
    const { tar, digest, findings } = await rebuildLayer(layer);
    expect(said(findings)).toEqual(["sparse ./disk.img"]);
    expect(digest).not.toBe(layer.diffId);
    expect(tar.length).toBe(20_480);
    // Headers are where they were.
    const names: string[] = [];
    for await (const { entry } of readTar(inChunks(tar))) names.push(entry.rawName);
    expect(names).toEqual(["./", "./after.txt", "./disk.img", "./zz.txt"]);
  });

  test("pax-sparse: its content is checked all the same", async () => {
    const layer = await realLayer("pax-sparse");
    const open = async (path: BytePath) => changed((await layer.files.open(path))!, 9000);
    const { findings } = await rebuild(entriesOf(layer.split), {
      open: (path) => (path === "disk.img" ? open(path) : layer.files.open(path)),
    });
    expect(said(findings)).toEqual(["sparse ./disk.img", "checksum ./disk.img"]);
  });

  test("whiteout-data: cannot be rebuilt, and says so", async () => {
    const layer = await realLayer("whiteout-data");
    const { tar, digest, findings } = await rebuildLayer(layer);
    expect(said(findings)).toEqual(["whiteout-data .wh.gone"]);
    expect(digest).not.toBe(layer.diffId);
    expect(tar.length).toBe(4096);
  });

  test("any byte changed in any file is found, and in that file only", async () => {
    const layer = await realLayer("oddities");
    const paths: BytePath[] = [];
    for await (const entry of entriesOf(layer.split)) {
      if (entry.kind === "file" && entry.size > 0) paths.push(entry.path!);
    }
    expect(paths.length).toBe(23);
    const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    const property = fc.asyncProperty(fc.constantFrom(...paths), place, async (victim, where) => {
      const { digest, findings } = await rebuild(entriesOf(layer.split), {
        open: async (path) => {
          const source = await layer.files.open(path);
          return path === victim && source ? changed(source, Math.floor(where * source.byteLength)) : source;
        },
      });
      expect(findings).toMatchObject([{ kind: "checksum", path: victim }]);
      expect(digest).not.toBe(layer.diffId);
    });
    await fc.assert(property, { numRuns: 30 });
  });
});

/** `source` with one byte changed. */
async function changed(source: ByteSource, at: number): Promise<ByteSource> {
  const bytes = Uint8Array.from(await source.read(0, source.byteLength));
  bytes[at]! ^= 0x10;
  return bufferSource(source.label, bytes);
}

describe("damage", () => {
  test("a missing, a shortened and a lengthened file: each named, and the tar goes on", async () => {
    const { tar, files, entries } = await smallLayer();
    files.delete("a");
    files.set("dir/b", files.get("dir/b")!.subarray(1));
    files.set("c", Buffer.from("third and more"));
    const rebuilt = await rebuild(entries(), filesOf(files));
    expect(rebuilt.findings).toEqual([
      { kind: "missing", path: "a", rawName: "a" },
      { kind: "size", path: "dir/b", rawName: "dir/b", expected: 300_000, found: 299_999 },
      { kind: "size", path: "c", rawName: "c", expected: 5, found: 14 },
    ]);
    expect(rebuilt.tar.length).toBe(tar.length);
    const blank = Buffer.from(tar);
    for await (const { entry } of listTar(bufferSource("tar", tar))) {
      blank.fill(0, entry.dataStart, entry.dataStart + entry.size);
    }
    expect(rebuilt.tar.equals(blank)).toBe(true);
  });

  test("an empty file need not be there", async () => {
    const { tar, files, entries } = await smallLayer();
    expect(files.has("dir/.wh.gone")).toBe(false);
    const rebuilt = await rebuild(entries(), filesOf(files));
    expect(rebuilt.findings).toEqual([]);
    expect(rebuilt.tar.equals(tar)).toBe(true);
  });

  test("files that cannot be opened, or read to the end", async () => {
    const { tar, files, entries } = await smallLayer();
    const big = files.get("dir/b")!;
    const rebuilt = await rebuild(entries(), {
      async open(path) {
        if (path === "a") throw new SourceError("cannot read a: no");
        return {
          ...bufferSource(path, files.get(path)!),
          async *stream() {
            if (path === "c") throw eio();
            yield big.subarray(0, 1000);
            throw new TruncatedError("b: ends at byte 1000");
          },
        };
      },
    });
    expect(rebuilt.findings).toMatchObject([
      { kind: "unreadable", path: "a", message: "cannot read a: no" },
      { kind: "unreadable", path: "dir/b", message: "b: ends at byte 1000" },
      { kind: "unreadable", path: "c", message: "EIO: i/o error, read" },
    ]);
    expect(rebuilt.tar.length).toBe(tar.length);
  });
  const eio = () => Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" });

  test.each([new InterruptedError("stopped"), new TypeError("a bug")])("%s is no finding", async (error) => {
    const { entries } = await smallLayer();
    await expect(rebuild(entries(), { open: () => Promise.reject(error) })).rejects.toBe(error);
  });

  test("a name that leads out is never opened", async () => {
    const lines = ["../../etc/passwd", "/", "a\0b"].map((name) =>
      line({ type: 1, name, size: 4, payload: crcOf(Buffer.from("root")) }),
    );
    const opened: string[] = [];
    const { findings } = await rebuild(entriesOf(gzipSync(lines.join(""))), {
      async open(path) {
        opened.push(path);
        return null;
      },
    });
    expect(said(findings)).toEqual(["name ../../etc/passwd", "name /", "name a\0b"]);
    expect(opened).toEqual([]);
  });

  test("a claimed size is not written out", async () => {
    const file = { type: 1, name: "a", size: Number.MAX_SAFE_INTEGER, payload: base64("12345678") };
    const findings: ContentFinding[] = [];
    let length = 0;
    const entries = entriesOf(gzipSync(line(file).repeat(3) + line({ type: 2, payload: base64("end") })));
    for await (const chunk of assembleLayer(entries, filesOf(new Map()), (one) => findings.push(one))) {
      length += chunk.length;
    }
    expect(said(findings)).toEqual(["missing a", "missing a", "missing a"]);
    expect(length).toBe(2 ** 30 + 3);
  });

  test("every file is closed, also when the consumer stops", async () => {
    const { files, entries } = await smallLayer();
    let open = 0;
    const counted: LayerFiles = {
      async open(path) {
        open++;
        return { ...bufferSource(path, files.get(path)!), close: async () => void open-- };
      },
    };
    await rebuild(entries(), counted);
    expect(open).toBe(0);
    for await (const chunk of assembleLayer(entries(), counted, () => undefined)) {
      if (chunk.length > 100_000) break;
    }
    expect(open).toBe(0);
  });
});

describe("headers in segments", () => {
  /** Findings of a layer with a file `x` whose CRC is right, after `headers`; it has `content` on disk. */
  async function findingsOf(headers: Uint8Array[], content: string): Promise<string[]> {
    const payload = crcOf(Buffer.from(content));
    const segments = headers.map((bytes) =>
      line({ type: 2, payload: Buffer.from(bytes).toString("base64") }),
    );
    const file = line({ type: 1, name: "x", size: content.length, payload });
    const files = filesOf(new Map([["x", Buffer.from(content)]]));
    return said((await rebuild(entriesOf(gzipSync(segments.join("") + file)), files)).findings);
  }
  const sparse = [
    paxMember({ "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4" }),
    rawHeader({ name: "x", size: 512 }),
  ];

  test("sparse members of all kinds", async () => {
    const map = { "GNU.sparse.size": "4", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,4" };
    const old = { 386: Buffer.from("00000000000"), 483: Buffer.from("00000000004\0") };
    expect(await findingsOf(sparse, "data")).toEqual(["sparse x"]);
    expect(await findingsOf([paxMember(map), rawHeader({ name: "x", size: 4 })], "data")).toEqual([
      "sparse x",
    ]);
    expect(await findingsOf([rawHeader({ name: "x", type: "S", size: 4, patch: old })], "data")).toEqual([
      "sparse x",
    ]);
    expect(await findingsOf([rawHeader({ name: "x", size: 4 })], "data")).toEqual([]);
  });

  test("in pieces, after padding, after a global header", async () => {
    const whole = Buffer.concat([paxMember({ comment: "GNU.sparse.major=1" }), ...sparse]);
    const cuts = [whole.subarray(0, 700), whole.subarray(700, 701), Buffer.alloc(0), whole.subarray(701)];
    expect(await findingsOf(cuts, "data")).toEqual(["sparse x"]);
    const tar = Buffer.concat([
      rawMember({ name: "pax_global_header", type: "g" }, "14 comment=ab\n"),
      rawMember({ name: "a" }, "abc"),
      ...sparse,
      Buffer.alloc(512),
      END,
    ]);
    const at = (from: number, end: number) =>
      line({
        type: 2,
        payload: tar.subarray(from, end).toString("base64"),
      });
    const lines = [
      at(0, 526),
      line({ type: 1, name: "pax_global_header", payload: null }),
      at(526, 1536),
      line({ type: 1, name: "a", size: 3, payload: crcOf(Buffer.from("abc")) }),
      at(1539, 3584),
      line({ type: 1, name: "x", size: 4, payload: crcOf(Buffer.from("data")) }),
      at(4096, tar.length),
    ];
    const files = filesOf(
      new Map([
        ["a", Buffer.from("abc")],
        ["x", Buffer.from("data")],
      ]),
    );
    const rebuilt = await rebuild(entriesOf(gzipSync(lines.join(""))), files);
    expect(said(rebuilt.findings)).toEqual(["sparse x"]);
    expect(rebuilt.tar.equals(tar)).toBe(true); // the map in it is zeros
  });

  test("no comment makes a member sparse", async () => {
    const headers = [paxMember({ comment: "GNU.sparse.major=1\n" }), rawHeader({ name: "x", size: 4 })];
    expect(await findingsOf(headers, "data")).toEqual([]);
  });

  test("headers that are none, or no end of them", async () => {
    expect(await findingsOf([Buffer.alloc(512, 7)], "data")).toEqual([]);
    expect(await findingsOf(Array(10_000).fill(Buffer.alloc(0)), "data")).toEqual([]);
    expect(await findingsOf([rawHeader({ name: "x", size: base256(2n ** 60n) })], "data")).toEqual([]);
  });

  test("content whose CRC is 0 is content where the header says so", async () => {
    const content = ofCrcZero();
    expect(new Crc64().update(Buffer.from(content, "latin1")).digest()).toBe(0n);
    const file = line({ type: 1, name: "x", size: content.length, payload: base64("\0".repeat(8)) });
    const files = filesOf(new Map([["x", Buffer.from(content, "latin1")]]));
    const header = (type: string) =>
      line({ type: 2, payload: rawHeader({ name: "x", size: content.length, type }).toString("base64") });
    const asFile = await rebuild(entriesOf(gzipSync(header("0") + file)), files);
    expect(asFile.findings).toEqual([]);
    expect(asFile.tar.toString("latin1", 512)).toBe(content);
    const asLink = await rebuild(entriesOf(gzipSync(header("1") + file)), files);
    expect(said(asLink.findings)).toEqual(["linked-data x"]);
    expect(asLink.tar.length).toBe(512);
  });

  /** Eight bytes, and eight more that bring the register back to where it began. */
  function ofCrcZero(): string {
    const head = Buffer.from("8 bytes.");
    // The register after them is the inverse of the digest; the bytes that equal it, low first, make it zero, and
    // then eight bytes of ones bring it to all ones, whose inverse is 0.
    const register = Buffer.alloc(8);
    register.writeBigUInt64LE(new Crc64().update(head).digest() ^ 0xffffffffffffffffn);
    return Buffer.concat([head, register, Buffer.from(onesFromZero())]).toString("latin1");
  }

  /** Eight bytes that take the register from 0 to all ones: the ones run backwards through the shift, bit by bit. */
  function onesFromZero(): Uint8Array {
    let register = 0xffffffffffffffffn;
    for (let bit = 0; bit < 64; bit++) {
      const out = register >> 63n; // the polynomial's top bit is set, so it tells whether it was added
      register = ((register ^ (out ? 0xd800000000000000n : 0n)) << 1n) | out;
      register &= 0xffffffffffffffffn;
    }
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(register);
    return bytes;
  }
});

describe("properties", () => {
  const item = fc.record({
    name: fc.stringMatching(/^[a-z]{1,8}(\/[a-zé.]{1,60}x){0,3}$/),
    content: fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.nat(3000).map((n) => "x".repeat(n)),
    ),
  });
  const layer = fc.uniqueArray(item, { maxLength: 8, selector: ({ name }) => name });

  test("a tar taken apart and put together is the same", async () => {
    const property = fc.asyncProperty(layer, fc.nat(3000), async (items, trailing) => {
      const tar = Buffer.concat([await packTar(items), Buffer.alloc(trailing, "end")]);
      const { lines, files } = await splitTar(tar);
      const rebuilt = await rebuild(entriesOf(gzipSync(lines)), filesOf(files));
      expect(rebuilt.findings).toEqual([]);
      expect(rebuilt.tar.equals(tar)).toBe(true);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  /** It ends soon, in a tar or in an error that is meant for it. */
  async function survives(split: Uint8Array, { files, diffId }: Layer): Promise<void> {
    const started = performance.now();
    const hash = createHash("sha256");
    let findings = 0;
    try {
      let hashed = 0;
      for await (const chunk of assembleLayer(entriesOf(split), files, () => findings++)) {
        hashed += chunk.length;
        if (hashed < 1 << 24) hash.update(chunk);
      }
      const digest = `sha256:${hash.digest("hex")}`;
      if (findings > 0) expect(digest).not.toBe(diffId);
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof TruncatedError)) throw error;
    }
    expect(performance.now() - started).toBeLessThan(3000);
  }
  const anywhere = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

  test("any byte changed in the packed file", async () => {
    const real = await realLayer("whiteouts");
    const changes = fc.array(fc.tuple(anywhere, fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 5,
    });
    const property = fc.asyncProperty(changes, async (all) => {
      const bytes = Uint8Array.from(real.split);
      for (const [place, by] of all) bytes[Math.floor(place * bytes.length)]! ^= by;
      await survives(bytes, real);
    });
    await fc.assert(property, { numRuns: 200 });
  });

  test("any text changed in its lines", async () => {
    const real = await realLayer("whiteouts");
    const text = gunzipSync(real.split).toString("latin1");
    const others = [
      "null",
      "[]",
      "{}",
      '"',
      "9".repeat(15),
      "true",
      "-1",
      "\n",
      "\\u0000",
      "..",
      "\xff",
      "1e300",
    ];
    const change = fc.tuple(anywhere, fc.nat(6), fc.constantFrom(...others));
    const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (all) => {
      let mutated = text;
      for (const [place, length, other] of all) {
        const at = Math.floor(place * mutated.length);
        mutated = mutated.slice(0, at) + other + mutated.slice(at + length);
      }
      await survives(gzipSync(Buffer.from(mutated, "latin1")), real);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  test("any value of another type", async () => {
    const real = await realLayer("oddities");
    const lines = gunzipSync(real.split).toString("latin1").trim().split("\n");
    const fields = fc.constantFrom("type", "name", "name_raw", "size", "payload", "position");
    const property = fc.asyncProperty(anywhere, fields, fc.jsonValue(), async (place, field, value) => {
      const mutated = [...lines];
      const at = Math.floor(place * lines.length);
      mutated[at] = JSON.stringify({ ...(JSON.parse(lines[at]!) as object), [field]: value });
      await survives(gzipSync(Buffer.from(`${mutated.join("\n")}\n`, "latin1")), real);
    });
    await fc.assert(property, { numRuns: 200 });
  });

  test("cut off anywhere", async () => {
    const real = await realLayer("whiteouts");
    const property = fc.asyncProperty(anywhere, async (place) => {
      const cut = real.split.subarray(0, Math.floor(place * real.split.length));
      const reading = async () => {
        for await (const _ of assembleLayer(entriesOf(cut), real.files, () => undefined));
      };
      await expect(reading()).rejects.toThrow(TruncatedError);
    });
    await fc.assert(property, { numRuns: 100 });
  });
});
