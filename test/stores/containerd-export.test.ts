/** What containerd exports: blobs as stored, indexes of several platforms, of which some may not be there. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  attestationOf,
  type Blob,
  blobsOf,
  containerdExport,
  digestBytes,
  type Export,
  filler,
  type Image,
  imageOf,
  indexOf,
  layerOf,
  TYPES,
  withTemp,
  writeArchive,
} from "../helpers/image-builder.ts";
import { ask, byName, headings } from "../helpers/run-cli.ts";

const inTar = (bytes: Uint8Array): number => 512 + Math.ceil(bytes.length / 512) * 512;
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

async function exported<Result>(
  exports: readonly Export[],
  blobs: readonly Blob[],
  use: (path: string, bytes: Buffer) => Promise<Result>,
): Promise<Result> {
  return withTemp(async (folder) => {
    const path = join(folder, "exported.tar");
    return use(path, await writeArchive(path, containerdExport(exports, blobs)));
  });
}

const base = await layerOf({ "etc/base": filler(9000, "base") }, { packing: "gzip" });
const amd = await layerOf({ "bin/amd": filler(4000, "amd") }, { packing: "gzip" });
const arm = await layerOf({ "bin/arm": filler(4100, "arm") }, { packing: "zstd" });
const lazy = await layerOf({ "bin/a": filler(900, "a"), "bin/b": filler(800, "b") }, { packing: "estargz" });
const amd64 = imageOf([base, amd]);
const arm64 = imageOf([base, arm], { architecture: "arm64" });
const proof = attestationOf(amd64.manifest);
const armProof = attestationOf(arm64.manifest);
const index = indexOf([amd64.manifest, arm64.manifest, proof.manifest, armProof.manifest]);
const NAMES = ["docker.io/library/app:1", "ghcr.io/team/app:stable"];

/** Everything of the index but what `gone` lists. */
function allBut(...gone: readonly Blob[]): Blob[] {
  const left = new Set(gone.map((blob) => blob.digest));
  const all = [index, ...blobsOf(amd64), ...blobsOf(arm64), ...proof.blobs, ...armProof.blobs];
  return all.filter((blob) => !left.has(blob.digest));
}

describe("one platform", () => {
  const exports: readonly Export[] = [
    { target: amd64.manifest, names: ["docker.io/library/app:1"], image: amd64 },
    {
      target: imageOf([base, lazy]).manifest,
      names: ["docker.io/library/lazy:1"],
      image: imageOf([base, lazy]),
    },
  ];
  const blobs = [...blobsOf(amd64), ...blobsOf(imageOf([base, lazy]))];

  test("compressed layers: diffID and digest differ, the length unpacked is not known without reading", () =>
    exported(exports, blobs, async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      const image = byName(answer)["app:1"]!;
      expect(image).toMatchObject({
        id: amd64.config.digest,
        digests: [amd64.manifest.digest],
        platform: "linux/amd64",
        state: "complete",
        size: { apparent: base.bytes.length + amd.bytes.length },
        exclusive: {
          apparent: amd.bytes.length + amd64.config.bytes.length + amd64.manifest.bytes.length,
          allocated: inTar(amd.bytes) + inTar(amd64.config.bytes) + inTar(amd64.manifest.bytes),
        },
      });
      expect(image.layers).toMatchObject([
        { diffId: base.diffId, digest: base.digest, chainId: base.diffId, unpacked: null },
        {
          diffId: amd.diffId,
          digest: amd.digest,
          chainId: digestBytes(Buffer.from(`${base.diffId} ${amd.diffId}`)),
        },
      ]);
      const space = await ask("df", [path]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      expect(headings(space).orphans).toBeUndefined();
    }));

  test("verify reads through gzip and eStargz's members to the diffIDs", () =>
    exported(exports, blobs, async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer.code).toBe(0);
      // Three blobs and as many diffIDs, two configs, two manifests.
      expect(answer.summary).toMatchObject({ ok: 10, corrupt: 0, unverifiable: 0 });
    }));

  test("a layer whose digest is right and whose diffID is another's", () => {
    const wrong: Image = imageOf([base, { ...amd, diffId: digestBytes(Buffer.from("another")) }]);
    const names = ["docker.io/library/wrong:1"];
    return exported([{ target: wrong.manifest, names, image: wrong }], blobsOf(wrong), async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer.code).toBe(1);
      expect(answer.checked.filter((check) => check.verdict === "corrupt")).toMatchObject([
        { what: "layer", id: digestBytes(Buffer.from("another")), actual: amd.diffId },
      ]);
    });
  });

  test("names of one config in two manifests stay with the manifest that index.json gives them", () => {
    const gzip = imageOf([base]);
    const plain = { ...base, bytes: base.tar, digest: base.diffId, mediaType: TYPES.layer };
    const same = imageOf([plain]);
    expect(same.config.digest).toBe(gzip.config.digest);
    const two: readonly Export[] = [
      { target: gzip.manifest, names: ["docker.io/library/a:1"], image: gzip },
      { target: same.manifest, names: ["docker.io/library/a:2"], image: same },
    ];
    return exported(two, [...blobsOf(gzip), ...blobsOf(same)], async (path) => {
      const { images } = await ask("images", [path]);
      expect(images.map((image) => [image.names, image.digests])).toEqual([
        [["a:1"], [gzip.manifest.digest]],
        [["a:2"], [same.manifest.digest]],
      ]);
      expect((await ask("verify", [path])).code).toBe(0);
    });
  });
});

