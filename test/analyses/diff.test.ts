/** `ullage diff` on real stores: a container against its image as `docker diff` listed it; images against each other. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { runCli, runJson } from "../helpers/cli.ts";

const STORE = "fixtures/docker/overlay2-buildkit/input.tar.gz";
const oracle = JSON.parse(readFileSync("fixtures/docker/overlay2-buildkit/oracle.json", "utf8"));

test("a container: the paths and kinds of docker diff", async () => {
  const changes = Object.entries<{ Path: string; Kind: number }[] | null>(oracle.containerChanges);
  expect(changes.some(([, list]) => (list ?? []).length > 5)).toBe(true);
  for (const [id, list] of changes) {
    const { json } = await runJson(["diff", `container:${id.replace(/^\//, "")}`, "-s", STORE]);
    const ours = json.changes.map((one: { path: string; kind: string }) => `${one.kind} ${one.path}`).sort();
    const told = (list ?? []).map(({ Path, Kind }) => `${["C", "A", "D"][Kind]} ${Path}`).sort();
    expect(ours).toEqual(told);
  }
});

test("an image and itself differ in nothing; two ways round are mirror images", async () => {
  const same = await runJson(["diff", "shop/api:1", "shop/api:1", "-s", STORE]);
  expect(same.json.files).toEqual([]);
  const there = await runJson(["diff", "shop/web:1.0", "shop/web:dev", "-s", STORE]);
  const back = await runJson(["diff", "shop/web:dev", "shop/web:1.0", "-s", STORE]);
  expect(there.json.common).toEqual(back.json.common);
  expect(there.json.onlyA).toEqual(back.json.onlyB);
  expect(there.json.onlyB).toEqual(back.json.onlyA);
});

test("one image alone is no question", async () => {
  const { code, err } = await runCli(["diff", "shop/api:1", "-s", STORE]);
  expect(code).toBe(2);
  expect(err.trim().split("\n")).toHaveLength(1);
});
