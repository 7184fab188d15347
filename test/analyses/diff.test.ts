import { execFileSync } from "node:child_process";
import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli, runJson } from "../helpers/cli.ts";
import {
  blobsOf,
  dockerHybrid,
  imageOf,
  indexOf,
  layerOf,
  ociLayout,
  withTemp,
  writeArchive,
  writeFolder,
} from "../helpers/image-builder.ts";

const isRoot = process.getuid?.() === 0;
const CASES = ["overlay2-buildkit", "vfs", "orphans"];
const KINDS: Readonly<Record<string, number>> = { C: 0, A: 1, D: 2 };

// biome-ignore lint/suspicious/noExplicitAny: the oracle is whatever the engine said
const oracleOf = (name: string): any =>
  JSON.parse(readFileSync(`fixtures/docker/${name}/oracle.json`, "utf8"));

const SHOP = "fixtures/docker-archive/docker-legacy-multi/input.tar";
const ROOT = "fixtures/docker/overlay2-buildkit/input.tar.gz";

let scratch: string;
const rootOf = (name: string): string => join(scratch, name, "docker");
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "ullage-diff-"));
  if (!isRoot) return;
  for (const name of CASES) {
    const unpack = 'mkdir "$2" && tar --xattrs --xattrs-include="*" -xpzf "$1" -C "$2"';
    execFileSync("sh", ["-c", unpack, "sh", `fixtures/docker/${name}/input.tar.gz`, join(scratch, name)]);
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface FileRow {
  readonly path: string;
  readonly status: string;
  readonly bytesA: number;
  readonly bytesB: number;
  readonly delta: number;
}

const line = (one: FileRow): string => `${one.status} ${one.path} ${one.bytesA} ${one.bytesB}`;

describe.each(CASES)("containers of %s, as docker diff has them", (name) => {
  const oracle = oracleOf(name);
  test.each(["tar", "unpacked"])("%s", async (form) => {
    if (form === "unpacked" && !isRoot) return;
    const source = form === "tar" ? `fixtures/docker/${name}/input.tar.gz` : rootOf(name);
    for (const { Id, SizeRw } of oracle.containerInspect) {
      const { json, code } = await runJson(["diff", Id, "-s", source]);
      expect([0, 4]).toContain(code); // 4: the case of orphans has records that cannot be read
      const told: { path: string; kind: string; bytesB: number }[] = json.changes;
      const found = told.map(({ path, kind }) => `${KINDS[kind]} ${path}`);
      const listed: { Path: string; Kind: number }[] = oracle.containerChanges[Id] ?? [];
      // What an opaque folder hides can be seen in a tar, which has extended attributes.
      const hidden = (one: { Path: string }): boolean =>
        form === "unpacked" && /^\/app\/lib\/pad\/(left|right)\.js$/.test(one.Path);
      const expected = listed.filter((one) => !hidden(one)).map((one) => `${one.Kind} ${one.Path}`);
      expect(found.sort()).toEqual(expected.sort());
      expect(told.reduce((sum, one) => sum + one.bytesB, 0)).toBe(SizeRw ?? 0);
      const isDoubtful = listed.some(hidden);
      expect(json.remarks.some((one: string) => one.includes("app/lib/pad"))).toBe(isDoubtful);
    }
  });
});

describe("images", () => {
  test("of a data-root: what each has, by status", async () => {
    const { json, code } = await runJson(["diff", "shop/web:1.0", "shop/web:dev", "-s", ROOT]);
    expect(code).toBe(0);
    expect(json.files.map(line)).toEqual([
      "added app/cache/terser 0 11000",
      "changed app/server.js 6000 6100",
      "removed app/build.id 64 0",
    ]);
    expect(json.layers).toMatchObject({ common: { count: 5 }, onlyA: { count: 2 }, onlyB: { count: 1 } });
    expect(json.changes).toBeNull();
    expect(json.delta).toEqual({ apparent: 11_036, allocated: null, inodes: 1 });
    expect(json.folders).toEqual([
      { path: "app/cache", count: 1, bytesA: 0, bytesB: 11_000, delta: 11_000 },
      { path: "app", count: 2, bytesA: 6064, bytesB: 6100, delta: 36 },
    ]);
  });

  test("the same content in a layer of each is told of apart", async () => {
    const { json } = await runJson(["diff", "shop/api:1", "shop/api:2", "-s", ROOT]);
    expect(json.files.map(line)).toEqual([
      "changed srv/api/orders.py 4000 4000",
      "same-content srv/api/main.py 9000 9000",
    ]);
    expect(json.sameContent).toMatchObject({ count: 1, b: { apparent: 9000, inodes: 1 } });
  });

  test("of an archive: parts add up, and turn round", async () => {
    const there = (await runJson(["diff", "shop/web:1.0", "shop/web:1.2", "-s", SHOP, "--top", "1000"])).json;
    const back = (await runJson(["diff", "shop/web:1.2", "shop/web:1.0", "-s", SHOP, "--top", "1000"])).json;
    const sum = (side: "bytesA" | "bytesB", status: string): number =>
      there.files
        .filter((one: FileRow) => one.status === status)
        .reduce((total: number, one: FileRow) => total + one[side], 0);
    expect(there.files).toHaveLength(there.fileCount + there.sameContent.count);
    expect(there.onlyA.apparent).toBe(sum("bytesA", "removed"));
    expect(there.onlyB.apparent).toBe(sum("bytesB", "added"));
    expect(there.changed).toMatchObject({
      a: { apparent: sum("bytesA", "changed") },
      b: { apparent: sum("bytesB", "changed") },
    });
    for (const [side, only] of [
      ["a", "onlyA"],
      ["b", "onlyB"],
    ] as const) {
      for (const field of ["apparent", "inodes"])
        expect(there[side].files[field]).toBe(
          there[only][field] +
            there.common[side][field] +
            there.changed[side][field] +
            there.sameContent[side][field],
        );
    }
    const turned: Record<string, string> = { added: "removed", removed: "added" };
    const mirrored = back.files.map((one: FileRow) =>
      line({ ...one, status: turned[one.status] ?? one.status, bytesA: one.bytesB, bytesB: one.bytesA }),
    );
    expect(mirrored.sort()).toEqual(there.files.map(line).sort());
    expect(back.delta.apparent).toBe(-there.delta.apparent);
    expect(there.folders.reduce((total: number, one: { count: number }) => total + one.count, 0)).toBe(
      there.fileCount,
    );
  });

  test("nothing differs from itself", async () => {
    for (const [image, source] of [
      ["shop/web:1.2", SHOP],
      ["shop/web:1.0", ROOT],
    ]) {
      const { json } = await runJson(["diff", image!, image!, "-s", source!]);
      expect(json).toMatchObject({ fileCount: 0, files: [], folders: [], unread: [] });
      expect(json.delta).toMatchObject({ apparent: 0, inodes: 0 });
      expect(json.layers).toMatchObject({ onlyA: { count: 0 }, onlyB: { count: 0 } });
    }
  });

  test("--top cuts lists, not sums; --depth tells folders apart", async () => {
    const args = ["diff", "shop/web:1.0", "shop/web:1.2", "-s", SHOP];
    const { json } = await runJson([...args, "--top", "1", "--depth", "1"]);
    expect(json.files.map((one: FileRow) => one.path)).toEqual([
      "app/node_modules/.cache/terser/0a1b2c",
      "app/node_modules/lodash/index.js",
    ]);
    expect(json.fileCount).toBe(12);
    expect(json.folders).toHaveLength(1);
    expect(json.folders[0]).toMatchObject({ path: "app", count: 12 });
    const { out } = await runCli([...args, "--top", "1"]);
    expect(out).toContain("and 11 more");
    expect((await runCli([...args, "--top", "0"])).code).toBe(0);
  });
});

describe("across sources", () => {
  const base = { "usr/lib/a": "a".repeat(5000), "usr/lib/b": "b".repeat(300) };

  test("one name in two sources; layers are the same by content, however packed", async () => {
    const [plain, packed] = [await layerOf(base), await layerOf(base, { packing: "gzip" })];
    const old = imageOf([plain, await layerOf({ "app/x": "old", "app/y": "same" })]);
    const now = imageOf([packed, await layerOf({ "app/x": "newer", "app/y": "same", "app/z": "" })]);
    await withTemp(async (folder) => {
      const [a, b] = [join(folder, "old.tar"), join(folder, "now")];
      await writeArchive(a, dockerHybrid([{ image: old, names: ["docker.io/library/app:1"] }]));
      const name = "app:1";
      await writeFolder(b, ociLayout([{ target: now.manifest, name }], blobsOf(now)));
      const { json, code, err } = await runJson(["diff", "app:1", "-s", a, "-s", b]);
      expect(err).toBe("");
      expect(code).toBe(0);
      expect([json.a.source, json.b.source]).toEqual([a, b]);
      expect(json.files.map(line)).toEqual([
        "changed app/x 3 5",
        "added app/z 0 0",
        "same-content app/y 4 4",
      ]);
      expect(json.layers.common.count).toBe(1);
      const both = await runJson(["diff", "app:1", "app:1", "-s", a, "-s", b]);
      expect(both.json.files).toEqual(json.files);
      const gate = ["diff", "app:1", "-s", a, "-s", b, "-q", "--fail-over"];
      expect((await runCli([...gate, "delta=1"])).code).toBe(1);
      expect((await runCli([...gate, "delta=1kB"])).code).toBe(0);
    });
  });

  test("a data-root's image against the same in an archive: the content is the same", async () => {
    const other = "fixtures/docker/vfs/input.tar.gz";
    const { json } = await runJson(["diff", "shop/base:1", "lab/one:1", "-s", ROOT, "-s", other]);
    expect([json.a.source, json.b.source]).toEqual([ROOT, other]);
    expect(json.a.files.apparent - json.onlyA.apparent).toBe(
      json.common.a.apparent + json.changed.a.apparent + json.sameContent.a.apparent,
    );
  });

  test("of several platforms the same is compared, or the one asked for", async () => {
    const arm = (text: string) => layerOf({ "bin/arm": text });
    const amd = (text: string) => layerOf({ "bin/amd": text });
    const images = await Promise.all(
      ["1", "22"].map(async (text) => [
        imageOf([await amd(text)]),
        imageOf([await arm(text)], { architecture: "arm64" }),
      ]),
    );
    await withTemp(async (folder) => {
      const indexes = images.map((two) => indexOf(two.map((one) => one.manifest)));
      const references = indexes.map((target, i) => ({ target, name: `app:${i}` }));
      const blobs = [...indexes, ...images.flat().flatMap(blobsOf)];
      await writeFolder(folder, ociLayout(references, blobs));
      const paths = async (...flags: string[]): Promise<string[]> =>
        (await runJson(["diff", "app:0", "app:1", "-s", folder, ...flags])).json.files.map(line);
      expect(await paths()).toEqual(["changed bin/amd 1 2"]);
      expect(await paths("--platform", "linux/arm64")).toEqual(["changed bin/arm 1 2"]);
      const { code, err } = await runCli([
        "diff",
        "app:0",
        "app:1",
        "-s",
        folder,
        "--platform",
        "linux/s390x",
      ]);
      expect(code).toBe(2);
      expect(err).toContain("linux/amd64, linux/arm64");
    });
  });
});

describe("what is given", () => {
  test.each([
    [["shop/web:1.0"], "give another one to compare it with"],
    [["shop/web:1.0", "web-1", "api-1"], "compares two"],
    [["scratchpad"], "neither an image nor a container"],
    [["nothing", "web-1"], "no image nothing"],
    [["container:nothing"], "no container nothing"],
  ])("%s", async (names, message) => {
    const { code, err } = await runCli(["diff", ...names, "-s", ROOT]);
    expect(code).toBe(2);
    expect(err).toContain(message);
  });

  test("a container by its name, its ID, the beginning of it, with the word in front", async () => {
    const [id] = Object.keys(oracleOf("vfs").containerChanges);
    const source = "fixtures/docker/vfs/input.tar.gz";
    for (const name of ["worker", id!, id!.slice(0, 6), "container:worker"]) {
      const { json } = await runJson(["diff", name, "-s", source]);
      expect(json.b).toMatchObject({ kind: "container", names: ["worker"], id });
      expect(json.a).toMatchObject({ kind: "image", names: ["lab/two:1"] });
    }
  });

  test("an image against a container, and two containers", async () => {
    const own = (await runJson(["diff", "web-1", "-s", ROOT])).json;
    const given = (await runJson(["diff", "shop/web:1.0", "web-1", "-s", ROOT])).json;
    expect(given.files).toEqual(own.files);
    expect(given.changes).toBeNull();
    const two = (await runJson(["diff", "web-1", "dev-1", "-s", ROOT])).json;
    expect(two.files.map((one: FileRow) => one.path)).not.toContain("etc/hosts");
    expect(two.unread).toEqual([]);
  });
});

describe("hostile data-roots", () => {
  test("bytes changed anywhere end in an answer, or in one line that says why not", async () => {
    await withTemp(async (folder) => {
      const file = join(folder, "root.tar");
      const whole = gunzipSync(readFileSync(ROOT));
      const asked = fc.constantFrom(
        ["diff", "web-1"],
        ["diff", "shop/web:1.0", "shop/web:dev"],
        ["inspect", "shop/web:1.0"],
      );
      // Most of the archive is content, where a changed byte is only another checksum.
      const places = ["tar-split.json.gz", "overlay2/", "/diff/app"].flatMap((text) => {
        const found: number[] = [];
        for (let at = whole.indexOf(text); at >= 0; at = whole.indexOf(text, at + 1)) found.push(at);
        return found;
      });
      const place = fc.tuple(fc.constantFrom(...places), fc.integer({ min: -120, max: 2000 }));
      const property = fc.asyncProperty(
        asked,
        fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 3 }),
        async (args, changes) => {
          const bytes = Uint8Array.from(whole);
          for (const [[at, by], value] of changes) bytes[Math.max(0, at + by)] = value;
          writeFileSync(file, bytes);
          const { code, err } = await runCli([...args, "-s", file, "--workers", "0"]);
          expect(err).not.toMatch(/bug in ullage|^ {4}at /m);
          expect([0, 1, 2, 3, 4]).toContain(code);
        },
      );
      await fc.assert(property, { numRuns: 60 });
    });
  });
});

