import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { BytePath } from "../../../src/byte-path.ts";
import { type Digest, digestOf } from "../../../src/digest.ts";
import {
  type ChainRecord,
  checkChains,
  checkImageLayers,
  checkLinks,
  checkLowers,
  checkNames,
  checkParents,
  type OverlayRecord,
} from "../../../src/stores/docker/checks.ts";

const digest = (text: string): Digest => digestOf("sha256", createHash("sha256").update(text).digest("hex"));
const path = "some/where" as BytePath;
const [a, b, c] = [digest("a"), digest("b"), digest("c")];
const ab = digest(`${a} ${b}`);
const abc = digest(`${ab} ${c}`);

describe("chains", () => {
  const layer = (chainId: Digest, parent: Digest | null, diffId: Digest | null): ChainRecord => ({
    chainId,
    parent,
    diffId,
    path,
  });

  test("of layers that lie on each other", () => {
    const checks = checkChains([layer(abc, ab, c), layer(a, null, a), layer(ab, a, b)]);
    expect(checks.map(({ id, verdict, actual }) => [id, verdict, actual])).toEqual([
      [abc, "ok", abc],
      [a, "ok", a],
      [ab, "ok", ab],
    ]);
  });

  test("another diff, another parent, no diff, no parent", () => {
    const checks = checkChains([layer(a, null, b), layer(abc, a, c), layer(ab, null, null), layer(ab, a, b)]);
    expect(checks).toMatchObject([
      { verdict: "corrupt", expected: a, actual: b },
      { verdict: "corrupt", expected: abc, actual: digest(`${a} ${c}`) },
      { verdict: "corrupt", actual: null, detail: "its diff file holds no digest" },
      { verdict: "ok" },
    ]);
    const [lost] = checkChains([{ ...layer(abc, ab, c), node: 7 }]);
    expect(lost).toMatchObject({
      verdict: "missing",
      detail: `the layer below it, ${ab}, has no record`,
      node: 7,
    });
  });

  test("of images: the first layer that has no record is named", () => {
    const chains = new Set([a, ab]);
    const image = (diffIds: Digest[]) => ({ id: c, path, diffIds });
    expect(
      checkImageLayers([image([a, b]), image([]), image([a, b, c]), image([b, c])], chains),
    ).toMatchObject([
      { what: "chain", id: c, verdict: "ok", expected: ab, actual: ab },
      { verdict: "ok", expected: null },
      { verdict: "missing", expected: abc, detail: `layer 3 of 3 has no record: ${abc}` },
      { verdict: "missing", detail: `layer 1 of 2 has no record: ${b}` },
    ]);
  });
});

test("names and parents: what they lead to is there or missing", () => {
  const images = new Set([a]);
  const names = [
    { name: "app:1", id: a },
    { name: "app:2", id: b, node: 3 },
  ];
  expect(checkNames(names, images, path)).toMatchObject([
    { what: "database", id: "app:1", verdict: "ok", expected: a, actual: a },
    { what: "database", id: "app:2", verdict: "missing", expected: b, actual: null, node: 3 },
  ]);
  const parents = [
    { id: c, parent: a, path },
    { id: c, parent: b, path },
  ];
  expect(checkParents(parents, images)).toMatchObject([
    { what: "database", id: c, verdict: "ok", expected: a },
    { what: "database", id: c, verdict: "missing", expected: b },
  ]);
});

describe("overlay2", () => {
  const folder = (id: string, link: string | null, rest: Partial<OverlayRecord> = {}): OverlayRecord => ({
    id,
    path,
    link,
    target: `../${id}/diff`,
    lower: null,
    below: [],
    ...rest,
  });

  test("short names lead back", () => {
    const checks = checkLinks([
      folder("one", "AAA"),
      folder("two", "BBB", { target: "../one/diff" }),
      folder("three", "CCC", { target: null }),
      folder("four", null),
      folder("five", ""),
      folder("six", "../x"),
    ]);
    expect(checks.map(({ verdict, detail }) => [verdict, detail])).toEqual([
      ["ok", null],
      ["corrupt", "l/BBB leads elsewhere"],
      ["missing", "there is no link l/CCC"],
      ["missing", "it has no link file, so that no layer can lie on it"],
      ["corrupt", "its link file holds no name"],
      ["corrupt", "its link file holds no name"],
    ]);
  });

  test("lower files name the layers below in their order", () => {
    const base = [folder("one", "AAA"), folder("two", "BBB", { lower: "l/AAA", below: ["one"] })];
    const top = (lower: string | null, below: string[] | null = ["two", "one"]) =>
      checkLowers([...base, folder("top", "TTT", { lower, below })])[2];
    expect(checkLowers(base).map(({ verdict }) => verdict)).toEqual(["ok", "ok"]);
    expect(top("l/BBB:l/AAA")).toMatchObject({ verdict: "ok", expected: "l/BBB:l/AAA" });
    expect(top("l/AAA:l/BBB")).toMatchObject({
      verdict: "corrupt",
      detail: "place 1 of its lower file has l/AAA instead of l/BBB",
    });
    expect(top("l/BBB")).toMatchObject({
      verdict: "corrupt",
      detail: "its lower file names 1 layers, and 2 are below it",
    });
    expect(top(null)).toMatchObject({ verdict: "missing", actual: null });
    expect(top("l/BBB", ["gone"])).toMatchObject({ verdict: "unverifiable" });
    expect(top("l/BBB", null)).toBeUndefined();
    expect(checkLowers([folder("one", "AAA", { lower: "l/AAA" })])).toMatchObject([{ verdict: "corrupt" }]);
  });
});