describe("several platforms", () => {
  const exports: readonly Export[] = [{ target: index, names: NAMES, image: amd64 }];

  test("all there: one image of two platforms under two names", () =>
    exported(exports, allBut(), async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      expect(answer.images).toMatchObject([
        {
          id: index.digest,
          names: ["app:1", "ghcr.io/team/app:stable"],
          digests: [index.digest],
          platform: "linux/amd64, linux/arm64",
          state: "complete",
          size: { apparent: base.bytes.length + amd.bytes.length + arm.bytes.length },
        },
      ]);
      expect(answer.images[0]!.layers.map((layer) => layer.digest)).toEqual([
        base.digest,
        amd.digest,
        arm.digest,
      ]);
      const all = allBut();
      const distinct = [...new Map(all.map((blob) => [blob.digest, blob.bytes])).values()];
      expect(answer.images[0]!.exclusive.allocated).toBe(sum(distinct.map(inTar)));
      const space = await ask("df", [path]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      expect(headings(space)).toMatchObject({ images: sum(distinct.map(inTar)) });
      expect((await ask("verify", [path])).code).toBe(0);
    }));

  const skipped = async (gone: readonly Blob[], whats: readonly string[]): Promise<void> => {
    await exported(exports, allBut(...gone), async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      expect(answer.images).toMatchObject([
        { id: amd64.config.digest, digests: [index.digest], platform: "linux/amd64", state: "partial" },
      ]);
      expect(answer.images[0]!.layers.map((layer) => layer.digest)).toEqual([base.digest, amd.digest]);
      const verified = await ask("verify", [path]);
      expect(verified.code).toBe(0);
      expect(verified.summary).toMatchObject({ missing: 0, corrupt: 0, discarded: whats.length });
      const discarded = verified.checked.filter((check) => check.verdict === "discarded");
      expect(discarded.map((check) => check.what).sort()).toEqual([...whats].sort());
      expect(discarded.every((check) => check.detail!.includes("not saved along"))).toBe(true);
      const space = await ask("df", [path]);
      expect(space.total.allocated).toBe(bytes.length);
      expect(headings(space).orphans).toBeUndefined();
    });
  };

  test("a platform skipped: its manifest kept, what it needs dropped (WithSkipMissing)", () =>
    skipped([arm64.config, arm], ["config", "layer"]));

  test("a platform never pulled: its manifest is not there either", () =>
    skipped([arm64.manifest, arm64.config, arm, ...armProof.blobs], ["manifest", "manifest"]));

  test("attestations of a skipped platform: the manifest kept", () =>
    skipped([arm64.config, arm, ...armProof.blobs.slice(1)], ["config", "layer", "blob", "blob"]));

  test("a platform of which only a layer is missing is damaged, not skipped", () =>
    exported(exports, allBut(arm), async (path) => {
      expect((await ask("images", [path])).images).toMatchObject([
        { platform: "linux/amd64, linux/arm64", state: "damaged" },
      ]);
      const verified = await ask("verify", [path]);
      expect(verified.code).toBe(1);
      expect(verified.checked.filter((check) => check.verdict === "missing")).toMatchObject([
        { what: "layer", id: arm.digest },
      ]);
    }));

  test("nothing of any platform: missing, since nothing was chosen", () =>
    exported([{ target: index, names: NAMES, image: null }], [index], async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.images).toMatchObject([{ id: index.digest, state: "damaged", layers: [] }]);
      expect((await ask("verify", [path])).code).toBe(1);
    }));

  test("a platform's manifest tagged beside its index", () => {
    const both: readonly Export[] = [
      ...exports,
      { target: amd64.manifest, names: ["docker.io/library/app:amd64"], image: amd64 },
    ];
    return exported(both, allBut(), async (path) => {
      const images = byName(await ask("images", [path]));
      expect(Object.keys(images)).toEqual(["app:1", "app:amd64"]);
      expect(images["app:amd64"]).toMatchObject({
        id: amd64.config.digest,
        names: ["app:amd64"],
        exclusive: { apparent: 0, allocated: 0 },
      });
      expect(images["app:1"]!.names).toEqual(["app:1", "ghcr.io/team/app:stable"]);
    });
  });
});

describe("layers that are not distributed", () => {
  const windowsBase = layerOf(
    { "Files/x": filler(800, "win") },
    { packing: "gzip", mediaType: TYPES.foreign },
  );

  test("absent: discarded, the image partial, exit 0", async () => {
    const image = imageOf([await windowsBase, amd], { os: "windows" });
    const kept = blobsOf(image).filter((blob) => blob.mediaType !== TYPES.foreign);
    await exported([{ target: image.manifest, names: ["mcr.example/win:1"], image }], kept, async (path) => {
      expect((await ask("images", [path])).images).toMatchObject([
        { platform: "windows/amd64", state: "partial", size: { apparent: amd.bytes.length } },
      ]);
      const verified = await ask("verify", [path]);
      expect(verified.code).toBe(0);
      expect(verified.checked.filter((check) => check.verdict === "discarded")).toMatchObject([
        { what: "layer", id: image.layers[0]!.digest },
      ]);
    });
  });

  test("present: like any other", async () => {
    const image = imageOf([await windowsBase, amd], { os: "windows" });
    await exported(
      [{ target: image.manifest, names: ["mcr.example/win:1"], image }],
      blobsOf(image),
      async (path) => {
        expect((await ask("images", [path])).images).toMatchObject([{ state: "complete" }]);
        expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { discarded: 0 } });
      },
    );
  });
});
