import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { measureWaste, type WasteResult, wasteOf } from "../../src/analyses/waste.ts";
import { type BytePath, displayPath } from "../../src/byte-path.ts";
import { type ByteSource, openFile, readAll } from "../../src/bytes/source.ts";
import { parseSavedImage } from "../../src/formats/docker-archive.ts";
import { asArray, parseJson } from "../../src/formats/json.ts";
import type { Change } from "../../src/formats/layer.ts";
import { openTarTree } from "../../src/trees/tar.ts";
import type { ReadOnlyTree } from "../../src/trees/tree.ts";
import waste from "../../workers/waste.ts";
import { inChunks, packTar } from "../helpers/tar-writer.ts";

const path = (text: string) => text as BytePath;
const file = (name: string, size: number): Change => ({ kind: "file", path: path(name), size });
const link = (name: string, target: string): Change => ({
  kind: "hardlink",
  path: path(name),
  target: path(target),
});
const directory = (name: string): Change => ({ kind: "directory", path: path(name) });
const symlink = (name: string): Change => ({ kind: "symlink", path: path(name), target: "x" });
const whiteout = (name: string): Change => ({ kind: "whiteout", path: path(name) });
const opaque = (name: string): Change => ({ kind: "opaque", path: path(name) });

async function* stream(changes: Iterable<Change>): AsyncGenerator<Change> {
  yield* changes;
}

function measure(layers: readonly Iterable<Change>[], top = 100): Promise<WasteResult> {
  const named = layers.map((changes, i) => ({ label: `layer ${i}`, changes: stream(changes) }));
  return measureWaste(named, top);
}

/** Each wasted path as `PATH BYTES xCOPIES LAYER>HIDING LAYER FATE`. */
async function wasted(...layers: readonly Iterable<Change>[]): Promise<string[]> {
  const { worst } = await measure(layers);
  return worst.map((one) => {
    const copies = one.copies === 1 ? "" : ` x${one.copies}`;
    return `${one.path} ${one.bytes}${copies} ${one.layer}>${one.hiddenBy} ${one.fate}`;
  });
}

