import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { locateDamage } from "../../src/analyses/locate.ts";
import type { BytePath } from "../../src/byte-path.ts";
import { openFile, readAll } from "../../src/bytes/source.ts";
import { openTarTree } from "../../src/trees/tar.ts";
import locate from "../../workers/locate.ts";
import { END, inChunks, packTar, paxMember, rawHeader, rawMember } from "../helpers/tar-writer.ts";

function locateIn(blob: Uint8Array, chunkSize?: number): Promise<string | null> {
  return locateDamage("layer", () => inChunks(blob, chunkSize), blob.length);
}

/** A copy with the bits of one byte turned over. */
function flipped(bytes: Uint8Array, ...offsets: readonly number[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const offset of offsets) copy[offset]! ^= 0xff;
  return copy;
}

const FILES = [
  { name: "etc/", type: "directory" as const },
  { name: "etc/passwd", content: "root:x:0:0\n".repeat(100) },
  { name: "usr/bin/foo", content: "f".repeat(4096) },
  { name: "usr/bin/last", content: "l".repeat(600) },
];
/** Headers at 0, 512, 2560 and 7168, the end marker at 8704. */
const TAR = await packTar(FILES);

describe("a plain tar", () => {
  test("well formed all through: it cannot be told", async () => {
    expect(await locateIn(TAR)).toBeNull();
    expect(await locateIn(flipped(TAR, 3000 + 512))).toBeNull();
    expect(await locateIn(TAR.subarray(0, TAR.length - 512))).toBeNull();
  });

  test("a header", async () => {
    expect(await locateIn(flipped(TAR, 2560 + 3))).toBe(
      "the header after etc/passwd: no tar header here (its checksum does not match) at byte 2560 of the tar",
    );
    expect(await locateIn(flipped(TAR, 0))).toMatch(
      /^the first header: no tar header here .* at byte 0 of the tar$/,
    );
    expect(await locateIn(Buffer.from(TAR).fill(0, 7168, 7680))).toBe(
      "the header after usr/bin/foo: a lone block of zeros where a header should be at byte 7168 of the tar",
    );
  });

  test("an extension header", async () => {
    const parts = [
      rawMember({ name: "a" }),
      rawMember({ type: "x" }, "no record"),
      rawMember({ name: "b" }),
      END,
    ];
    const text = await locateIn(Buffer.concat(parts));
    expect(text).toBe("the header after a: a malformed PAX record at byte 1024 of the tar");
    const cut = Buffer.concat([rawMember({ name: "a" }), paxMember({ path: "b" }).subarray(0, 515)]);
    expect(await locateIn(cut)).toBe("the tar ends at byte 1027, after a, without an end marker");
    const between = Buffer.concat([rawMember({ name: "a" }), paxMember({ path: "b" })]);
    expect(await locateIn(gzipSync(between))).toBe(
      "the tar ends at byte 1536, after a, without an end marker",
    );
  });

  test("the file that it ends within, or after", async () => {
    expect(await locateIn(TAR.subarray(0, 2560 + 512 + 1200))).toBe(
      "the tar ends inside usr/bin/foo, 1200 of 4096 bytes",
    );
    expect(await locateIn(TAR.subarray(0, 7168))).toBe(
      "the tar ends at byte 7168, after usr/bin/foo, without an end marker",
    );
    expect(await locateIn(TAR.subarray(0, 7200))).toBe(
      "the tar ends at byte 7200, after usr/bin/foo, without an end marker",
    );
    expect(await locateIn(TAR.subarray(0, 512 + 512 + 1101))).toBe(
      "the tar ends in the padding after etc/passwd",
    );
    expect(await locateIn(new Uint8Array(0))).toBe("there are no bytes at all");
  });

  test("padding and what follows the end", async () => {
    expect(await locateIn(flipped(TAR, 2500, 2555))).toBe(
      "the padding after etc/passwd, at byte 2500 of the tar, is not zero",
    );
    expect(await locateIn(Buffer.concat([TAR, Buffer.from("\0\0x")]))).toBe(
      `what follows the end of the tar, at byte ${TAR.length + 2} of the tar, is not zero`,
    );
  });

  test("names of any bytes and any length stay on one line", async () => {
    const odd = Buffer.concat([rawMember({ name: "new\nline\x1b\xff" }, "x"), Buffer.alloc(512, 1), END]);
    expect(await locateIn(odd)).toMatch(/^the header after new\\x0aline\\x1b\\xff: /);
    const long = Buffer.concat([paxMember({ path: "n".repeat(100_000) }), rawHeader({ name: "n", size: 9 })]);
    expect((await locateIn(long))!.length).toBeLessThan(400);
  });

  test("a source that breaks off is an end, any other trouble with it is thrown", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield TAR.subarray(0, 1000);
      throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
    }
    await expect(locateDamage("layer", failing, TAR.length)).rejects.toThrow("EIO");
  });
});

