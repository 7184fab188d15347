/** Folders of `skopeo copy dir:`. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  type Blob,
  below,
  blobsOf,
  filler,
  hexOf,
  imageOf,
  indexOf,
  layerOf,
  skopeoDir,
  withTemp,
  writeArchive,
  writeFolder,
} from "../helpers/image-builder.ts";
import { ask, headings } from "../helpers/run-cli.ts";

const base = await layerOf({ "etc/base": filler(9000, "base") }, { packing: "gzip" });
const top = await layerOf({ "bin/top": filler(2000, "top") }, { packing: "zstd" });
const image = imageOf([base, top]);
const arm64 = imageOf([base], { architecture: "arm64" });

async function folder<Result>(
  target: Blob,
  blobs: readonly Blob[],
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  return withTemp(async (temp) => {
    const path = join(temp, "dir");
    await writeFolder(path, skopeoDir(target, blobs));
    return use(path);
  });
}

describe("one image", () => {
  test("its ID, without a name; signatures and the version are metadata", () =>
    folder(image.manifest, blobsOf(image), async (path) => {
      await writeFile(join(path, "signature-1"), "signed");
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [], sources: [{ kind: "skopeo-dir" }] });
      expect(answer.images).toMatchObject([
        {
          id: image.config.digest,
          names: [],
          digests: [image.manifest.digest],
          platform: "linux/amd64",
          state: "complete",
          size: { apparent: base.bytes.length + top.bytes.length, inodes: 2 },
        },
      ]);
      const space = await ask("df", [path]);
      expect(Object.keys(headings(space)).sort()).toEqual(["images", "metadata"]);
      expect(space.total.inodes).toBe(7);
    }));

  test("verify: the manifest's own digest is recorded nowhere", () =>
    folder(image.manifest, blobsOf(image), async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer).toMatchObject({ code: 0, summary: { ok: 5, unverifiable: 1 } });
      expect(answer.checked.find((check) => check.verdict === "unverifiable")).toMatchObject({
        what: "manifest",
        id: "manifest.json",
      });
      await rm(join(path, hexOf(top.digest)));
      expect(await ask("verify", [path])).toMatchObject({ code: 1, summary: { missing: 1 } });
    }));

  test.each(["sha384", "sha512"])("blobs of %s, by the length of their names", async (algorithm) => {
    const layer = await layerOf({ a: filler(500, algorithm) }, { packing: "gzip", algorithm });
    const odd = imageOf([layer]);
    const stray = await layerOf({ b: "stray" }, { algorithm });
    await folder(odd.manifest, [...blobsOf(odd), stray], async (path) => {
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 4, unverifiable: 1 } });
      expect((await ask("df", [path])).categories.find(({ name }) => name === "orphans")).toMatchObject({
        count: 1,
        size: { apparent: stray.bytes.length },
      });
    });
  });

  test("no manifest: exit 4, nothing an orphan", () =>
    folder(image.manifest, blobsOf(image), async (path) => {
      await rm(join(path, "manifest.json"));
      expect(await ask("images", [path])).toMatchObject({ code: 4, images: [] });
      expect(headings(await ask("df", [path])).orphans).toBeUndefined();
    }));
});

describe("several platforms", () => {
  const index = indexOf([image.manifest, arm64.manifest]);
  const blobs = [index, ...blobsOf(image), ...blobsOf(arm64)];

  test("manifests of platforms under <hex>.manifest.json", () =>
    folder(index, blobs, async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.images).toMatchObject([
        { id: index.digest, platform: "linux/amd64, linux/arm64", state: "complete" },
      ]);
      expect(headings(await ask("df", [path])).orphans).toBeUndefined();
      // Two layers twice, two configs, two manifests.
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 8, unverifiable: 1 } });
    }));

  test("one platform copied", () =>
    folder(index, [index, ...blobsOf(image)], async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.images).toMatchObject([{ id: image.config.digest, state: "partial" }]);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { discarded: 1, missing: 0 } });
    }));

  test("as a tar of the folder", () =>
    withTemp(async (temp) => {
      const path = join(temp, "dir.tar");
      const bytes = await writeArchive(path, below("dir", skopeoDir(index, blobs)));
      expect(await ask("images", [path])).toMatchObject({
        code: 0,
        sources: [{ kind: "skopeo-dir", root: "dir" }],
        images: [{ id: index.digest, state: "complete" }],
      });
      expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
    }));
});