describe("rules", () => {
  test("nothing is wasted in one layer, nor by new files", async () => {
    expect(await wasted([file("a", 10)])).toEqual([]);
    const result = await measure([[directory("d"), file("d/a", 10)], [file("d/b", 5)]]);
    expect(result).toMatchObject({ fileBytes: 15, wastedBytes: 0, efficiency: 1, worst: [] });
  });

  test("an image without files is efficient", async () => {
    expect(await measure([[directory("a")], []])).toMatchObject({ fileBytes: 0, efficiency: 1 });
    expect((await measure([])).efficiency).toBe(1);
  });

  test("overwritten: every copy but the last", async () => {
    expect(await wasted([file("a", 10)], [file("a", 20)], [file("a", 5)])).toEqual([
      "a 30 x2 1>2 overwritten",
    ]);
  });

  test("deleted: every copy", async () => {
    expect(await wasted([file("d/a", 10)], [file("d/a", 7)], [whiteout("d/a")])).toEqual([
      "d/a 17 x2 0>1 overwritten",
    ]);
    expect(await wasted([file("a", 10)], [], [whiteout("a")])).toEqual(["a 10 0>2 deleted"]);
  });

  test("written again after it was deleted", async () => {
    expect(await wasted([file("a", 10)], [whiteout("a")], [file("a", 3)])).toEqual(["a 10 0>1 deleted"]);
  });

  test("a whiteout of a directory hides all under it, and no name that begins alike", async () => {
    const base = [file("d/a", 1), file("d/e/b", 2), file("dd", 4), file("d.x/c", 8)];
    expect(await wasted(base, [whiteout("d")])).toEqual(["d/e/b 2 0>1 deleted", "d/a 1 0>1 deleted"]);
  });

  test("a whiteout hides only lower layers, in whatever order", async () => {
    const base = [file("d/old", 10), file("d/same", 20)];
    const change = [whiteout("d"), file("d/same", 1), file("d/new", 2)];
    const expected = ["d/same 20 0>1 deleted", "d/old 10 0>1 deleted"];
    expect(await wasted(base, change)).toEqual(expected);
    expect(await wasted(base, change.toReversed())).toEqual(expected);
  });

  test("an opaque marker hides what is in the directory below, in whatever order", async () => {
    const base = [file("d/old", 10), file("d/e/deep", 20), file("f", 40)];
    const change = [directory("d"), file("d/e/new", 1), opaque("d")];
    const expected = ["d/e/deep 20 0>1 deleted", "d/old 10 0>1 deleted"];
    expect(await wasted(base, change)).toEqual(expected);
    expect(await wasted(base, change.toReversed())).toEqual(expected);
    expect(await wasted(base, [opaque("")])).toHaveLength(3);
  });

  test("markers that hide nothing", async () => {
    const markers = [whiteout("x"), whiteout("a/x"), opaque("x/y"), opaque("a"), whiteout("")];
    const result = await measure([[file("a", 10)], markers]);
    expect(result.wastedBytes).toBe(0);
    expect(result.layers[1]).toMatchObject({ whiteoutCount: 3, opaqueCount: 2 });
  });

  test("a directory over a directory merges", async () => {
    expect(await wasted([directory("d"), file("d/a", 10)], [directory("d"), file("d/b", 5)])).toEqual([]);
  });

  test("a file, a link or a device over a directory hides all under it", async () => {
    for (const over of [file("d", 1), symlink("d"), { kind: "other", path: path("d") } as Change]) {
      expect(await wasted([file("d/e/a", 10)], [over])).toEqual(["d/e/a 10 0>1 replaced"]);
    }
  });

  test("a directory over a file, given or implied", async () => {
    expect(await wasted([file("a", 10)], [directory("a")])).toEqual(["a 10 0>1 overwritten"]);
    expect(await wasted([file("a", 10)], [file("a/b/c", 1)])).toEqual(["a 10 0>1 overwritten"]);
  });

  test("twice in one layer: the last wins, and the layer wastes its own bytes", async () => {
    expect(await wasted([file("a", 10), file("a", 3)])).toEqual(["a 10 0>0 overwritten"]);
    expect(await wasted([file("a/b", 10), file("a", 3)])).toEqual(["a/b 10 0>0 replaced"]);
    expect(await wasted([file("a", 10), file("a/b", 3)])).toEqual(["a 10 0>0 overwritten"]);
    expect(await wasted([directory("a"), file("a/b", 3), directory("a")])).toEqual([]);
  });

  test("hard links share bytes: wasted when the last name goes, at the path that has the data", async () => {
    const base = [file("a", 10), link("b", "a"), link("c", "b")];
    expect(await wasted(base, [whiteout("a")], [file("b", 1)])).toEqual([]);
    expect(await wasted(base, [whiteout("a")], [file("b", 1)], [whiteout("c")])).toEqual([
      "a 10 0>3 deleted",
    ]);
    expect((await measure([base])).layers[0]).toMatchObject({ fileBytes: 10, fileCount: 1 });
  });

  test("a name linked to itself loses nothing", async () => {
    expect(await wasted([file("a", 10), link("a", "a")])).toEqual([]);
  });

  test("a hard link into a lower layer has no bytes of its own and does not keep the other's", async () => {
    const result = await measure([[file("a", 10)], [link("b", "a")], [whiteout("a")]]);
    expect(result.layers.map((layer) => [layer.fileBytes, layer.fileCount, layer.wastedBytes])).toEqual([
      [10, 1, 10],
      [0, 1, 0],
      [0, 0, 0],
    ]);
  });

  test("a name over a hard link of the same layer leaves the other names", async () => {
    expect(await wasted([file("a", 10), link("b", "a"), file("a", 3)])).toEqual([]);
    expect(await wasted([file("a", 10), link("b", "a"), file("a", 3)], [whiteout("b")])).toEqual([
      "a 10 0>1 deleted",
    ]);
  });

  test("per layer, and efficiency", async () => {
    const invalid: Change = { kind: "invalid", rawName: "../x" };
    const result = await measure([[file("a", 60), file("e", 0)], [file("a", 30), invalid], [file("a", 10)]]);
    expect(result.layers).toEqual([
      { ...BLANK, label: "layer 0", fileBytes: 60, fileCount: 2, wastedBytes: 60, wastedCount: 1 },
      {
        ...BLANK,
        label: "layer 1",
        fileBytes: 30,
        fileCount: 1,
        wastedBytes: 30,
        wastedCount: 1,
        invalidCount: 1,
      },
      { ...BLANK, label: "layer 2", fileBytes: 10, fileCount: 1 },
    ]);
    expect(result).toMatchObject({ fileBytes: 100, wastedBytes: 90 });
    expect(result.efficiency).toBeCloseTo(0.1);
  });

  test("the worst paths, by bytes and then by name, none of zero bytes", async () => {
    const base = [file("b", 5), file("a", 5), file("c", 9), file("zero", 0)];
    const { worst } = await measure(
      [base, [whiteout("a"), whiteout("b"), whiteout("c"), whiteout("zero")]],
      2,
    );
    expect(worst.map((one) => one.path)).toEqual(["c", "a"]);
  });
});

