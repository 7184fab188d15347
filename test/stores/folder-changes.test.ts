import { describe, expect, test } from "vitest";
import type { BytePath } from "../../src/byte-path.ts";
import { bufferSource } from "../../src/bytes/source.ts";
import type { Change } from "../../src/formats/layer.ts";
import { noDoubts, readFolder } from "../../src/stores/folder-changes.ts";
import { openTarTree } from "../../src/trees/tar.ts";
import type { ReadOnlyTree } from "../../src/trees/tree.ts";
import { type Item, packTar } from "../helpers/tar-writer.ts";

const folder = (name: string, xattrs: Record<string, string> = {}): Item => ({
  name: `diff/${name}`,
  type: "directory",
  pax: Object.fromEntries(Object.entries(xattrs).map(([key, value]) => [`SCHILY.xattr.${key}`, value])),
});
const file = (name: string, content = "", xattrs: Record<string, string> = {}): Item => ({
  ...folder(name, xattrs),
  type: "file",
  content,
});

async function treeOf(items: readonly Item[]): Promise<ReadOnlyTree> {
  return (await openTarTree(bufferSource("test", await packTar(items)), () => undefined))!;
}

async function changes(tree: ReadOnlyTree, isDiff: boolean, doubts = noDoubts()): Promise<Change[]> {
  const found: Change[] = [];
  for await (const one of readFolder(tree, "diff" as BytePath, isDiff, doubts)) found.push(one);
  return found;
}

const ITEMS: readonly Item[] = [
  folder("a/", { "trusted.overlay.opaque": "y" }),
  folder("b/", { "user.overlay.opaque": "y" }),
  folder("c/", { "trusted.overlay.opaque": "x", "trusted.overlay.redirect": "/old" }),
  file("c/gone", "", { "trusted.overlay.whiteout": "y" }),
  file("a/.wh.hidden"),
  file("b/data", "12345"),
  { name: "diff/b/link", type: "link", linkname: "diff/b/data" },
  { name: "diff/b/motd", type: "symlink", linkname: "/run/motd" },
  { name: "diff/dead", type: "character-device" },
  file("empty"),
];

describe("a folder of overlayfs", () => {
  test("whiteouts and opaque folders in each of their forms", async () => {
    const doubts = noDoubts();
    expect((await changes(await treeOf(ITEMS), true, doubts)).sort(byPath)).toEqual(
      [
        { kind: "directory", path: "a" },
        { kind: "opaque", path: "a" },
        { kind: "whiteout", path: "a/hidden" },
        { kind: "directory", path: "b" },
        { kind: "opaque", path: "b" },
        { kind: "file", path: "b/data", size: 5 },
        { kind: "hardlink", path: "b/link", target: "b/data" },
        { kind: "symlink", path: "b/motd", target: "/run/motd" },
        { kind: "directory", path: "c" },
        { kind: "whiteout", path: "c/gone" },
        { kind: "whiteout", path: "dead" },
        { kind: "file", path: "empty", size: 0, crc: 0n },
      ].sort(byPath),
    );
    expect([...doubts.maybeOpaque]).toEqual([]);
    expect([...doubts.redirected]).toEqual(["c"]);
  });

  test("a view of the whole tree: names mean nothing but themselves, and all below is hidden", async () => {
    const found = await changes(await treeOf(ITEMS), false);
    expect(found[0]).toEqual({ kind: "opaque", path: "" });
    expect(found.filter((one) => one.kind === "whiteout" || one.kind === "opaque")).toHaveLength(1);
    expect(found).toContainEqual({ kind: "file", path: "a/.wh.hidden", size: 0, crc: 0n });
    expect(found).toContainEqual({ kind: "other", path: "dead" });
  });

  test("without attributes folders are in doubt, but for those above a whiteout", async () => {
    const tree = await treeOf([
      folder("a/"),
      folder("a/b/"),
      { name: "diff/a/b/dead", type: "character-device" },
      folder("a/c/"),
      file("a/c/new", "1"),
    ]);
    const blind = Object.assign(Object.create(tree) as ReadOnlyTree, { xattrs: async () => null });
    const doubts = noDoubts();
    await changes(blind, true, doubts);
    expect([...doubts.maybeOpaque]).toEqual(["a/c"]);
  });
});

function byPath(x: object, y: object): number {
  return JSON.stringify(x, replaceBigint) < JSON.stringify(y, replaceBigint) ? -1 : 1;
}

function replaceBigint(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
