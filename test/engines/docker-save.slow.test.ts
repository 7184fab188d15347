/**
 * Real dockerd, real `docker save`: what ullage says that deleting an image from an archive frees is what the engine's
 * own archive without it is smaller by. Skipped, with the reason, where no dockerd can be started.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openFile } from "../../src/bytes/source.ts";
import { listTar } from "../../src/formats/tar.ts";
import { runJson } from "../helpers/cli.ts";
import { type Dockerd, installEngines, startDockerd, whyNoDockerd } from "./dockerd.ts";
import { fillStore } from "./fill-store.ts";
import { duOf } from "./usage.ts";

const canInstall = process.getuid?.() === 0 && process.env.CI === "true";
if (canInstall) installEngines();
const why = await whyNoDockerd();
if (why !== null) process.stderr.write(`no engine, so its ring is skipped: ${why}\n`);

describe.skipIf(why !== null)("docker save", () => {
  let engine: Dockerd;
  let folder: string;
  let tags: readonly string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "ullage-engine-"));
    engine = await startDockerd();
    ({ tags } = await fillStore(engine, { seed: 1 }));
    await engine.docker("save", "-o", join(folder, "all.tar"), ...tags);
  }, 120_000);

  afterAll(async () => {
    await engine?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  test("images: the engine's IDs, names and dates", async () => {
    const { json } = await runJson(["images", join(folder, "all.tar")]);
    for (const image of json.images) {
      const told = JSON.parse(await engine.docker("image", "inspect", image.id))[0];
      expect(image.names).toEqual([...told.RepoTags].filter((name) => tags.includes(name)).sort());
      expect(image.layers.map((layer: { diffId: string }) => layer.diffId)).toEqual(told.RootFS.Layers ?? []);
      expect(image.created).toBe(told.Created);
    }
    expect(json.images.flatMap((image: { names: string[] }) => image.names).sort()).toEqual([...tags].sort());
  });

  test("what deleting frees, to the byte", async () => {
    const all = join(folder, "all.tar");
    const { json: images } = await runJson(["images", all]);
    for (const { id, names } of images.images) {
      const rest = tags.filter((tag) => !names.includes(tag));
      const smaller = join(folder, "rest.tar");
      await engine.docker("save", "-o", smaller, ...rest);
      const { json: whatIf } = await runJson(["what-if", id, "-s", all]);
      const saved = (await stat(all)).size - (await stat(smaller)).size;
      // The lists of images are written anew, shorter; and where the folder goes that had a layer's bytes, a link to
      // them elsewhere (one header) becomes those bytes. Everything else is what was predicted.
      const lists = (await metadataOf(all)) - (await metadataOf(smaller));
      const [before, after] = [await membersOf(all), await membersOf(smaller)];
      const stays = [...before.links].filter((name) => after.names.has(name)).length;
      const resolved = stays - after.links.size;
      expect(whatIf.reclaimable.allocated, names.join()).toBe(saved - lists - 512 * resolved);
    }
  }, 120_000);

  test("an archive unpacked into a folder: du and df agree", async () => {
    const unpacked = join(folder, "unpacked");
    execFileSync("sh", ["-c", 'mkdir "$1" && tar -xf "$0" -C "$1"', join(folder, "all.tar"), unpacked]);
    const du = await duOf(unpacked);
    const { json } = await runJson(["df", unpacked]);
    expect(json.sources).toMatchObject([{ kind: "docker-archive" }]);
    expect(json.total).toMatchObject({ allocated: du.bytes, inodes: du.inodes });
    expect(json.residual).toBe(0);
  });
});

async function membersOf(archive: string): Promise<{ names: Set<string>; links: Set<string> }> {
  const source = await openFile(archive);
  const [names, links] = [new Set<string>(), new Set<string>()];
  for await (const { entry } of listTar(source)) {
    names.add(entry.rawName);
    if (entry.type === "symlink") links.add(entry.rawName);
  }
  await source.close();
  return { names, links };
}

async function metadataOf(archive: string): Promise<number> {
  const { json } = await runJson(["df", archive]);
  expect(json.residual).toBe(0);
  return json.categories.find((one: { name: string }) => one.name === "metadata").size.allocated;
}