const BLANK = {
  wastedBytes: 0,
  wastedCount: 0,
  whiteoutCount: 0,
  opaqueCount: 0,
  invalidCount: 0,
  failure: null,
};

describe("hostile shapes", () => {
  test("10,000 components deep", async () => {
    const deep = Array.from({ length: 10_000 }, () => "d").join("/");
    expect(await wasted([file(deep, 10)], [whiteout("d")])).toEqual([`${deep} 10 0>1 deleted`]);
    expect(await wasted([file(deep, 10)], [file(`${deep}/x`, 1)])).toEqual([`${deep} 10 0>1 overwritten`]);
    expect(await wasted([file(deep, 10), file("d", 1)])).toEqual([`${deep} 10 0>0 replaced`]);
  });

  test("many markers over many names take no time", async () => {
    const count = 20_000;
    const names = Array.from({ length: count }, (_, i) => `d/${i % 100}/${i}`);
    const own = names.map((name) => file(`${name}.own`, 1));
    const markers = names.flatMap((name) => [opaque("d"), whiteout("d"), whiteout(name)]);
    const started = performance.now();
    const result = await measure([names.map((name) => file(name, 1)), [...own, ...markers]]);
    expect(result.wastedBytes).toBe(count);
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

/** Layers applied one by one to a plain map, every rule by looking at every name. */
function reference(layers: readonly (readonly Change[])[]): { bytes: number[]; counts: number[] } {
  type Inode = { size: number; layer: number };
  type Entry = { inode: Inode | null; isDirectory: boolean; layer: number };
  const tree = new Map<string, Entry>();
  const inodes: Inode[] = [];
  const isUnder = (name: string, top: string) => name !== top && (top === "" || name.startsWith(`${top}/`));
  for (const [layer, changes] of layers.entries()) {
    const own = new Map<string, Entry>();
    const put = (name: string, isDirectory: boolean, inode: Inode | null) => {
      for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1)) {
        const parent = name.slice(0, at);
        if (!own.get(parent)?.isDirectory) own.set(parent, { inode: null, isDirectory: true, layer });
      }
      if (isDirectory && own.get(name)?.isDirectory) return;
      for (const other of [...own.keys()]) if (isUnder(other, name)) own.delete(other);
      own.set(name, { inode, isDirectory, layer });
    };
    for (const change of changes) {
      if (change.kind === "file" || change.kind === "hardlink") {
        const target = change.kind === "hardlink" ? own.get(change.target ?? "")?.inode : null;
        const inode = target ?? { size: change.kind === "file" ? change.size : 0, layer };
        if (!target) inodes.push(inode);
        put(change.path, false, inode);
      } else if (change.kind === "directory" || change.kind === "symlink") {
        put(change.path, change.kind === "directory", null);
      } else if (change.kind === "whiteout") {
        for (const name of [...tree.keys()]) {
          if (name === change.path || isUnder(name, change.path)) tree.delete(name);
        }
      } else if (change.kind === "opaque") {
        for (const name of [...tree.keys()]) if (isUnder(name, change.path)) tree.delete(name);
      }
    }
    for (const [name, entry] of own) {
      if (entry.isDirectory && tree.get(name)?.isDirectory) continue;
      for (const other of [...tree.keys()]) {
        if (other === name || (isUnder(other, name) && !entry.isDirectory)) tree.delete(other);
      }
      tree.set(name, entry);
    }
  }
  const visible = new Set([...tree.values()].map((entry) => entry.inode));
  const hidden = inodes.filter((inode) => !visible.has(inode));
  const of = (layer: number) => hidden.filter((inode) => inode.layer === layer);
  return {
    bytes: layers.map((_, layer) => of(layer).reduce((sum, inode) => sum + inode.size, 0)),
    counts: layers.map((_, layer) => of(layer).length),
  };
}

const somePath = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"));
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(somePath, fc.integer({ min: 1, max: 99 })).map((one) => file(...one)) },
  { weight: 2, arbitrary: fc.tuple(somePath, somePath).map((one) => link(...one)) },
  { weight: 2, arbitrary: somePath.map(directory) },
  { weight: 1, arbitrary: somePath.map(symlink) },
  { weight: 2, arbitrary: somePath.map(whiteout) },
  { weight: 1, arbitrary: fc.oneof(somePath, fc.constant("")).map(opaque) },
);