describe("compressed", () => {
  /** Files that do not compress, so that a place in the blob is a place in the tar. */
  const noise = (seed: string, length: number) => {
    const block = (i: number) => createHash("sha512").update(`${seed} ${i}`).digest();
    return Buffer.concat(Array.from({ length: Math.ceil(length / 64) }, (_, i) => block(i))).subarray(
      0,
      length,
    );
  };
  const files = Array.from({ length: 40 }, (_, i) => ({
    name: `file-${i}`,
    content: noise(`${i}`, 100_000),
  }));

  test("gzip: the place in the blob and the file that the tar had got to", async () => {
    const tar = await packTar(files);
    const gzip = gzipSync(tar, { level: 0 }); // stored blocks: a length and its complement, then the bytes
    let block = 10;
    let place = 0;
    while (place < 2_000_000) {
      place += gzip.readUInt16LE(block + 1);
      block += 5 + gzip.readUInt16LE(block + 1);
    }
    const text = (await locateIn(flipped(gzip, block + 1)))!;
    const [, offset, name, done] = /near byte (\d+) of \d+, inside file-(\d+), (\d+) of 100000 bytes$/.exec(
      text,
    )!;
    expect(Math.abs(Number(offset) - block)).toBeLessThan(10);
    expect(Number(name) * (512 + 100_352) + 512 + Number(done)).toBe(place);
  });

  test("gzip: a check at the end says only that something before is wrong", async () => {
    const gzip = gzipSync(TAR);
    expect(await locateIn(flipped(gzip, gzip.length - 8))).toMatch(
      /^decompression fails near byte \d+ of \d+, after the last file, any of which may be the wrong one$/,
    );
  });

  test("gzip: cut off", async () => {
    const gzip = gzipSync(await packTar(files));
    expect(await locateIn(gzip.subarray(0, 1_000_000))).toMatch(
      /^the blob ends at byte 1000000 before its data does, inside file-9, \d+ of 100000 bytes$/,
    );
    expect(await locateIn(gzip.subarray(0, 5))).toBe(
      "the blob ends at byte 5 before its data does, before the first file",
    );
  });

  test("damage of the tar inside a sound gzip", async () => {
    expect(await locateIn(gzipSync(flipped(TAR, 2563)))).toMatch(/^the header after etc\/passwd: /);
    expect(await locateIn(gzipSync(TAR))).toBeNull();
  });

  test("zstd: what came out before the failure", async () => {
    const blob = Buffer.concat([zstdFrame(TAR.subarray(0, 5000)), zstdFrame(TAR.subarray(5000))]);
    expect(await locateIn(blob)).toBeNull();
    const second = zstdFrame(TAR.subarray(0, 5000)).length;
    expect(await locateIn(flipped(blob, second))).toMatch(
      /^decompression fails near byte 5\d\d\d of \d+, and what comes out before that ends inside usr\/bin\/foo, /,
    );
  });
});

/** A zstd frame of raw blocks and no checksum (RFC 8878, 3.1.1), which any byte may be changed in unnoticed. */
function zstdFrame(data: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(0xfd2fb528, 0);
  header[4] = 0xa0; // single segment, size in four bytes
  header.writeUInt32LE(data.length, 5);
  const parts: Uint8Array[] = [header];
  for (let at = 0; at === 0 || at < data.length; at += 65_536) {
    const block = data.subarray(at, at + 65_536);
    const head = Buffer.alloc(3);
    head.writeUIntLE((block.length << 3) | (at + 65_536 >= data.length ? 1 : 0), 0, 3);
    parts.push(head, block);
  }
  return Buffer.concat(parts);
}

