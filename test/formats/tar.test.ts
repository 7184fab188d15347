import fc from "fast-check";
import { extract } from "tar-stream";
import { describe, expect, test } from "vitest";
import { type ByteSource, bufferSource } from "../../src/bytes/source.ts";
import { FormatError, TruncatedError } from "../../src/errors.ts";
import { listTar, readTar, type TarEnd, type TarEntry } from "../../src/formats/tar.ts";
import {
  base256,
  END,
  GNU,
  type Item,
  inChunks,
  packTar,
  paxMember,
  paxRecord,
  rawHeader,
  rawMember,
  V7,
} from "../helpers/tar-writer.ts";

interface Read {
  readonly entries: TarEntry[];
  readonly contents: string[];
  readonly end: TarEnd;
}

async function list(source: ByteSource | Uint8Array): Promise<Omit<Read, "contents">> {
  const entries: TarEntry[] = [];
  const members = listTar(source instanceof Uint8Array ? bufferSource("test.tar", source) : source);
  for (;;) {
    const next = await members.next();
    if (next.done) return { entries, end: next.value };
    entries.push(next.value.entry);
  }
}

async function read(bytes: Uint8Array, chunkSize?: number): Promise<Read> {
  const entries: TarEntry[] = [];
  const contents: string[] = [];
  const members = readTar(inChunks(bytes, chunkSize));
  for (;;) {
    const next = await members.next();
    if (next.done) return { entries, contents, end: next.value };
    entries.push(next.value.entry);
    const pieces: Buffer[] = [];
    for await (const piece of next.value.data) pieces.push(Buffer.from(piece));
    contents.push(Buffer.concat(pieces).toString("latin1"));
  }
}

/** The only member of an archive, which both readers must agree on. */
async function only(...parts: readonly Uint8Array[]): Promise<TarEntry> {
  const bytes = Buffer.concat([...parts, END]);
  const { entries, end } = await list(bytes);
  expect(await read(bytes)).toMatchObject({ entries, end });
  expect(end).toEqual({ offset: bytes.length - END.length, marked: true });
  expect(entries).toHaveLength(1);
  return entries[0]!;
}

