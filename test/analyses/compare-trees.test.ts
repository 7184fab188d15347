import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Compared, type ComparedTree, compareTrees } from "../../src/analyses/compare-trees.ts";
import { addLayer, type Inode, MergedTree } from "../../src/analyses/merged-tree.ts";
import type { BytePath } from "../../src/byte-path.ts";
import type { Change } from "../../src/formats/layer.ts";

const path = (text: string) => text as BytePath;
const file = (name: string, size: number): Change => ({ kind: "file", path: path(name), size });
const link = (name: string, target: string): Change => ({
  kind: "hardlink",
  path: path(name),
  target: path(target),
});
const symlink = (name: string, target: string): Change => ({ kind: "symlink", path: path(name), target });
const directory = (name: string): Change => ({ kind: "directory", path: path(name) });
const whiteout = (name: string): Change => ({ kind: "whiteout", path: path(name) });

type Layers = readonly (readonly Change[])[];

/** `own` layers on the `common` ones; `first` is the number of the lowest own one. */
async function treeOf(common: Layers, own: Layers, first: number): Promise<ComparedTree> {
  async function* stream(changes: readonly Change[]): AsyncGenerator<Change> {
    yield* changes;
  }
  const tree = new MergedTree();
  for (const changes of [...common, ...own]) await addLayer([tree], stream(changes));
  return { tree, layers: [...common.map((_, i) => i), ...own.map((_, i) => first + i)] };
}

const pairOf = async (common: Layers, a: Layers, b: Layers): Promise<[ComparedTree, ComparedTree]> => [
  await treeOf(common, a, 100),
  await treeOf(common, b, 200),
];

/** `PATH OUTCOME BYTES|BYTES`, `-` where it is not there. */
async function compared(common: Layers, a: Layers, b: Layers): Promise<string[]> {
  return [...compareTrees(...(await pairOf(common, a, b)))].map(shown);
}

function shown({ path, a, b, outcome }: Compared): string {
  return `${path} ${outcome} ${a?.bytes ?? "-"}|${b?.bytes ?? "-"}`;
}

describe("paths", () => {
  test("files of common layers are the same, of others alike by length only", async () => {
    const common = [[directory("d"), file("d/x", 5), file("y", 6)]];
    expect(await compared(common, [[file("y", 6)]], [[file("d/z", 1)]])).toEqual([
      "d same 0|0",
      "d/x same 5|5",
      "d/z different -|1",
      "y alike 6|6",
    ]);
  });

  test("other kinds, and links to other places", async () => {
    const a = [[file("k", 3), symlink("l", "x"), symlink("m", "x")]];
    const b = [[file("k/in", 4), symlink("l", "x"), symlink("m", "y")]];
    expect(await compared([], a, b)).toEqual([
      "k different 3|0",
      "k/in different -|4",
      "l same 0|0",
      "m different 0|0",
    ]);
  });

  test("a file of several names counts once, where both sides have it", async () => {
    const common = [[file("p", 9), link("q", "p"), link("r", "p")]];
    // Without p, B still holds the 9 bytes: nothing is gained.
    expect(await compared(common, [], [[whiteout("p")]])).toEqual([
      "p different 0|-",
      "q same 9|9",
      "r same 0|0",
    ]);
  });
});

const somePath = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join("/"));
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(somePath, fc.integer({ min: 1, max: 9 })).map((one) => file(...one)) },
  { weight: 2, arbitrary: fc.tuple(somePath, somePath).map((one) => link(...one)) },
  { weight: 2, arbitrary: somePath.map(directory) },
  { weight: 1, arbitrary: fc.tuple(somePath, somePath).map((one) => symlink(...one)) },
  { weight: 2, arbitrary: somePath.map(whiteout) },
);
const layers = fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 3 });

/** Bytes and number of all files that can be seen. */
function visible({ tree }: ComparedTree): { bytes: number; files: number } {
  const inodes = new Set<Inode>();
  const pending = [tree.root];
  for (let at = pending.pop(); at; at = pending.pop()) {
    if (at.inode) inodes.add(at.inode);
    pending.push(...(at.children?.values() ?? []));
  }
  return { bytes: [...inodes].reduce((sum, { size }) => sum + size, 0), files: inodes.size };
}

describe("properties", () => {
  test("each file is told of once on each side", () =>
    fc.assert(
      fc.asyncProperty(layers, layers, layers, async (common, a, b) => {
        const pair = await pairOf(common, a, b);
        const rows = [...compareTrees(...pair)];
        for (const side of ["a", "b"] as const) {
          const own = rows.map((row) => row[side]).filter((one) => one?.name.inode);
          const expected = visible(pair[side === "a" ? 0 : 1]);
          expect(own.reduce((sum, one) => sum + one!.bytes, 0)).toBe(expected.bytes);
          expect(own.reduce((sum, one) => sum + one!.inodes, 0)).toBe(expected.files);
        }
        expect(rows.map((row) => row.path)).toEqual([...new Set(rows.map((row) => row.path))]);
      }),
      { numRuns: 1000 },
    ));

  test("the other way round it is the same", () =>
    fc.assert(
      fc.asyncProperty(layers, layers, layers, async (common, a, b) => {
        const [x, y] = await pairOf(common, a, b);
        const turned = [...compareTrees(y, x)].map((row) => ({ ...row, a: row.b, b: row.a }));
        expect(turned.map(shown)).toEqual([...compareTrees(x, y)].map(shown));
      }),
      { numRuns: 500 },
    ));

  test("nothing differs from itself", () =>
    fc.assert(
      fc.asyncProperty(layers, async (common) => {
        for (const row of compareTrees(...(await pairOf(common, [], [])))) {
          expect(row.outcome).toBe("same");
          expect(row.a!.bytes).toBe(row.b!.bytes);
        }
      }),
      { numRuns: 500 },
    ));
});