function sha256(data: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

interface TocFile {
  readonly name: string;
  readonly content: string;
  /** Length of each part but the last; one part if not given. */
  readonly part?: number;
}

/** Entries of a table of contents, which the two formats share. */
function tocEntries({ name, content, part = content.length }: TocFile): object[] {
  const entries: object[] = [];
  for (let at = 0; at < content.length; at += part) {
    const chunk = content.slice(at, at + part);
    const place = { chunkOffset: at, chunkSize: chunk.length, chunkDigest: sha256(chunk) };
    const whole = { size: content.length, digest: sha256(content) };
    entries.push(at === 0 ? { name, type: "reg", ...whole, ...place } : { name, type: "chunk", ...place });
  }
  return entries;
}

const TOC_FILES: readonly TocFile[] = [
  { name: "etc/motd", content: "welcome\n" },
  { name: "usr/bin/tool", content: "0123456789".repeat(1000), part: 4000 },
  { name: "usr/share/日本", content: "text\n".repeat(50) },
];

const tableOf = (files: readonly TocFile[]) =>
  JSON.stringify({ version: 1, entries: files.flatMap(tocEntries) });

/** Members of a tar up to its end marker. */
async function membersOf(files: readonly TocFile[]): Promise<Buffer[]> {
  const packed = await Promise.all(files.map(({ name, content }) => packTar([{ name, content }])));
  return packed.map((tar) => tar.subarray(0, tar.length - END.length));
}

/** As stargz-snapshotter writes it: gzip members, the table's own, and the footer. `table` is that of `files` unless given. */
async function estargz(files: readonly TocFile[], table = tableOf(files)): Promise<Buffer> {
  const members = (await membersOf(files)).map((member) => gzipSync(member, { level: 0 }));
  const offset = members.reduce((sum, member) => sum + member.length, 0);
  const toc = gzipSync(Buffer.concat([rawMember({ name: "stargz.index.json" }, Buffer.from(table)), END]));
  const extra = Buffer.from(`SG\x16\0${offset.toString(16).padStart(16, "0")}STARGZ`, "latin1");
  const head = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, extra.length, 0]);
  const footer = Buffer.concat([head, extra, Buffer.from([1, 0, 0, 0xff, 0xff]), Buffer.alloc(8)]);
  return Buffer.concat([...members, toc, footer]);
}

/** As containers/storage writes it, with its tar-split frame left empty; `old`: before there was one. */
async function zstdChunked(files: readonly TocFile[], table = tableOf(files), old = false): Promise<Buffer> {
  const frames = [...(await membersOf(files)), END].map(zstdFrame);
  const skippable = (data: Uint8Array) => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(0x184d2a50, 0);
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data]);
  };
  const toc = zstdFrame(Buffer.from(table));
  const offset = frames.reduce((sum, frame) => sum + frame.length, 0) + 8;
  const numbers = [offset, toc.length, table.length, 1, ...(old ? [] : [0, 0, 0])];
  const footer = Buffer.concat([
    Buffer.from(BigUint64Array.from(numbers.map(BigInt)).buffer),
    Buffer.from(old ? "GnUlInUx" : "GNUlInUx"),
  ]);
  return Buffer.concat([
    ...frames,
    skippable(toc),
    ...(old ? [] : [skippable(Buffer.alloc(0))]),
    skippable(footer),
  ]);
}

const changed = (name: string, at: number) =>
  TOC_FILES.map((file) => {
    if (file.name !== name) return file;
    return { ...file, content: `${file.content.slice(0, at)}!${file.content.slice(at + 1)}` };
  });
const NOT_IN_A_FILE = /^not in a file: all match the layer's table of contents/;