describe("headers", () => {
  test("ustar: fields, offsets, data and its padding", async () => {
    const bytes = Buffer.concat([
      rawMember({ name: "etc/", type: "5", mode: "0000755\0" }),
      rawMember({ name: "etc/hosts", mode: "0104644\0" }, "127.0.0.1 localhost\n"),
      rawMember({ name: "etc/motd", type: "2", linkName: "../run/motd" }),
      END,
    ]);
    const { entries, contents, end } = await read(bytes);
    const plain = {
      linkName: "",
      sparse: false,
      uid: 0,
      gid: 0,
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: null,
    };
    const [directory, file, symlink] = entries;
    expect(directory).toEqual({
      ...plain,
      rawName: "etc/",
      type: "directory",
      size: 0,
      realSize: 0,
      mode: 0o755,
      start: 0,
      dataStart: 512,
    });
    const ofFile = { rawName: "etc/hosts", type: "file", size: 20, realSize: 20, mode: 0o4644 };
    expect(file).toEqual({ ...plain, ...ofFile, start: 512, dataStart: 1024 });
    expect(symlink).toMatchObject({
      rawName: "etc/motd",
      type: "symlink",
      linkName: "../run/motd",
      start: 1536,
    });
    expect(contents).toEqual(["", "127.0.0.1 localhost\n", ""]);
    expect(end).toEqual({ offset: 2048, marked: true });
    expect((await list(bytes)).entries).toEqual(entries);
  });

  test("a name of 100 bytes has no NUL behind it, and neither has a link of 100", async () => {
    const entry = await only(
      rawMember({ name: "n".repeat(100), type: "2", linkName: "l".repeat(100), mode: "0000777 " }),
    );
    expect(entry).toMatchObject({ rawName: "n".repeat(100), linkName: "l".repeat(100), mode: 0o777 });
  });

  test("ustar joins prefix and name; in a GNU header the same bytes mean something else", async () => {
    const patch = { 345: Buffer.from("usr/share") };
    expect((await only(rawMember({ name: "doc", patch }))).rawName).toBe("usr/share/doc");
    expect((await only(rawMember({ name: "doc", magic: GNU, patch }))).rawName).toBe("doc");
  });

  test("V7: no magic; a name that ends in a slash is a folder", async () => {
    expect(await only(rawMember({ name: "a", magic: V7, type: "\0" }, "x"))).toMatchObject({
      type: "file",
      size: 1,
    });
    expect(await only(rawMember({ name: "a/", magic: V7, type: "\0" }))).toMatchObject({ type: "directory" });
    // As Go reads it: only where the type is not given.
    expect(await only(rawMember({ name: "a/", type: "0" }, "x"))).toMatchObject({ type: "file", size: 1 });
  });

  test("names are bytes", async () => {
    expect((await only(rawMember({ name: "caf\xe9\xff" }))).rawName).toBe("caf\xe9\xff");
    const utf8 = Buffer.from("日本語.txt").toString("latin1");
    expect((await only(paxMember({ path: utf8 }), rawMember({ name: "x" }))).rawName).toBe(utf8);
  });

  test("hard links have no data, whatever their size field says", async () => {
    const bytes = Buffer.concat([
      rawMember({ name: "a" }, "data"),
      rawHeader({ name: "b", type: "1", linkName: "a", size: 4 }),
      rawMember({ name: "c" }, "more"),
      END,
    ]);
    const { entries, contents } = await read(bytes);
    expect(contents).toEqual(["data", "", "more"]);
    expect(entries[1]).toMatchObject({ type: "hardlink", linkName: "a", size: 0 });
    expect((await list(bytes)).entries).toEqual(entries);
  });

  test("devices, pipes and unknown types", async () => {
    const patch = { 329: Buffer.from("0000007\0"), 337: Buffer.from("0000010\0") };
    const device = { deviceMajor: 7, deviceMinor: 8 };
    expect(await only(rawMember({ type: "3", patch }))).toMatchObject({ type: "char", ...device });
    expect(await only(rawMember({ type: "4", patch }))).toMatchObject({ type: "block", ...device });
    expect(await only(rawMember({ type: "6" }))).toMatchObject({ type: "fifo", deviceMajor: 0 });
    expect(await only(rawMember({ type: "V" }, "label"))).toMatchObject({ type: "other", size: 5 });
    expect(await only(rawMember({ type: "7" }, "1"))).toMatchObject({ type: "file", size: 1 });
  });

  test("octal numbers with spaces around them, and a checksum of signed bytes", async () => {
    const size = Buffer.from("         3 \0");
    expect((await only(rawMember({ name: "a", size }, "abc"))).size).toBe(3);
    const sum = rawHeader({ name: "\xff" }).reduce((total, byte, i) => {
      return total + (i >= 148 && i < 156 ? 0x20 : byte > 127 ? byte - 256 : byte);
    }, 0);
    const checksum = `${sum.toString(8).padStart(6, "0")}\0 `;
    expect((await only(rawMember({ name: "\xff", checksum }))).rawName).toBe("\xff");
  });
});

