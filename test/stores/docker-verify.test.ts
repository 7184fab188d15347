/** Layers of a real data-root, put together again from tar-split and folder; and what is said when something differs. */
import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runJson } from "../helpers/cli.ts";

const CASES = ["overlay2-buildkit", "vfs"];
// biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever the JSON holds
type Check = any;

describe.each(CASES)("%s", (name) => {
  test("every layer, chain and record is right, read from the tar", async () => {
    const { code, json } = await runJson(["verify", `fixtures/docker/${name}/input.tar.gz`]);
    expect(json.checked.filter((check: Check) => check.verdict !== "ok")).toEqual([]);
    expect(json.checked.filter((check: Check) => check.what === "layer").length).toBeGreaterThan(3);
    expect(code).toBe(0);
  });
});

describe.skipIf(process.getuid?.() !== 0)("a store that was changed", () => {
  let root: string;
  let files: string[];
  beforeEach(() => {
    const scratch = mkdtempSync(join(tmpdir(), "ullage-verify-"));
    root = join(scratch, "docker");
    const unpack =
      'tar --xattrs --xattrs-include="*" -xpzf fixtures/docker/overlay2-buildkit/input.tar.gz -C "$1"';
    execFileSync("sh", ["-c", unpack, "sh", scratch]);
    const layers = readdirSync(join(root, "image/overlay2/layerdb/sha256")).map((chain) =>
      readFileSync(join(root, "image/overlay2/layerdb/sha256", chain, "cache-id"), "utf8"),
    );
    files = layers.flatMap((id) => {
      const diff = join(root, "overlay2", id, "diff");
      return (
        readdirSync(diff, { recursive: true, encoding: "utf8" })
          .map((file) => join(diff, file))
          // Of a file with two names the tar has the content under one of them only.
          .filter(
            (file) => lstatSync(file).isFile() && lstatSync(file).size > 0 && lstatSync(file).nlink === 1,
          )
      );
    });
  });
  afterEach(() => rmSync(join(root, ".."), { recursive: true, force: true }));

  const wrong = async (): Promise<{ code: number; checks: Check[] }> => {
    const { code, json } = await runJson(["verify", root, "--workers", "0"]);
    return { code, checks: json.checked.filter((check: Check) => check.verdict !== "ok") };
  };

  test("a bit flipped in any file is found, and the file named", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(files.length - 1),
        fc.nat(),
        fc.integer({ min: 0, max: 7 }),
        async (which, at, bit) => {
          const file = files[which]!;
          const before = readFileSync(file);
          const after = Uint8Array.from(before);
          after[at % after.length]! ^= 1 << bit;
          writeFileSync(file, after);
          const { code, checks } = await wrong();
          writeFileSync(file, before);
          expect(code).toBe(1);
          expect(checks).toMatchObject([{ what: "layer", verdict: "corrupt" }]);
          expect(checks[0].detail).toContain(`${file.split("/diff/")[1]}: content differs`);
          expect(checks[0].path).toBe(`${file.slice(root.length + 1).split("/diff/")[0]}/diff`);
        },
      ),
      { numRuns: 12 },
    );
  });

  test("a file that is gone, or shorter, is named", async () => {
    rmSync(files[0]!);
    truncateSync(files[files.length - 1]!, 1);
    const { checks } = await wrong();
    const details = checks.map((check) => check.detail).join("\n");
    expect(details).toContain(`${files[0]!.split("/diff/")[1]}: missing`);
    expect(details).toContain(`${files[files.length - 1]!.split("/diff/")[1]}: size 1, expected`);
  });

  test("records: a tar-split cut short, a chain renamed, a name of nothing, a short name that leads elsewhere", async () => {
    const layerdb = join(root, "image/overlay2/layerdb/sha256");
    const [chain] = readdirSync(layerdb);
    truncateSync(join(layerdb, chain!, "tar-split.json.gz"), 60);
    writeFileSync(join(layerdb, chain!, "diff"), `sha256:${"0".repeat(64)}`);
    const names = join(root, "image/overlay2/repositories.json");
    const json = JSON.parse(readFileSync(names, "utf8"));
    json.Repositories["lab/nothing"] = { "lab/nothing:1": `sha256:${"1".repeat(64)}` };
    writeFileSync(names, JSON.stringify(json));
    const { code, checks } = await wrong();
    expect(code).toBe(1);
    expect(checks).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ what: "chain", verdict: "corrupt", id: `sha256:${chain}` }),
        expect.objectContaining({ what: "layer", verdict: "truncated" }),
        expect.objectContaining({ what: "database", verdict: "missing", id: "lab/nothing:1" }),
      ]),
    );
  });
});