describe("properties", () => {
  test("the same as applying layers to a map", async () => {
    const layers = fc.array(fc.array(change, { maxLength: 12 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(layers, async (given) => {
        const result = await measure(given);
        const expected = reference(given);
        expect(result.layers.map((layer) => layer.wastedBytes)).toEqual(expected.bytes);
        expect(result.layers.map((layer) => layer.wastedCount)).toEqual(expected.counts);
        const total = expected.bytes.reduce((sum, bytes) => sum + bytes, 0);
        expect(result.wastedBytes).toBe(total);
        expect(result.worst.reduce((sum, one) => sum + one.bytes, 0)).toBe(total);
        for (const one of result.worst) expect(one.hiddenBy).toBeGreaterThanOrEqual(one.layer);
      }),
      { numRuns: 3000 },
    );
  });
});

describe("stored layers", () => {
  const layer = (label: string, bytes: Uint8Array) => ({
    label,
    form: "tar" as const,
    stream: () => inChunks(bytes, 1000),
  });

  test("compressed or not, with the bytes read told", async () => {
    const base = await packTar([
      { name: "a", content: "x".repeat(5000) },
      { name: "b", content: "y" },
    ]);
    const top = gzipSync(await packTar([{ name: ".wh.a" }]));
    let bytes = 0;
    const result = await wasteOf([layer("base", base), layer("top", top)], 5, (count) => (bytes += count));
    expect(result.worst).toEqual([
      { path: "a", bytes: 5000, copies: 1, layer: 0, hiddenBy: 1, fate: "deleted" },
    ]);
    expect(bytes).toBe(base.length + top.length);
  });

  test("a layer that breaks off counts as far as it goes, and the rest goes on", async () => {
    const base = await packTar([
      { name: "a", content: "12345" },
      { name: "b", content: "12345" },
    ]);
    const broken = (await packTar([{ name: ".wh.a" }, { name: "c", content: "x".repeat(2000) }])).subarray(
      0,
      1500,
    );
    const top = await packTar([{ name: ".wh.b" }]);
    const result = await wasteOf([layer("0", base), layer("1", broken), layer("2", top)], 5);
    expect(result.layers.map((one) => one.failure)).toEqual([
      null,
      "the archive ends at byte 1500, within c",
      null,
    ]);
    expect(result.worst.map((one) => one.path)).toEqual(["a", "b"]);
    const none = await wasteOf([layer("0", Buffer.from("not a tar at all".repeat(40))), layer("1", base)], 5);
    expect(none.layers[0]!.failure).toContain("at byte 0");
    expect(none.fileBytes).toBe(10);
  });

  test("errors that are no reading errors are not swallowed", async () => {
    const stream = (): AsyncIterable<Uint8Array> => {
      throw new TypeError("a bug");
    };
    await expect(wasteOf([{ label: "0", form: "tar", stream }], 5)).rejects.toThrow(TypeError);
  });
});

/** What is wasted in an image of a `docker save` archive made by an engine. */
async function wasteInSaved(archive: string, tag: string): Promise<WasteResult> {
  const source = await openFile(
    new URL(`../../fixtures/docker-archive/${archive}`, import.meta.url).pathname,
  );
  try {
    const tree = (await openTarTree(source, () => undefined))!;
    const manifest = await tree.open("manifest.json" as BytePath);
    const json = parseJson(await readAll(manifest, 1 << 20), "manifest.json");
    const images = asArray(json, "manifest.json").map((image) => parseSavedImage(image, "image"));
    const { layers } = images.find((image) => image.repoTags.includes(tag))!;
    const opened = await Promise.all(layers.map((layer) => openLayer(tree, layer as BytePath)));
    const named = opened.map(({ label, range }) => ({ label, form: "tar" as const, range: range! }));
    return await waste({ layers: named, top: 100, counter: new SharedArrayBuffer(8) });
  } finally {
    await source.close();
  }
}

/** A layer that an earlier image has too is a link to that one's: `../ID/layer.tar`. */
async function openLayer(tree: ReadOnlyTree, layer: BytePath): Promise<ByteSource> {
  const entry = await tree.lstat(layer);
  return tree.open((entry?.linkTarget?.replace("../", "") ?? layer) as BytePath);
}

describe("images made by Docker", () => {
  test("shop/web:1.2, as counted by hand in `tar tvf` of its layers", async () => {
    const result = await wasteInSaved("docker-legacy-multi/input.tar", "shop/web:1.2");
    expect(result.layers).toHaveLength(7);
    const lines = result.worst.map((one) => [one.path, one.bytes, one.layer, one.hiddenBy, one.fate]);
    // Layer 6 has .wh..cache and .wh.package-lock.json, left-pad/.wh..wh..opq with an index.js of 43 bytes, and
    // bundle.js once more; layer 2 has the os-release of the base once more.
    expect(lines).toEqual([
      ["app/node_modules/.cache/terser/9f8e7d", 36_000, 4, 6, "deleted"],
      ["app/public/bundle.js", 28_400, 5, 6, "overwritten"],
      ["app/package-lock.json", 19_500, 4, 6, "deleted"],
      ["app/node_modules/left-pad/index.js", 1300, 4, 6, "deleted"],
      ["app/node_modules/left-pad/package.json", 69, 4, 6, "deleted"],
      ["etc/os-release", 43, 0, 2, "overwritten"],
    ]);
    expect(result).toMatchObject({ fileBytes: 652_464, wastedBytes: 85_312 });
    expect(result.layers[6]).toMatchObject({
      fileBytes: 28_443,
      fileCount: 2,
      whiteoutCount: 2,
      opaqueCount: 1,
    });
  });

  test("odd/pax:2: odd names, hard links, kinds that change", async () => {
    const result = await wasteInSaved("docker-legacy-oddities/input.tar", "odd/pax:2");
    const lines = result.worst.map((one) => {
      return `${displayPath(one.path)} ${one.bytes} x${one.copies} ${one.layer}>${one.hiddenBy} ${one.fate}`;
    });
    // Not among them: links/first of the base, which is overwritten but lives on as links/third.
    expect(lines).toEqual([
      "gone/deep/er/file 7000 x1 0>1 deleted",
      "names/plain.txt 6000 x2 0>1 overwritten",
      "opaque/sub/b 6000 x1 0>1 deleted",
      "opaque/a 5000 x1 0>1 deleted",
      "swap/was-dir/inner/file 4100 x1 0>1 replaced",
      "swap/was-file 4000 x1 0>1 overwritten",
      "gone/one 800 x1 0>1 deleted",
      "names/latin1-caf\\xe9.txt 700 x1 0>2 deleted",
      "names/日本語-файл-😀.txt 500 x1 0>2 deleted",
      "names/bytes-\\xff\\xfe\\x80 300 x1 0>1 deleted",
      "names/combining-e\u0301-and-\u00e9 200 x1 0>2 deleted",
      "names/ leading space 100 x1 0>2 deleted",
      "names/back\\slash:colon*star 100 x1 0>2 deleted",
      "names/tab\\x09newline\\x0aescape\\x1b[31m 100 x1 0>2 deleted",
      "swap/was-dir 11 x1 1>2 overwritten",
      "names/new-\\xff 5 x1 1>2 deleted",
      "opaque/c 4 x1 1>2 deleted",
    ]);
    expect(result).toMatchObject({ fileBytes: 80_654, wastedBytes: 34_920 });
  });
});
