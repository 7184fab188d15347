/** Stores found in their usual places: of this host, and of another one whose disk is mounted somewhere. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { insideRoot, placesBelow } from "../src/places.ts";
import { runCli, runJson } from "./helpers/cli.ts";

let host: string;
beforeEach(() => {
  host = mkdtempSync(join(tmpdir(), "ullage-host-"));
  for (const folder of ["etc/docker", "usr", "var/lib", "data", "home/ann/.config/docker"])
    mkdirSync(join(host, folder), { recursive: true });
});
afterEach(() => rmSync(host, { recursive: true, force: true }));

const unpack = (into: string): void => {
  mkdirSync(join(host, into), { recursive: true });
  execFileSync("tar", [
    "--exclude=dev",
    "--exclude=backingFsBlockDev",
    "--no-same-owner",
    "-xzf",
    "fixtures/docker/vfs/input.tar.gz",
    "-C",
    join(host, into),
    "--strip-components=1",
  ]);
};

test("the data-root that daemon.json names, in a mounted host", async () => {
  unpack("data/docker");
  writeFileSync(join(host, "etc/docker/daemon.json"), JSON.stringify({ "data-root": "/data/docker" }));
  const { json } = await runJson(["images", host]);
  expect(json.sources).toMatchObject([{ kind: "docker", root: "data/docker", path: `${host}: data/docker` }]);
  expect(json.images).toHaveLength(2);
});

test("an absolute link stays inside the mounted host", async () => {
  unpack("data/docker");
  symlinkSync("/data/docker", join(host, "var/lib/docker"));
  expect(await insideRoot(host, "var/lib/docker")).toBe(join(host, "data/docker"));
  const { json } = await runJson(["images", host]);
  expect(json.images).toHaveLength(2);
});

test("links in a circle and out of the root lead nowhere else", async () => {
  symlinkSync("b", join(host, "data/a"));
  symlinkSync("a", join(host, "data/b"));
  symlinkSync("../../../../etc", join(host, "data/up"));
  expect(await insideRoot(host, "data/a")).toBeNull();
  expect(await insideRoot(host, "data/up")).toBe(join(host, "etc"));
});

test("a daemon.json that makes no sense is passed over", async () => {
  for (const content of [
    "",
    "{",
    "[]",
    '{"data-root": 7}',
    '{"data-root": "relative"}',
    '{"data-root": "/../../etc"}',
  ]) {
    writeFileSync(join(host, "etc/docker/daemon.json"), content);
    const places = await placesBelow(host, null);
    for (const { path } of places) {
      const real = await insideRoot(host, path);
      expect(real === null || real.startsWith(host)).toBe(true);
    }
    expect(places.map(({ path }) => path)).toContain("var/lib/docker");
  }
});

test("rootless data-roots of every home", async () => {
  unpack("home/ann/.local/share/docker");
  const { json } = await runJson(["df", host]);
  expect(json.sources).toMatchObject([{ root: "home/ann/.local/share/docker" }]);
});

test("where nothing is found, the places that were tried are told", async () => {
  const { code, err } = await runCli(["df", host]);
  expect(code).toBe(3);
  expect(err).toContain("/var/lib/docker (Docker's data-root): nothing there");
  expect(err).toContain("--at PATH");
  expect(err.trim().split("\n")).toHaveLength(1);
});