describe("extensions", () => {
  test("PAX: name, link and size; start is that of the PAX header", async () => {
    const path = `${"deep/".repeat(40)}file`;
    const entry = await only(
      paxMember({ path, linkpath: "t".repeat(150), mtime: "1.5", comment: "a=b\nc" }),
      rawMember({ name: "short", type: "2" }),
    );
    expect(entry).toMatchObject({ rawName: path, linkName: "t".repeat(150), start: 0, dataStart: 1536 });
    const sized = await only(paxMember({ size: "5" }), rawMember({ name: "a", size: 0 }, "abcde"));
    expect(sized).toMatchObject({ size: 5, realSize: 5 });
  });

  test("PAX: an empty value leaves what the header says", async () => {
    const entry = await only(paxMember({ path: "", size: "" }), rawMember({ name: "kept" }, "abc"));
    expect(entry).toMatchObject({ rawName: "kept", size: 3 });
  });

  test("PAX: records are for the next member only, global ones for none", async () => {
    const bytes = Buffer.concat([
      rawMember({ type: "g" }, paxRecord("path", "global")),
      paxMember({ path: "first" }),
      rawMember({ name: "1" }),
      rawMember({ name: "second" }),
      END,
    ]);
    const { entries } = await list(bytes);
    expect(entries.map(({ rawName, start }) => [rawName, start])).toEqual([
      ["first", 1024],
      ["second", 2560],
    ]);
  });

  test("PAX: the end of a record is found by its length, not by newlines", async () => {
    expect(paxRecord("path", "x".repeat(90))).toMatch(/^99 path=/);
    expect(paxRecord("path", "x".repeat(91))).toMatch(/^101 path=/);
    const entry = await only(paxMember({ path: "new\nline", uid: "0" }), rawMember({ name: "a" }));
    expect(entry.rawName).toBe("new\nline");
  });

  test.each([
    ["no length", "path=x\n"],
    ["a length past the end", "99 path=x\n"],
    ["a length in the middle", "6 path=x\n"],
    ["no equals sign", "9 pathxx\n"],
    ["a size that is no number", paxRecord("size", "-1")],
    ["a size beyond 2^53", paxRecord("size", "9007199254740993")],
  ])("PAX: %s", async (_, records) => {
    const bytes = Buffer.concat([rawMember({ type: "x" }, records), rawMember({ name: "a" }), END]);
    await expect(list(bytes)).rejects.toThrow(FormatError);
    await expect(read(bytes)).rejects.toThrow(FormatError);
  });

  test("GNU long name and long link", async () => {
    const name = `${"n".repeat(300)}\0`;
    const link = `${"l".repeat(600)}\0`;
    const entry = await only(
      rawMember({ name: "././@LongLink", type: "K", magic: GNU }, link),
      rawMember({ name: "././@LongLink", type: "L", magic: GNU }, name),
      rawMember({ name: "nnn", type: "2", linkName: "lll", magic: GNU }),
    );
    expect(entry).toMatchObject({ rawName: "n".repeat(300), linkName: "l".repeat(600), start: 0 });
  });

  test("extension headers of more than 1 MiB, or of no member", async () => {
    const large = rawHeader({ type: "L", size: (1 << 20) + 1 });
    await expect(list(Buffer.concat([large, END]))).rejects.toThrow("an extension header of 1048577 bytes");
    await expect(list(Buffer.concat([paxMember({ path: "a" }), END]))).rejects.toThrow(
      "followed by no member",
    );
    await expect(list(paxMember({ path: "a" }))).rejects.toThrow(TruncatedError);
    await expect(read(paxMember({ path: "a" }))).rejects.toThrow(TruncatedError);
  });

  test("old GNU sparse: the map may go on in blocks of its own, which are not data", async () => {
    const more = Buffer.alloc(512);
    more[504] = 1;
    const patch = { 482: Uint8Array.of(1), 483: Buffer.from("00000100000\0") };
    const bytes = Buffer.concat([
      rawHeader({ name: "sparse", type: "S", magic: GNU, size: 4, patch }),
      more,
      Buffer.alloc(512),
      rawMember({ name: "unused" }, "data").subarray(512),
      rawMember({ name: "next" }, "x"),
      END,
    ]);
    const { entries, contents } = await read(bytes);
    expect(entries[0]).toMatchObject({
      rawName: "sparse",
      type: "file",
      sparse: true,
      size: 4,
      realSize: 32768,
    });
    expect(entries[0]).toMatchObject({ start: 0, dataStart: 1536 });
    expect(contents).toEqual(["data", "x"]);
    expect((await list(bytes)).entries).toEqual(entries);
  });

  test("PAX sparse: real name and real size", async () => {
    const records = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "disk.img" };
    const entry = await only(
      paxMember({ ...records, "GNU.sparse.realsize": "1000000" }),
      rawMember({ name: "GNUSparseFile.0/disk.img" }, "1\n0\n4\n"),
    );
    expect(entry).toMatchObject({ rawName: "disk.img", sparse: true, size: 6, realSize: 1_000_000 });
  });
});

/** Reports any length and reads as zeros but for the blocks given, by offset. */
function hugeSource(byteLength: number, blocks: ReadonlyMap<number, Uint8Array>): ByteSource {
  return {
    ...bufferSource("huge.tar", new Uint8Array(0)),
    byteLength,
    async read(offset, length) {
      if (offset + length > byteLength) throw new TruncatedError("huge.tar: ends early");
      const bytes = Buffer.alloc(length);
      for (const [at, block] of blocks) {
        const from = at - offset;
        if (from > -block.length && from < length)
          bytes.set(block.subarray(Math.max(0, -from)), Math.max(0, from));
      }
      return bytes;
    },
  };
}

