/** `docker save` of Docker 25 and later with a graph driver: an OCI layout and manifest.json over the same blobs. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  blobPath,
  digestBytes,
  dockerHybrid,
  filler,
  type HybridImage,
  imageOf,
  layerOf,
  withTemp,
  writeArchive,
} from "../helpers/image-builder.ts";
import { ask, byName, headings, type ImageJson } from "../helpers/run-cli.ts";
import type { Item } from "../helpers/tar-writer.ts";

/** What a plain ustar member takes. */
const inTar = (bytes: Uint8Array): number => 512 + Math.ceil(bytes.length / 512) * 512;
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

const base = await layerOf({ "etc/base": filler(5000, "base") });
const top1 = await layerOf({ "app/one": filler(3000, "one") });
const top2 = await layerOf({ "app/two": filler(700, "two") });
const loose = await layerOf({ "tmp/loose": filler(1700, "loose") });
const one = imageOf([base, top1], { labels: { maintainer: "nobody" } });
const two = imageOf([base, top2], { architecture: "arm64", variant: "v8" });
const nameless = imageOf([base, loose]);

const IMAGES: readonly HybridImage[] = [
  { image: one, names: ["docker.io/library/app:1", "docker.io/library/app:latest"] },
  { image: two, names: ["registry.example/team/app:2"] },
  { image: nameless },
];

async function saved<Result>(
  images: readonly HybridImage[],
  use: (path: string, bytes: Buffer) => Promise<Result>,
): Promise<Result> {
  return withTemp(async (folder) => {
    const path = join(folder, "saved.tar");
    return use(path, await writeArchive(path, dockerHybrid(images)));
  });
}

/** The OCI manifest that the writer made for an image: the blob that names its config and is no config itself. */
function manifestIn(items: readonly Item[], config: string): Uint8Array {
  const found = items.filter(
    ({ name, content }) => name.startsWith("blobs/") && Buffer.from(content ?? "").includes(config),
  );
  return found[0]!.content as Uint8Array;
}