describe.each([
  ["eStargz", estargz],
  ["zstd:chunked", zstdChunked],
  [
    "zstd:chunked, old footer",
    (files: readonly TocFile[], table?: string) => zstdChunked(files, table, true),
  ],
])("%s", (_, build) => {
  const table = tableOf(TOC_FILES);

  test("all files as the table says", async () => {
    expect(await locateIn(await build(TOC_FILES))).toMatch(NOT_IN_A_FILE);
    expect(await locateIn(await build(TOC_FILES), 100)).toMatch(NOT_IN_A_FILE);
  });

  test("the first file whose content is wrong, and which part of it", async () => {
    expect(await locateIn(await build(changed("etc/motd", 2), table))).toBe(
      "the content of etc/motd differs from the layer's table of contents",
    );
    expect(await locateIn(await build(changed("usr/bin/tool", 4001), table))).toBe(
      "the content of usr/bin/tool, bytes 4000 to 8000, differs from the layer's table of contents",
    );
    expect(await locateIn(await build(changed("usr/bin/tool", 9999), table), 77)).toBe(
      "the content of usr/bin/tool, bytes 8000 to 10000, differs from the layer's table of contents",
    );
    expect(await locateIn(await build(changed("usr/share/日本", 0), table))).toBe(
      "the content of usr/share/日本 differs from the layer's table of contents",
    );
  });

  test("a part without a digest of its own is covered by the digest of the whole", async () => {
    const entries = TOC_FILES.flatMap(tocEntries).map((entry) => ({ ...entry, chunkDigest: undefined }));
    const blob = await build(changed("usr/bin/tool", 1), JSON.stringify({ version: 1, entries }));
    expect(await locateIn(blob)).toBe(
      "the content of usr/bin/tool differs from the layer's table of contents",
    );
  });

  test("a file longer or shorter than the table says", async () => {
    const longer = TOC_FILES.map((file) => ({ ...file, content: `${file.content}more` }));
    expect(await locateIn(await build(longer.slice(1), table))).toMatch(
      /^the content of usr\/bin\/tool, bytes 8000/,
    );
    const shorter = TOC_FILES.map((file) => ({ ...file, content: file.content.slice(0, -1) }));
    expect(await locateIn(await build(shorter, table))).toMatch(/^the content of etc\/motd differs/);
  });

  test("tables that make no sense", async () => {
    const entries = [
      { name: "etc/motd", type: "reg", digest: "sha256:short", chunkOffset: -5, chunkDigest: "md5:1" },
      { name: "usr/bin/tool", type: "chunk", chunkOffset: 1e300, chunkDigest: sha256("") },
      { name: "../x", type: "reg", digest: sha256("") },
      { name: 5 },
    ];
    expect(await locateIn(await build(TOC_FILES, JSON.stringify({ entries })))).toMatch(NOT_IN_A_FILE);
    for (const broken of ["", "{", "[]", '{"entries":[1]}']) {
      const text = await locateIn(await build(TOC_FILES, broken));
      expect(text).toMatch(/^the layer's table of contents cannot be read: /);
    }
  });

  test("any mutation gives a line or null", async () => {
    const blob = await build(TOC_FILES);
    const edit = fc.tuple(fc.nat(blob.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 5 }), fc.nat(), async (edits, cut) => {
        const copy = Buffer.from(blob);
        for (const [at, byte] of edits) copy[at] = byte;
        const text = await locateIn(cut % 4 === 0 ? copy.subarray(0, cut % blob.length) : copy);
        expect(text === null || /^[^\n]{10,600}$/.test(text), String(text)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});

describe("eStargz", () => {
  test("a byte of a file in the blob: its digest tells before the check of the gzip member does", async () => {
    const blob = await estargz(TOC_FILES);
    const at = blob.indexOf("welcome");
    expect(() => gunzipSync(flipped(blob, at))).toThrow();
    expect(await locateIn(flipped(blob, at))).toBe(
      "the content of etc/motd differs from the layer's table of contents",
    );
  });

  test("unpacked, as docker save writes it, it still has its table", async () => {
    const plain = gunzipSync(await estargz(changed("usr/bin/tool", 1), tableOf(TOC_FILES)));
    expect(await locateIn(plain)).toMatch(/^the content of usr\/bin\/tool, bytes 0 to 4000, differs/);
  });

  test("a footer that leads nowhere", async () => {
    const blob = await estargz(TOC_FILES);
    const text = (place: string) => {
      const copy = Buffer.from(blob);
      copy.write(place, copy.length - 51 + 16, "latin1");
      return locateIn(copy);
    };
    expect(await text("ffffffffffffffff")).toMatch(/table of contents cannot be read/);
    expect(await text("0000000000000001")).toMatch(/table of contents cannot be read/);
  });
});

describe("zstd:chunked", () => {
  test("a table of more than 32 MiB is not read", async () => {
    const blob = await zstdChunked(TOC_FILES, " ".repeat((32 << 20) + 1));
    expect(await locateIn(blob)).toMatch(/cannot be read: more than the 33554432 bytes allowed/);
  });

  test("a layer made by skopeo", async () => {
    const archive = new URL("../../fixtures/oci-archive/zstd-chunked/input.tar", import.meta.url).pathname;
    const tree = (await openTarTree(await openFile(archive), () => undefined))!;
    const digest = "e2cd3d3bf36deb7b0f1aef5b26344f03b7a23e2d13beecc59b0e64cefedbf89b";
    const source = await tree.open(`blobs/sha256/${digest}` as BytePath);
    const blob = await readAll(source, 1 << 20);
    expect(sha256(blob)).toBe(`sha256:${digest}`);
    expect(await locate({ label: "layer", range: source.range! })).toMatch(NOT_IN_A_FILE);
    await tree.close();
    // opt/app/run.py lies at bytes 130 to 6519; which way a changed byte shows is up to what it means there.
    for (const at of [200, 3000, 6000, 6510]) {
      const text = await locateIn(flipped(blob, at));
      expect(text).toMatch(/opt\/app\/run\.py/);
    }
  });
});