describe("sizes over 8 GiB", () => {
  const size = 0x3_0000_0001; // 12 GiB and a byte
  const end = 512 + 0x3_0000_0200;

  test("base-256, seeking over the data", async () => {
    const blocks = new Map([
      [0, rawHeader({ name: "layer.tar", size: base256(BigInt(size)), magic: GNU })],
      [end, rawHeader({ name: "after" })],
    ]);
    const { entries } = await list(hugeSource(end + 1536, blocks));
    expect(entries.map(({ rawName, start }) => [rawName, start])).toEqual([
      ["layer.tar", 0],
      ["after", end],
    ]);
    expect(entries[0]!.size).toBe(size);
  });

  test("PAX, and an archive that is cut off within the file", async () => {
    const head = Buffer.concat([paxMember({ size: String(size) }), rawHeader({ name: "layer.tar" })]);
    const source = hugeSource(5_000_000_000, new Map([[0, head]]));
    await expect(list(source)).rejects.toThrow("the archive ends at byte 5000000000, within layer.tar");
  });

  test("no size beyond 2^53 and none below zero", async () => {
    for (const value of [1n << 53n, (1n << 62n) - 1n]) {
      const bytes = Buffer.concat([rawHeader({ name: "a", size: base256(value) }), END]);
      await expect(list(bytes)).rejects.toThrow("a size out of range");
    }
    const negative = Buffer.alloc(12, 0xff);
    await expect(list(Buffer.concat([rawHeader({ size: negative }), END]))).rejects.toThrow(FormatError);
  });
});

describe("damage", () => {
  const members = Buffer.concat([rawMember({ name: "a" }, "first"), rawMember({ name: "b" }, "second")]);
  const tar = Buffer.concat([members, END]);

  test("a checksum that does not match", async () => {
    const wrong = Buffer.from(tar);
    wrong[1024]! ^= 1;
    const error = await list(wrong).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect(error).toMatchObject({ format: "tar", offset: 1024 });
    expect(error.message).toContain("at byte 1024");
    await expect(read(wrong)).rejects.toThrow("no tar header here");
  });

  test("cut off: within a header, within data, within padding, between members", async () => {
    for (const length of [100, 515, 600, 1500, 1540]) {
      await expect(list(tar.subarray(0, length))).rejects.toThrow(TruncatedError);
      await expect(read(tar.subarray(0, length))).rejects.toThrow(TruncatedError);
    }
    for (const length of [0, 1024, 2048]) {
      const end = { offset: length, marked: false };
      expect((await list(tar.subarray(0, length))).end).toEqual(end);
      expect((await read(tar.subarray(0, length))).end).toEqual(end);
    }
  });

  test("one block of zeros ends an archive only when nothing follows", async () => {
    const end = { offset: 2048, marked: true };
    expect((await list(tar.subarray(0, 2560))).end).toEqual(end);
    expect((await read(tar.subarray(0, 2560))).end).toEqual(end);
    const wiped = Buffer.from(tar).fill(0, 1024, 1536);
    await expect(list(wiped)).rejects.toThrow("a lone block of zeros where a header should be at byte 1024");
    await expect(read(wiped)).rejects.toThrow("a lone block of zeros");
  });

  test("what follows the end marker is not looked at", async () => {
    const { entries, end } = await read(Buffer.concat([tar, Buffer.alloc(1000, 1)]));
    expect(entries).toHaveLength(2);
    expect(end.marked).toBe(true);
  });
});

const component = fc.string({ unit: fc.constantFrom(..."abcxyz0-_é日"), minLength: 1, maxLength: 40 });
const name = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));
const item: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ name, content: fc.uint8Array({ maxLength: 2000 }) }),
  fc.record({ name: name.map((path) => `${path}/`), type: fc.constant("directory" as const) }),
  fc.record({ name, type: fc.constantFrom("symlink" as const, "link" as const), linkname: name }),
  fc.record({ name, type: fc.constantFrom("fifo" as const, "character-device" as const) }),
);
const items = fc.array(item, { maxLength: 12 });

