/** What a hostile reading of the program found, each as a test. */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli, runJson } from "./helpers/cli.ts";
import { fixture } from "./helpers/fixtures.ts";
import { packTar } from "./helpers/tar-writer.ts";

const DEMO = fixture("docker-archive/docker-legacy-multi");
const PODMAN = fixture("oci-archive/podman-oci");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "ullage-review-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("scripts", () => {
  test("a name that holds shell code never reaches the shell", async () => {
    const evil = `evil\ntouch ${join(folder, "pwned")}\n#:1`;
    const config = JSON.stringify({ rootfs: { type: "layers", diff_ids: [] }, padding: "x".repeat(2000) });
    const manifest = [
      { Config: "a.json", RepoTags: [evil], Layers: [] },
      { Config: "b.json", RepoTags: ["stays:1"], Layers: [] },
    ];
    const tar = await packTar([
      { name: "a.json", content: config },
      { name: "b.json", content: `${config} ` },
      { name: "manifest.json", content: JSON.stringify(manifest) },
    ]);
    const archive = join(folder, "a.tar");
    await writeFile(archive, tar);
    const { out, code } = await runCli(["plan", "--script", "--free", "1kB", "--keep", "stays", archive]);
    expect(code).toBe(0);
    const commands = out.replaceAll("docker ", "true ").replaceAll("mv ", "true ");
    execFileSync("sh", ["-c", commands]);
    await expect(readFile(join(folder, "pwned"))).rejects.toThrow();
    expect(out).toContain("docker save -o");
  });
});

describe("what a full disk leaves", () => {
  test("an archive cut off before its index: whole blobs are still checked", async () => {
    const archive = join(folder, "cut.tar");
    await writeFile(archive, (await readFile(PODMAN)).subarray(0, 40_000));
    const { code, json } = await runJson(["verify", archive, "--workers", "0"]);
    expect(code).toBe(1);
    expect(json.summary.ok).toBeGreaterThan(0);
    expect(json.summary.truncated).toBeGreaterThan(0);
    const { code: listed, json: images } = await runJson(["images", archive]);
    expect(listed).toBe(4);
    expect(images.images).toMatchObject([{ names: [], state: "damaged" }]);
  });

  test("an empty archive and a link in a folder of them are named", async () => {
    await writeFile(join(folder, "empty.tar"), "");
    await writeFile(join(folder, "whole.tar"), await readFile(PODMAN));
    await symlink(PODMAN, join(folder, "link.tar"));
    const { code, json } = await runJson(["images", folder]);
    expect(code).toBe(4);
    expect(json.images).toHaveLength(1);
    expect(json.warnings.map((warning: { path: string }) => warning.path).sort()).toEqual([
      "empty.tar",
      "link.tar",
    ]);
  });

  test("what nothing refers to stays while an image lacks something", async () => {
    const bytes = await readFile(PODMAN);
    const { json } = await runJson(["df", "-v", PODMAN]);
    const layer = json.entries[0].path as string;
    const other = `${layer.slice(0, -8)}00000000`;
    const renamed = Buffer.from(bytes.toString("latin1").replaceAll(layer, other), "latin1");
    for (let at = 0; at < renamed.length; at += 512) {
      if (renamed.toString("latin1", at, at + other.length) !== other) continue;
      renamed.write("        ", at + 148);
      const sum = renamed.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
      renamed.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
    }
    const archive = join(folder, "renamed.tar");
    await writeFile(archive, renamed);
    const plan = await runJson(["plan", archive]);
    expect(plan.json.steps.map((step: { kind: string }) => step.kind)).not.toContain("orphan");
    expect(plan.json.kept).toMatchObject([{ id: other, because: expect.stringContaining("lacks") }]);
    const verified = await runJson(["verify", archive, "--workers", "0"]);
    const bad = verified.json.checked.find((check: { verdict: string }) => check.verdict === "corrupt");
    expect(bad).toMatchObject({ path: other });
  });
});

describe("options", () => {
  test("--fail-over takes shares of ratios and of the total", async () => {
    expect((await runCli(["df", DEMO, "--fail-over", "categories.metadata.size=50%"])).code).toBe(0);
    expect((await runCli(["df", DEMO, "--fail-over", "categories.images.size=50%"])).code).toBe(1);
    expect((await runCli(["plan", "--free", "1kB", DEMO, "--fail-over", "gap=1%"])).code).toBe(0);
    expect((await runCli(["df", DEMO, "--fail-over", "schemaVersion=0.5"])).code).toBe(1);
  });

  test("--max-loss beside --free says at what loss it could be had", async () => {
    const { out, code } = await runCli(["plan", "--free", "90%", "--max-loss", "10kB", DEMO]);
    expect(code).toBe(1);
    expect(out).toMatch(/can be had only at a loss of .*above --max-loss/);
  });

  test("a keep rule that matches nothing is told", async () => {
    const { err } = await runCli(["plan", "--keep", "shpo/*", DEMO]);
    expect(err).toContain("--keep shpo/* matches no image");
  });

  test("before= names any image, filtered away or not; reference= lists the names that match", async () => {
    const flags = ["-f", "reference=shop/base", "-f", "before=shop/web:1.0"];
    expect((await runCli(["images", ...flags, "--format", "{{.Repository}}", DEMO])).out).toBe("shop/base\n");
    const one = ["-f", "reference=shop/web:latest", "--format", "{{.Tag}}"];
    expect((await runCli(["images", ...one, DEMO])).out).toBe("latest\n");
  });

  test("--at stays inside the source", async () => {
    expect((await runCli(["images", "fixtures/oci-layout", "--at", "../docker-archive"])).code).toBe(2);
    expect((await runCli(["images", "fixtures/oci-layout", "--at", "umoci/input"])).code).toBe(0);
  });
});
