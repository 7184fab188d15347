/**
 * Data-roots that a real dockerd left behind, against what it said of them while it ran and what `du` said after it
 * had stopped (`fixtures/docker/<case>/oracle.json`). Read unpacked, as a host has them, and as the tar that they are.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli, runJson } from "../helpers/cli.ts";

const isRoot = process.getuid?.() === 0;
const CASES = ["overlay2-buildkit", "vfs", "orphans"];

// biome-ignore lint/suspicious/noExplicitAny: the oracle is whatever the engine said
const oracleOf = (name: string): any =>
  JSON.parse(readFileSync(`fixtures/docker/${name}/oracle.json`, "utf8"));

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "ullage-data-root-"));
  if (!isRoot) return;
  for (const name of CASES) {
    const into = join(scratch, name);
    const unpack = 'mkdir "$2" && tar --xattrs --xattrs-include="*" -xpzf "$1" -C "$2"';
    execFileSync("sh", ["-c", unpack, "sh", `fixtures/docker/${name}/input.tar.gz`, into]);
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

for (const name of CASES) {
  const oracle = oracleOf(name);
  // What the engine does not restore it showed before the files were damaged.
  const gone = new Set<string>(
    (oracle.orphans ?? []).flatMap(
      (one: { path: string }) => /imagedb\/content\/sha256\/(\w+)$/.exec(one.path)?.[1] ?? [],
    ),
  );
  for (const form of ["unpacked", "tar"]) {
    const source = (): string =>
      form === "tar" ? `fixtures/docker/${name}/input.tar.gz` : join(scratch, name, "docker");
    describe.skipIf(form === "unpacked" && !isRoot)(`${name}, ${form}`, () => {
      test("images: IDs, names, sizes, dates, containers as the engine says", async () => {
        const { json } = await runJson(["images", source()]);
        const told = oracle.systemDf.Images.filter((one: { Id: string }) => !gone.has(one.Id.slice(7)));
        expect(json.images.map((image: { id: string }) => image.id).sort()).toEqual(
          told.map((one: { Id: string }) => one.Id).sort(),
        );
        for (const one of told) {
          const image = json.images.find(({ id }: { id: string }) => id === one.Id);
          const tags = (one.RepoTags ?? []).filter((tag: string) => tag !== "<none>:<none>");
          expect(image.names.filter((tag: string) => !tag.includes("@"))).toEqual([...tags].sort());
          expect(image.size.apparent).toBe(one.Size);
          expect(Math.floor(Date.parse(image.created) / 1000)).toBe(one.Created);
          expect(image.usedBy).toHaveLength(Math.max(0, one.Containers));
          expect(image.state).toBe("complete");
          const digests = (one.RepoDigests ?? []).map((digest: string) => digest.split("@")[1]);
          expect(image.digests).toEqual(digests.filter((digest: string) => digest !== "<none>"));
        }
      });

      test("images: SHARED and UNIQUE SIZE in Docker's sense", async () => {
        const format = "{{.ID}} {{.SharedSize}} {{.UniqueSize}}";
        const { out } = await runCli([
          "images",
          "--no-trunc",
          "--units",
          "bytes",
          "--format",
          format,
          source(),
        ]);
        const lines = new Map(
          out
            .trim()
            .split("\n")
            .map((line) => [line.split(" ")[0], line]),
        );
        for (const one of oracle.systemDf.Images) {
          if (gone.has(one.Id.slice(7)) || name === "orphans") continue;
          expect(lines.get(one.Id)).toBe(`${one.Id} ${one.SharedSize} ${one.Size - one.SharedSize}`);
        }
      });

      test("images -a: the intermediate ones as well", async () => {
        const { json } = await runJson(["images", "-a", source()]);
        const told = oracle.images.filter((one: { Id: string }) => !gone.has(one.Id.slice(7)));
        expect(json.images.map((image: { id: string }) => image.id).sort()).toEqual(
          told.map((one: { Id: string }) => one.Id).sort(),
        );
      });

      test("containers: state, image, command and writable bytes", async () => {
        const { json } = await runJson(["df", "-v", source()]);
        const told = oracle.systemDf.Containers ?? [];
        expect(json.containers.map((one: { id: string }) => one.id).sort()).toEqual(
          told.map((one: { Id: string }) => one.Id).sort(),
        );
        for (const one of told) {
          const container = json.containers.find(({ id }: { id: string }) => id === one.Id);
          expect(container).toMatchObject({
            name: one.Names[0].slice(1),
            state: one.State,
            imageId: one.ImageID,
          });
          if (name !== "vfs") expect(container.writable.apparent).toBe(one.SizeRw ?? 0);
          const volumes = one.Mounts.filter((mount: { Type: string }) => mount.Type === "volume");
          expect(container.volumes.sort()).toEqual(
            volumes.map((mount: { Name: string }) => mount.Name).sort(),
          );
        }
      });

      test("volumes: names, links and bytes", async () => {
        const { json } = await runJson(["df", "-v", source()]);
        const volumes = new Map(json.volumes.map((one: { name: string }) => [one.name, one]));
        expect([...volumes.keys()].sort()).toEqual(
          oracle.volumes.map((one: { Name: string }) => one.Name).sort(),
        );
        for (const one of oracle.systemDf.Volumes ?? []) {
          // biome-ignore lint/suspicious/noExplicitAny: a row of the JSON
          const volume = volumes.get(one.Name) as any;
          expect(volume.size.apparent).toBe(one.UsageData.Size);
          expect(volume.usedBy).toHaveLength(one.UsageData.RefCount);
          expect(volume.driver).toBe(one.Driver);
          expect(volume.labels).toEqual(one.Labels ?? {});
        }
      });

      test("df: everything is under one heading", async () => {
        const { json } = await runJson(["df", source()]);
        expect(json.residual).toBe(0);
        if (form === "tar") return;
        const du = (flag: string): number =>
          Number.parseInt(execFileSync("du", ["-s", flag, source()], { encoding: "utf8" }), 10);
        expect(json.total).toMatchObject({ allocated: du("--block-size=1"), inodes: du("--inodes") });
      });
    });
  }
}

describe.skipIf(!isRoot)("orphans", () => {
  const oracle = oracleOf("orphans");

  test("all that was left behind, with its cause, to the byte and the inode", async () => {
    const { json } = await runJson(["orphans", join(scratch, "orphans/docker")]);
    // biome-ignore lint/suspicious/noExplicitAny: a row of the JSON
    const found = new Map<string, any>(json.orphans.map((one: { path: string }) => [one.path, one]));
    for (const { path, cause, size, how } of oracle.orphans) {
      const orphan = found.get(path);
      expect(orphan, path).toBeDefined();
      expect({ allocated: orphan.size.allocated, inodes: orphan.size.inodes }, path).toEqual(size);
      // Nothing tells whose layers they are once the config is zeros.
      const unknown = cause === "image-not-restorable" && orphan.cause !== cause;
      expect(orphan.cause, how).toBe(unknown ? "chain-without-image" : cause);
      if (unknown)
        expect(orphan).toMatchObject({
          safe: false,
          evidence: expect.arrayContaining([expect.stringContaining("lab/zeroed:1")]),
        });
      expect(orphan.evidence.length).toBeGreaterThan(0);
      found.delete(path);
    }
    // Beyond those, only the short names of the same layers.
    expect([...found.keys()].filter((path) => !path.startsWith("overlay2/l/"))).toEqual([]);
  });

  test("only what the engine itself would throw away, or never named, is safe", async () => {
    const { json } = await runJson(["orphans", join(scratch, "orphans/docker")]);
    const causes = new Set(
      json.orphans.filter((one: { safe: boolean }) => one.safe).map((one: { cause: string }) => one.cause),
    );
    expect([...causes].sort()).toEqual(["layer-being-removed", "layer-being-written"]);
  });

  test("a store in order has none", async () => {
    for (const name of ["overlay2-buildkit", "vfs"]) {
      const { json } = await runJson(["orphans", join(scratch, name, "docker")]);
      expect(json.orphans).toEqual([]);
    }
  });
});