const TYPES: Readonly<Record<string, string>> = {
  file: "file",
  directory: "directory",
  symlink: "symlink",
  hardlink: "link",
  char: "character-device",
  fifo: "fifo",
};

/** What tar-stream reads, as [name, type, size, link, content]. */
async function secondOpinion(bytes: Buffer): Promise<unknown[]> {
  const found: unknown[] = [];
  const reader = extract();
  reader.end(bytes);
  for await (const entry of reader) {
    const { name, type, size, linkname } = entry.header;
    const pieces: Buffer[] = [];
    for await (const piece of entry) pieces.push(piece as Buffer);
    found.push([name, type, size, linkname ?? "", Buffer.concat(pieces).toString("latin1")]);
  }
  return found;
}

describe("properties", () => {
  test("both readers and tar-stream agree", async () => {
    await fc.assert(
      fc.asyncProperty(items, async (wanted) => {
        const bytes = await packTar(wanted);
        const { entries, contents, end } = await read(bytes);
        expect(await list(bytes)).toEqual({ entries, end });
        const text = (raw: string) => Buffer.from(raw, "latin1").toString("utf8");
        const ours = entries.map((entry, i) => {
          return [text(entry.rawName), TYPES[entry.type], entry.size, text(entry.linkName), contents[i]];
        });
        expect(ours).toEqual(await secondOpinion(bytes));
        expect(ours.map(([path]) => path)).toEqual(wanted.map((one) => one.name));
      }),
      { numRuns: 60 },
    );
  });

  test("chunk boundaries change nothing", async () => {
    await fc.assert(
      fc.asyncProperty(items, fc.integer({ min: 1, max: 1500 }), async (wanted, chunkSize) => {
        const bytes = await packTar(wanted);
        expect(await read(bytes, chunkSize)).toEqual(await read(bytes));
      }),
      { numRuns: 40 },
    );
  });

  test("members that are not read are skipped", async () => {
    const bytes = await packTar([{ name: "a", content: "x".repeat(1000) }, { name: "b" }]);
    const names: string[] = [];
    for await (const { entry, data } of readTar(inChunks(bytes, 100))) {
      names.push(entry.rawName);
      for await (const _ of data) break;
    }
    expect(names).toEqual(["a", "b"]);
  });

  test("any mutation gives members or an error of ours, the same from both readers", async () => {
    const outcome = async (reading: Promise<{ entries: TarEntry[] }>) => {
      try {
        return (await reading).entries;
      } catch (error) {
        expect(error instanceof FormatError || error instanceof TruncatedError, String(error)).toBe(true);
        return (error as Error).constructor.name;
      }
    };
    const edit = fc.record({ at: fc.nat(), byte: fc.nat(255) });
    const base = packTar([
      { name: "a/", type: "directory" },
      { name: `a/${"long".repeat(40)}`, content: "content", pax: { comment: "é" } },
      { name: "a/link", type: "link", linkname: "a/b" },
      { name: "日本", content: "x".repeat(700) },
    ]);
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 8 }), fc.nat(), async (edits, cut) => {
        const bytes = Buffer.from(await base);
        for (const { at, byte } of edits) bytes[at % bytes.length] = byte;
        const kept = bytes.subarray(0, cut % 3 === 0 ? cut % bytes.length : bytes.length);
        expect(await outcome(read(kept, 333))).toEqual(await outcome(list(kept)));
      }),
      { numRuns: 300 },
    );
  });

  test("any edit of a header whose checksum is put right again", async () => {
    const edit = fc.record({ at: fc.nat(511), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), async (edits) => {
        const patch = Object.fromEntries(edits.map(({ at, byte }) => [at, Uint8Array.of(byte)]));
        const bytes = Buffer.concat([rawHeader({ name: "a", patch }), Buffer.alloc(512, "7 a=b\n"), END]);
        const results = await Promise.allSettled([read(bytes), list(bytes)]);
        for (const result of results) {
          if (result.status === "fulfilled") continue;
          const { reason } = result;
          expect(reason instanceof FormatError || reason instanceof TruncatedError, String(reason)).toBe(
            true,
          );
        }
        expect(results[0].status).toBe(results[1].status);
      }),
      { numRuns: 500 },
    );
  });
});