describe.skipIf(!isRoot)("a container's folder", () => {
  test("links count once, copies of what the image has are told, names are escaped", async () => {
    const root = join(scratch, "edited");
    execFileSync("cp", ["-a", rootOf("overlay2-buildkit"), root]);
    const [id] = oracleOf("overlay2-buildkit")
      .containerInspect.filter((one: { Name: string }) => one.Name === "/dev-1")
      .map((one: { Id: string }) => one.Id);
    const mount = readFileSync(join(root, "image/overlay2/layerdb/mounts", id, "mount-id"), "utf8");
    const diff = join(root, "overlay2", mount, "diff");
    writeFileSync(join(diff, "evil\u001b[2J\n"), "x".repeat(70));
    linkSync(join(diff, "evil\u001b[2J\n"), join(diff, "again"));
    writeFileSync(join(diff, ".wh.gone"), "");
    const { out, code } = await runCli(["diff", "dev-1", "-s", root]);
    expect(code).toBe(0);
    expect(out).toContain("/evil\\x1b[2J\\x0a");
    expect(out).not.toContain("\u001b");
    const { json } = await runJson(["diff", "dev-1", "-s", root]);
    expect(json.changes).toEqual([
      { path: "/again", kind: "A", bytesA: 0, bytesB: 70 },
      { path: "/evil\\x1b[2J\\x0a", kind: "A", bytesA: 0, bytesB: 0 },
    ]);
    expect(json.onlyB).toMatchObject({ apparent: 70, inodes: 1 });
  });

  test("folders that are links lead nowhere", async () => {
    const root = join(scratch, "linked");
    execFileSync("cp", ["-a", rootOf("overlay2-buildkit"), root]);
    const [id] = oracleOf("overlay2-buildkit")
      .containerInspect.filter((one: { Name: string }) => one.Name === "/web-1")
      .map((one: { Id: string }) => one.Id);
    const mount = readFileSync(join(root, "image/overlay2/layerdb/mounts", id, "mount-id"), "utf8");
    const diff = join(root, "overlay2", mount, "diff");
    rmSync(diff, { recursive: true });
    symlinkSync(rootOf("overlay2-buildkit"), diff);
    const { json, code } = await runJson(["diff", "web-1", "-s", root]);
    expect(json.changes).toEqual([]);
    expect(json.unread).toEqual(["writable layer is not here"]);
    expect(code).toBe(4);
  });

  test("a layer without its tar-split is read from its folder; one without both is told of", async () => {
    const root = join(scratch, "lost");
    execFileSync("cp", ["-a", rootOf("overlay2-buildkit"), root]);
    const before = (await runJson(["diff", "shop/web:1.0", "shop/web:dev", "-s", root])).json;
    execFileSync("find", [join(root, "image"), "-name", "tar-split.json.gz", "-delete"]);
    const { json, code } = await runJson(["diff", "shop/web:1.0", "shop/web:dev", "-s", root]);
    expect(code).toBe(0);
    expect(json.files).toEqual(before.files);
    const vfs = join(scratch, "lost-vfs");
    execFileSync("cp", ["-a", rootOf("vfs"), vfs]);
    execFileSync("find", [join(vfs, "image"), "-name", "tar-split.json.gz", "-delete"]);
    const lost = await runCli(["diff", "lab/one:1", "lab/two:1", "-s", vfs]);
    expect(lost.code).toBe(4);
    expect(lost.out).toMatch(/not read: layer [0-9a-f]{12} is not here/);
  });
});