describe("hybrid archive", () => {
  test("images: IDs, names, platforms, layers, sizes", () =>
    saved(IMAGES, async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.code).toBe(0);
      expect(answer.warnings).toEqual([]);
      expect(answer.sources).toEqual([{ path, kind: "docker-archive", engine: null, root: "" }]);
      const images = byName(answer);
      expect(Object.keys(images).sort()).toEqual(
        ["app:1", "registry.example/team/app:2", nameless.config.digest].sort(),
      );
      const first = images["app:1"]!;
      expect(first).toMatchObject({
        id: one.config.digest,
        names: ["app:1", "app:latest"],
        created: "2024-05-06T07:08:09.123456789Z",
        platform: "linux/amd64",
        dangling: false,
        state: "complete",
        size: {
          apparent: base.tar.length + top1.tar.length,
          allocated: inTar(base.tar) + inTar(top1.tar),
          inodes: null,
        },
        shared: { apparent: base.tar.length, allocated: inTar(base.tar) },
      });
      expect(images["registry.example/team/app:2"]).toMatchObject({
        id: two.config.digest,
        platform: "linux/arm64/v8",
      });
      expect(images[nameless.config.digest]).toMatchObject({ names: [], dangling: true, state: "complete" });
      const others = [two.config.digest, nameless.config.digest];
      expect(first.layers).toMatchObject([
        {
          diffId: base.diffId,
          chainId: base.diffId,
          digest: base.diffId,
          unpacked: base.tar.length,
          sharedBy: others,
        },
        {
          diffId: top1.diffId,
          chainId: digestBytes(Buffer.from(`${base.diffId} ${top1.diffId}`)),
          digest: top1.diffId,
          unpacked: top1.tar.length,
          size: { apparent: top1.tar.length, allocated: inTar(top1.tar) },
          sharedBy: [],
        },
      ]);
    }));

  test("exclusive: its layer, config and OCI manifest, even that of a nameless image, which index.json leaves out", () =>
    saved(IMAGES, async (path) => {
      const images = byName(await ask("images", [path]));
      const items = dockerHybrid(IMAGES);
      const own = (image: typeof one, layer: typeof base): readonly Uint8Array[] => [
        layer.tar,
        image.config.bytes,
        manifestIn(items, image.config.digest),
      ];
      const check = (image: ImageJson, parts: readonly Uint8Array[]): void => {
        expect(image.exclusive).toEqual({
          apparent: sum(parts.map((part) => part.length)),
          allocated: sum(parts.map(inTar)),
          inodes: null,
        });
      };
      check(images["app:1"]!, own(one, top1));
      check(images["registry.example/team/app:2"]!, own(two, top2));
      check(images[nameless.config.digest]!, own(nameless, loose));
      const attributed = sum(Object.values(images).map((image) => image.attributed.allocated!));
      const exclusive = sum(Object.values(images).map((image) => image.exclusive.allocated!));
      expect(attributed).toBe(exclusive + inTar(base.tar));
    }));

  test("df sums to the file's length; v1 records are metadata and no orphans", () =>
    saved(IMAGES, async (path, bytes) => {
      const answer = await ask("df", [path, "-v"]);
      expect(answer.code).toBe(0);
      expect(answer.residual).toBe(0);
      expect(answer.total.allocated).toBe(bytes.length);
      const by = headings(answer);
      expect(Object.keys(by).sort()).toEqual(["images", "metadata"]);
      expect(sum(Object.values(by) as number[])).toBe(bytes.length);
      const records = answer.entries!.find((entry) => entry.path.startsWith("v1 records"));
      expect(records).toMatchObject({ category: "metadata" });
      expect(answer.categories.find(({ name }) => name === "images")!.count).toBe(3);
    }));

  test("verify: all is right", () =>
    saved(IMAGES, async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer.code).toBe(0);
      expect(answer.checked.filter((check) => check.verdict !== "ok")).toEqual([]);
      // Four layers, three configs, three manifests.
      expect(answer.summary.ok).toBe(10);
    }));

  test("what-if of all three frees all that images need", () =>
    saved(IMAGES, async (path) => {
      const ids = IMAGES.map(({ image }) => image.config.digest);
      const answer = await ask("what-if", [...ids, "-s", path]);
      const { images } = headings(await ask("df", [path]));
      expect(answer.reclaimable.allocated).toBe(images);
    }));

  test("Docker 25.0.0 lists layers in any order in the OCI manifest: manifest.json and the config tell", () =>
    saved([{ image: one, names: ["docker.io/library/app:1"], shuffled: true }], async (path) => {
      const { images } = await ask("images", [path]);
      expect(images).toHaveLength(1);
      expect(images[0]!.layers.map((layer) => layer.digest)).toEqual([base.diffId, top1.diffId]);
      expect(images[0]!.layers.map((layer) => layer.diffId)).toEqual([base.diffId, top1.diffId]);
      expect(images[0]!.names).toEqual(["app:1"]);
      expect(images[0]!.digests).toHaveLength(1);
      const verified = await ask("verify", [path]);
      expect(verified.summary).toMatchObject({ ok: 4, corrupt: 0, missing: 0 });
      expect(verified.code).toBe(0);
    }));

  test("a foreign layer of Windows: the OCI manifest describes the registry's bytes, the file is the layer tar", () => {
    const foreign = {
      mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
      digest: digestBytes(Buffer.from("registry")),
      size: 1_000_000,
      urls: ["https://mcr.example/layer"],
    };
    const windows = imageOf([base, top1], { os: "windows" });
    const image = { image: windows, names: ["docker.io/library/win:1"], foreign: { [base.diffId]: foreign } };
    return saved([image], async (path, bytes) => {
      const { images } = await ask("images", [path]);
      expect(images).toMatchObject([{ state: "complete", platform: "windows/amd64" }]);
      expect(images[0]!.layers.map((layer) => layer.digest)).toEqual([base.diffId, top1.diffId]);
      const space = await ask("df", [path]);
      expect(headings(space).orphans).toBeUndefined();
      expect(space.total.allocated).toBe(bytes.length);
      const verified = await ask("verify", [path]);
      expect(verified).toMatchObject({ code: 0, summary: { ok: 4, missing: 0, corrupt: 0 } });
    });
  });

  test("a nameless image alone is in index.json, and nothing is counted twice", () =>
    saved([{ image: nameless }], async (path) => {
      const { images, code } = await ask("images", [path]);
      expect(code).toBe(0);
      expect(images).toMatchObject([{ id: nameless.config.digest, names: [], dangling: true }]);
    }));

  test("index.json of Docker 25.0 without any image: manifests null", () =>
    withTemp(async (folder) => {
      const path = join(folder, "null.tar");
      const items = dockerHybrid([{ image: nameless }]).map((item) =>
        item.name === "index.json" ? { ...item, content: '{"schemaVersion":2,"manifests":null}' } : item,
      );
      await writeArchive(path, items);
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [], images: [{ id: nameless.config.digest }] });
    }));
});

