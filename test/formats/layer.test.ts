import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { FormatError, TruncatedError } from "../../src/errors.ts";
import { type Change, readLayer, unpackLayer } from "../../src/formats/layer.ts";
import { END, inChunks, packTar, paxMember, rawHeader, rawMember } from "../helpers/tar-writer.ts";

async function changesIn(bytes: Uint8Array, chunkSize?: number): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const change of readLayer(inChunks(bytes, chunkSize), "test")) changes.push(change);
  return changes;
}

/** The change that a member of this name, a file of no bytes, stands for. */
async function meaning(name: string): Promise<Change[]> {
  return changesIn(Buffer.concat([rawMember({ name }), END]));
}

describe("changes", () => {
  test("what a layer puts in place", async () => {
    const tar = await packTar([
      { name: "./", type: "directory" },
      { name: "./etc/", type: "directory" },
      { name: "/etc/hosts", content: "12345" },
      { name: "etc/also", type: "link", linkname: "./etc/hosts" },
      { name: "etc/odd", type: "link", linkname: "../etc/hosts" },
      { name: "etc/motd", type: "symlink", linkname: "/run/motd" },
      { name: "dev/null", type: "character-device" },
      { name: "run/pipe", type: "fifo" },
    ]);
    expect(await changesIn(tar)).toEqual([
      { kind: "directory", path: "" },
      { kind: "directory", path: "etc" },
      { kind: "file", path: "etc/hosts", size: 5 },
      { kind: "hardlink", path: "etc/also", target: "etc/hosts" },
      { kind: "hardlink", path: "etc/odd", target: null },
      { kind: "symlink", path: "etc/motd", target: "/run/motd" },
      { kind: "other", path: "dev/null" },
      { kind: "other", path: "run/pipe" },
    ]);
  });

  test.each([
    ["etc/.wh.hosts", { kind: "whiteout", path: "etc/hosts" }],
    [".wh.etc", { kind: "whiteout", path: "etc" }],
    ["./a/.wh..cache", { kind: "whiteout", path: "a/.cache" }],
    ["a/.wh..wh", { kind: "whiteout", path: "a/.wh" }],
    ["a/.wh.b\xff", { kind: "whiteout", path: "a/b\xff" }],
    ["a/.wh..wh..opq", { kind: "opaque", path: "a" }],
    [".wh..wh..opq", { kind: "opaque", path: "" }],
    ["a/x.wh.b", { kind: "file", path: "a/x.wh.b", size: 0 }],
    ["a/.wh.b/c", { kind: "file", path: "a/.wh.b/c", size: 0 }],
    [".wh.", { kind: "invalid", rawName: ".wh." }],
    ["a/.wh..", { kind: "invalid", rawName: "a/.wh.." }],
    ["a/.wh...", { kind: "invalid", rawName: "a/.wh..." }],
    ["../etc/passwd", { kind: "invalid", rawName: "../etc/passwd" }],
    ["a/../../b", { kind: "invalid", rawName: "a/../../b" }],
  ])("%s", async (name, change) => {
    expect(await meaning(name)).toEqual([change]);
  });

  test.each([".wh..wh.plnk", ".wh..wh.plnk/12.34", ".wh..wh.aufs", ".wh..wh.orph/x", "a/.wh..wh..opq/b"])(
    "%s is left over from AUFS",
    async (name) => expect(await meaning(name)).toEqual([]),
  );

  test("a NUL in a name, which only PAX can write", async () => {
    const tar = Buffer.concat([paxMember({ path: "a\0b" }), rawMember({ name: "a" }), END]);
    expect(await changesIn(tar)).toEqual([{ kind: "invalid", rawName: "a\0b" }]);
  });
});

test("checksums of files, where they are asked for", async () => {
  const tar = await packTar([{ name: "a", content: "123456789" }, { name: "b" }]);
  const found: Change[] = [];
  for await (const change of readLayer(inChunks(tar, 7), "test", "tar", { checksums: true }))
    found.push(change);
  expect(found).toEqual([
    { kind: "file", path: "a", size: 9, crc: 0xb90956c775a41001n },
    { kind: "file", path: "b", size: 0, crc: 0n },
  ]);
});

describe("unpacking", () => {
  test("by the first bytes, however they are cut", async () => {
    const tar = await packTar([{ name: "a", content: "x".repeat(3000) }]);
    const expected = [{ kind: "file", path: "a", size: 3000 }];
    for (const stored of [tar, gzipSync(tar)]) {
      for (const size of [1, 5, 6, 7, 512]) expect(await changesIn(stored, size)).toEqual(expected);
    }
  });

  test("a source that uses its buffer again is read right", async () => {
    const stored = gzipSync(Buffer.from("some text, some more text"));
    async function* reused() {
      const buffer = Buffer.alloc(4);
      for (let at = 0; at < stored.length; at += 4)
        yield buffer.subarray(0, stored.copy(buffer, 0, at, at + 4));
    }
    const pieces: Uint8Array[] = [];
    for await (const piece of unpackLayer(reused(), "test")) pieces.push(Uint8Array.from(piece));
    expect(Buffer.concat(pieces).toString()).toBe("some text, some more text");
  });

  test("nothing at all is a layer without changes", async () => {
    expect(await changesIn(new Uint8Array(0))).toEqual([]);
  });

  test("the source is closed when reading stops early", async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield rawHeader({ name: "a" });
      } finally {
        closed = true;
      }
    }
    for await (const _ of readLayer(source(), "test")) break;
    expect(closed).toBe(true);
  });

  test("changes before the damage come out first", async () => {
    const tar = await packTar([{ name: "a" }, { name: "b", content: "x".repeat(2000) }]);
    const seen: string[] = [];
    const run = async (bytes: Uint8Array) => {
      for await (const change of readLayer(inChunks(bytes), "test")) seen.push(change.kind);
    };
    await expect(run(tar.subarray(0, 1600))).rejects.toThrow(TruncatedError);
    await expect(run(Buffer.from("no tar ".repeat(100)))).rejects.toThrow(FormatError);
    expect(seen).toEqual(["file", "file"]);
  });
});
