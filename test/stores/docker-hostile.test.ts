/**
 * Data-roots with bad metadata: every command ends, with what can still be told, and what could not be read makes nothing
 * an orphan. The bytes are those of real stores; a tar of one is mutated as a whole, and single records in a folder.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runCli, runJson } from "../helpers/cli.ts";
import { scratchFile, survivesChanges, survivesCuts, survivesTypes } from "../helpers/mutate.ts";

let folder: string;
let file: string;
let remove: () => Promise<void>;
const tars: string[] = [];
beforeAll(async () => {
  ({ file, remove } = await scratchFile());
  folder = mkdtempSync(join(tmpdir(), "ullage-hostile-root-"));
  for (const name of ["overlay2-buildkit", "vfs", "orphans"]) {
    const tar = join(folder, `${name}.tar`);
    writeFileSync(tar, gunzipSync(readFileSync(`fixtures/docker/${name}/input.tar.gz`)));
    tars.push(tar);
  }
});
afterAll(async () => {
  await remove();
  rmSync(folder, { recursive: true, force: true });
});

describe("tars of data-roots", () => {
  test("cut off anywhere", () => survivesCuts(file, tars, 40));
  test("bytes changed anywhere", () => survivesChanges(file, tars, 60));
  test("JSON of other types in every place", () => survivesTypes(file, tars[0]!, 60));
});

describe("a folder", () => {
  let root: string;
  beforeEach(() => {
    root = join(mkdtempSync(join(folder, "root-")), "docker");
    mkdirSync(root);
    const flags = ["--exclude=dev", "--exclude=backingFsBlockDev", "--no-same-owner", "--strip-components=1"];
    execFileSync("tar", [...flags, "-xf", tars[0]!, "-C", root]);
  });
  afterEach(() => rmSync(join(root, ".."), { recursive: true, force: true }));

  const orphans = async (): Promise<{ path: string; cause: string; safe: boolean }[]> =>
    (await runJson(["orphans", root])).json.orphans;

  test("records of any bytes end in an answer", async () => {
    const layerdb = join(root, "image/overlay2/layerdb");
    const records = [
      "image/overlay2/repositories.json",
      ...readdirSync(join(layerdb, "sha256")).flatMap((chain) =>
        ["cache-id", "diff", "parent", "size", "tar-split.json.gz"].map(
          (name) => `image/overlay2/layerdb/sha256/${chain}/${name}`,
        ),
      ),
      ...readdirSync(join(layerdb, "mounts")).flatMap((id) =>
        ["mount-id", "init-id", "parent"].map((name) => `image/overlay2/layerdb/mounts/${id}/${name}`),
      ),
      ...readdirSync(join(root, "containers")).map((id) => `containers/${id}/config.v2.json`),
      ...["snapshots.db", "metadata_v2.db"].map((name) => `buildkit/${name}`),
      "volumes/metadata.db",
    ];
    const contents = fc.oneof(
      fc.constantFrom(
        "",
        "../..",
        "../../etc",
        "sha256:",
        "sha256:../..",
        "{}",
        "[]",
        "{",
        "\0\0\0\0",
        "l",
        "-1",
        "9".repeat(40),
      ),
      fc.string({ maxLength: 80 }),
    );
    const command = fc.constantFrom("images", "df", "tree", "verify", "plan", "orphans");
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...records), contents, command, async (record, content, name) => {
        let before: Buffer | null = null;
        try {
          before = readFileSync(join(root, record));
        } catch {
          return; // a base has no parent
        }
        writeFileSync(join(root, record), content);
        const { code, out, err } = await runCli([name, root, "--json", "--workers", "0"]);
        writeFileSync(join(root, record), before);
        expect(err).not.toMatch(/bug in ullage|^ {4}at /m);
        expect([0, 1, 4]).toContain(code);
        expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, command: name });
      }),
      { numRuns: 120 },
    );
  });

  test("a database that cannot be read makes nothing an orphan", async () => {
    for (const name of ["snapshots.db", "metadata_v2.db"]) {
      const path = join(root, "buildkit", name);
      const before = readFileSync(path);
      for (const bytes of [Buffer.alloc(0), before.subarray(0, 5000), Buffer.alloc(before.length)]) {
        writeFileSync(path, bytes);
        const { code, json } = await runJson(["orphans", root]);
        expect(json.orphans, name).toEqual([]);
        expect(code).toBe(4);
        expect(json.warnings.map((one: { path: string }) => one.path)).toContain(`buildkit/${name}`);
      }
      rmSync(path);
      expect(await orphans(), `${name} gone`).toEqual([]);
      writeFileSync(path, before);
    }
  });

  test("one meta page of a database wrong: said, and nothing is an orphan", async () => {
    const path = join(root, "buildkit/snapshots.db");
    const bytes = readFileSync(path);
    for (const page of [0, 1]) {
      const changed = Uint8Array.from(bytes);
      changed[page * 4096 + 30]! ^= 0xff;
      writeFileSync(path, changed);
      const { code, json } = await runJson(["orphans", root]);
      expect(json.orphans).toEqual([]);
      expect(code).toBe(4);
    }
  });

  test("a torn container config makes nothing an orphan", async () => {
    for (const id of readdirSync(join(root, "containers"))) {
      const path = join(root, "containers", id, "config.v2.json");
      const before = readFileSync(path);
      writeFileSync(path, before.subarray(0, 100));
      const { code, json } = await runJson(["orphans", root]);
      expect(json.orphans).toEqual([]);
      expect(code).toBe(4);
      writeFileSync(path, before);
    }
  });

  test("parents that go round in a circle", async () => {
    const layerdb = join(root, "image/overlay2/layerdb/sha256");
    const [a, b] = readdirSync(layerdb);
    writeFileSync(join(layerdb, a!, "parent"), `sha256:${b}`);
    writeFileSync(join(layerdb, b!, "parent"), `sha256:${a}`);
    const metadata = join(root, "image/overlay2/imagedb/metadata/sha256");
    const [x, y] = readdirSync(metadata);
    writeFileSync(join(metadata, x!, "parent"), `sha256:${y}`);
    writeFileSync(join(metadata, y!, "parent"), `sha256:${x}`);
    for (const command of ["images", "df", "tree", "verify", "plan", "orphans"]) {
      const { code, err } = await runCli([command, root, "--workers", "0"]);
      expect(err).not.toMatch(/bug in ullage/);
      expect([0, 1, 4]).toContain(code);
    }
  });

  test("the store's bytes and times are as before, whatever is asked", async () => {
    const list = (): string =>
      execFileSync("find", [root, "-printf", "%p %s %T@ %A@ %C@\n"], { encoding: "utf8" })
        .split("\n")
        .sort()
        .join("\n");
    const before = list();
    for (const command of ["images", "df", "verify", "plan", "orphans"])
      await runCli([command, root, "--workers", "0"]);
    const [now, then] = [list(), before].map((text) => text.replace(/ (\S+) (\S+) (\S+)$/gm, " $1 $3"));
    expect(now).toBe(then);
  });
});