describe("damage", () => {
  const broken = (
    change: (items: Item[]) => Item[],
    use: (path: string, bytes: Buffer) => Promise<void>,
  ): Promise<void> =>
    withTemp(async (folder) => {
      const path = join(folder, "broken.tar");
      await use(path, await writeArchive(path, change(dockerHybrid(IMAGES))));
    });

  test("a flipped byte in a layer: corrupt, exit 1, and where", () =>
    broken(
      (items) =>
        items.map((item) => {
          if (item.name !== blobPath(top1.diffId)) return item;
          const content = Buffer.from(item.content as Uint8Array);
          content[600]! ^= 1;
          return { ...item, content };
        }),
      async (path) => {
        const answer = await ask("verify", [path]);
        expect(answer.code).toBe(1);
        expect(answer.summary.corrupt).toBe(1);
        const bad = answer.checked.find((check) => check.verdict === "corrupt")!;
        expect(bad).toMatchObject({
          what: "layer",
          id: top1.diffId,
          expected: top1.diffId,
          path: blobPath(top1.diffId),
          usedBy: ["app:1"],
        });
        expect(bad.actual).toMatch(/^sha256:[0-9a-f]{64}$/);
        expect(bad.detail).not.toBeNull();
      },
    ));

  test("a shared layer that is not there: missing, every image that needs it damaged", () =>
    broken(
      (items) => items.filter((item) => item.name !== blobPath(base.diffId)),
      async (path, bytes) => {
        const { images, code, warnings } = await ask("images", [path]);
        expect(code).toBe(4);
        expect(warnings).toMatchObject([{ code: "missing", path: blobPath(base.diffId) }]);
        expect(images.map((image) => image.state)).toEqual(["damaged", "damaged", "damaged"]);
        const answer = await ask("verify", [path]);
        expect(answer.code).toBe(1);
        const missing = answer.checked.filter((check) => check.verdict === "missing");
        expect(missing).toMatchObject([{ what: "layer", id: base.diffId, path: blobPath(base.diffId) }]);
        expect([...missing[0]!.usedBy].sort()).toEqual(
          ["app:1", "registry.example/team/app:2", nameless.config.digest.slice(7, 19)].sort(),
        );
        const space = await ask("df", [path]);
        expect(space.total.allocated).toBe(bytes.length);
        expect(headings(space).orphans).toBeUndefined();
      },
    ));

  test("a missing config", () =>
    broken(
      (items) => items.filter((item) => item.name !== blobPath(two.config.digest)),
      async (path) => {
        const images = byName(await ask("images", [path]));
        expect(images["registry.example/team/app:2"]).toMatchObject({ state: "damaged" });
        expect(images["app:1"]).toMatchObject({ state: "complete" });
        const answer = await ask("verify", [path]);
        expect(answer.checked.filter((check) => check.verdict === "missing")).toMatchObject([
          { what: "config", id: two.config.digest },
        ]);
      },
    ));

  test("a missing manifest makes nothing an orphan: what it needed cannot be told", () =>
    broken(
      (items) => {
        const gone = manifestIn(items, two.config.digest);
        return items
          .filter((item) => item.content !== gone)
          .map((item) => (item.name === "manifest.json" ? { ...item, content: "[]" } : item));
      },
      async (path, bytes) => {
        const space = await ask("df", [path]);
        expect(headings(space).orphans).toBeUndefined();
        expect(space.total.allocated).toBe(bytes.length);
        expect((await ask("verify", [path])).summary.missing).toBe(1);
      },
    ));

  test("bytes that nothing refers to are orphans, and free to go", () => {
    const stray = Buffer.from(filler(2222, "stray"));
    return broken(
      (items) => [...items, { name: blobPath(digestBytes(stray)), content: stray }],
      async (path, bytes) => {
        const space = await ask("df", [path]);
        expect(space.total.allocated).toBe(bytes.length);
        const orphans = space.categories.find(({ name }) => name === "orphans")!;
        expect(orphans).toMatchObject({
          count: 1,
          size: { apparent: 2222, allocated: inTar(stray) },
          reclaimable: { allocated: inTar(stray) },
        });
      },
    );
  });

  test("manifest.json that is no JSON: exit 4, and no orphans", () =>
    broken(
      (items) => items.map((item) => (item.name === "manifest.json" ? { ...item, content: "[{]" } : item)),
      async (path, bytes) => {
        const answer = await ask("images", [path]);
        expect(answer.code).toBe(4);
        expect(answer.warnings).toMatchObject([{ code: "unreadable", path: "manifest.json" }]);
        expect(answer.images.map((image) => image.names[0])).toEqual([
          "app:1",
          "registry.example/team/app:2",
        ]);
        const space = await ask("df", [path]);
        expect(headings(space).orphans).toBeUndefined();
        expect(space.total.allocated).toBe(bytes.length);
      },
    ));
});
