/** OCI image layouts: as a folder, as an archive, as an archive of a folder; artifacts, referrers, digests of all kinds. */
import { link, lstat, mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  artifactOf,
  type Blob,
  below,
  blobOf,
  blobPath,
  blobsOf,
  descriptorOf,
  digestBytes,
  EMPTY,
  filler,
  imageOf,
  indexOf,
  layerOf,
  manifestOf,
  ociLayout,
  type Reference,
  schema1Of,
  TYPES,
  withTemp,
  writeArchive,
  writeFolder,
} from "../helpers/image-builder.ts";
import { ask, byName, headings } from "../helpers/run-cli.ts";
import type { Item } from "../helpers/tar-writer.ts";

const base = await layerOf({ "etc/base": filler(9000, "base") }, { packing: "gzip" });
const top = await layerOf({ "bin/top": filler(2000, "top") }, { packing: "zstd" });
const plain = await layerOf({ "bin/plain": filler(1500, "plain") });
const app = imageOf([base, top]);
const tool = imageOf([base, plain]);
const REFERENCES: readonly Reference[] = [
  { target: app.manifest, name: "app" },
  { target: tool.manifest, name: "registry.example/tool:1" },
];
const BLOBS = [...blobsOf(app), ...blobsOf(tool)];

async function inFolder<Result>(
  items: readonly Item[],
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  return withTemp(async (folder) => {
    const path = join(folder, "layout");
    await writeFolder(path, items);
    return use(path);
  });
}

async function inArchive<Result>(
  items: readonly Item[],
  use: (path: string, bytes: Buffer) => Promise<Result>,
): Promise<Result> {
  return withTemp(async (folder) => {
    const path = join(folder, "layout.tar");
    return use(path, await writeArchive(path, items));
  });
}

/** Blocks of a folder and of all that is in it, and how many inodes: what `du -s` counts. */
async function usageOf(path: string): Promise<{ allocated: number; inodes: number }> {
  let allocated = 0;
  let inodes = 0;
  for (const name of ["", ...(await readdir(path, { recursive: true }))]) {
    allocated += (await lstat(join(path, name))).blocks * 512;
    inodes++;
  }
  return { allocated, inodes };
}

async function blocksOf(layout: string, ...blobs: readonly Blob[]): Promise<number> {
  const stats = await Promise.all(blobs.map((blob) => lstat(join(layout, blobPath(blob.digest)))));
  return stats.reduce((sum, stat) => sum + stat.blocks * 512, 0);
}

describe("folder", () => {
  test("images: what the file system spends on them", () =>
    inFolder(ociLayout(REFERENCES, BLOBS), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [], sources: [{ kind: "oci-layout", root: "" }] });
      const images = byName(answer);
      expect(images.app).toMatchObject({
        id: app.config.digest,
        digests: [app.manifest.digest],
        state: "complete",
        size: {
          apparent: base.bytes.length + top.bytes.length,
          allocated: await blocksOf(path, base, top),
          inodes: 2,
        },
        shared: { apparent: base.bytes.length, inodes: 1 },
        exclusive: {
          apparent: top.bytes.length + app.config.bytes.length + app.manifest.bytes.length,
          allocated: await blocksOf(path, top, app.config, app.manifest),
          inodes: 3,
        },
      });
      expect(images["registry.example/tool:1"]!.layers).toMatchObject([
        { digest: base.digest, unpacked: null, sharedBy: [app.config.digest] },
        { digest: plain.digest, diffId: plain.diffId, unpacked: plain.tar.length, sharedBy: [] },
      ]);
    }));

  test("df: every block and inode of the folder", () =>
    inFolder(ociLayout(REFERENCES, BLOBS), async (path) => {
      const answer = await ask("df", [path]);
      expect(answer.code).toBe(0);
      expect(answer.total).toMatchObject(await usageOf(path));
      expect(headings(answer).orphans).toBeUndefined();
      expect(answer).toHaveProperty("filesystem.size");
    }));

  test("verify by digests and diffIDs", () =>
    inFolder(ociLayout(REFERENCES, BLOBS), async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer.code).toBe(0);
      // Two compressed layers twice, a plain one once, two configs, two manifests.
      expect(answer.summary).toMatchObject({ ok: 9, unverifiable: 0 });
    }));

  test("leftovers: an orphan, an unfinished blob, a foreign file", () =>
    inFolder(
      [
        ...ociLayout(REFERENCES, BLOBS),
        { name: blobPath(digestBytes(Buffer.from("stray"))), content: "stray" },
        { name: "oci-put-blob123", content: "half" },
        { name: "README", content: "hello" },
      ],
      async (path) => {
        const answer = await ask("df", [path]);
        const by = Object.fromEntries(
          answer.categories.map(({ name, count, size }) => [name, [count, size.apparent]]),
        );
        expect(by).toMatchObject({ orphans: [1, 5], temporary: [1, 4], other: [1, 5] });
        expect(answer.total.allocated).toBe((await usageOf(path)).allocated);
        expect((await ask("verify", [path])).code).toBe(0);
      },
    ));

  test("links that lead out of the folder or in a circle are not followed", () =>
    withTemp(async (folder) => {
      const path = join(folder, "layout");
      await writeFolder(path, ociLayout(REFERENCES, BLOBS));
      const outside = join(folder, "outside");
      await writeFile(outside, top.bytes);
      const place = join(path, blobPath(top.digest));
      await rm(place);
      for (const target of [outside, "../../../outside", top.digest.slice(7), "missing"]) {
        await symlink(target, place);
        const answer = await ask("images", [path]);
        expect(byName(answer).app).toMatchObject({ state: "damaged" });
        const { summary, code } = await ask("verify", [path]);
        const isOutside = target === outside || target.startsWith("../../../");
        expect(summary).toMatchObject(
          isOutside ? { missing: 0, unreadable: 1 } : { missing: 1, unreadable: 0 },
        );
        expect(code).toBe(isOutside ? 4 : 1);
        await rm(place);
      }
      await writeFile(join(path, "real"), top.bytes);
      await symlink("../../real", place);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { missing: 0 } });
    }));

  test("another name of a blob's inode takes no space again", () =>
    inFolder(ociLayout(REFERENCES, BLOBS), async (path) => {
      await mkdir(join(path, "copy"));
      await link(join(path, blobPath(base.digest)), join(path, "copy", "z"));
      await link(join(path, blobPath(top.digest)), join(path, "zzz"));
      const answer = await ask("df", [path]);
      const usage = await usageOf(path);
      expect(answer.total).toMatchObject({
        allocated: usage.allocated - (await blocksOf(path, base, top)),
        inodes: usage.inodes - 2,
      });
      expect((await ask("verify", [path])).code).toBe(0);
    }));
});

describe("archive", () => {
  test("kind, sizes and the sum", () =>
    inArchive(ociLayout(REFERENCES, BLOBS), async (path, bytes) => {
      expect(await ask("images", [path])).toMatchObject({
        code: 0,
        sources: [{ kind: "oci-archive", root: "" }],
      });
      const answer = await ask("df", [path]);
      expect(answer).toMatchObject({ residual: 0, total: { allocated: bytes.length, inodes: null } });
    }));

  test("one folder down", () =>
    inArchive(below("work/layout", ociLayout(REFERENCES, BLOBS)).slice(1), async (path) => {
      const answer = await ask("images", [path]).catch((error: Error) => error.message);
      // Only one folder above a store is looked through.
      expect(answer).toMatch(/exit 3: .*not one of images/);
    }));

  test.each(["layout", "./layout"])("under %s/", (name) =>
    inArchive(below(name, ociLayout(REFERENCES, BLOBS)), async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, sources: [{ kind: "oci-archive", root: "layout" }] });
      expect(answer.images.map((image) => image.state)).toEqual(["complete", "complete"]);
      const space = await ask("df", [path]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      expect(headings(space).other).toBeUndefined();
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 9 } });
    }),
  );

  test("a member ./ for the folder itself", () =>
    inArchive(
      [
        { name: "./", type: "directory" },
        ...ociLayout(REFERENCES, BLOBS).map((item) => ({ ...item, name: `./${item.name}` })),
      ],
      async (path, bytes) => {
        expect((await ask("images", [path])).images).toHaveLength(2);
        expect(await ask("df", [path])).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      },
    ));
});

describe("index.json", () => {
  test("names: several of one target, none, and indexes in indexes", () => {
    const inner = indexOf([app.manifest]);
    const outer = indexOf([{ ...inner, extras: {} }]);
    const references = [
      { target: outer, name: "deep" },
      { target: tool.manifest, name: "a" },
      { target: tool.manifest, name: "b" },
      { target: tool.manifest },
    ];
    return inArchive(ociLayout(references, [...BLOBS, inner, outer]), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      expect(answer.images).toMatchObject([
        { id: app.config.digest, names: ["deep"], digests: [outer.digest], platform: "linux/amd64" },
        { id: tool.config.digest, names: ["a", "b"] },
      ]);
      expect(headings(await ask("df", [path])).orphans).toBeUndefined();
    });
  });

  test("indexes nested too deep are refused and nothing is called an orphan", () => {
    const chain = [indexOf([app.manifest])];
    for (let i = 0; i < 12; i++) chain.push(indexOf([{ ...chain[i]!, extras: {} }]));
    const references = [{ target: chain[12]!, name: "deep" }];
    return inArchive(ociLayout(references, [...BLOBS, ...chain]), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.code).toBe(4);
      expect(headings(await ask("df", [path])).orphans).toBeUndefined();
    });
  });

  test("a manifest that is not there: the image damaged, its blobs no orphans", () =>
    inArchive(
      ociLayout(
        REFERENCES,
        BLOBS.filter((blob) => blob !== app.manifest),
      ),
      async (path, bytes) => {
        const images = byName(await ask("images", [path]));
        expect(images.app).toMatchObject({ id: app.manifest.digest, state: "damaged", layers: [] });
        expect(images["registry.example/tool:1"]).toMatchObject({ state: "complete" });
        const space = await ask("df", [path]);
        expect(headings(space).orphans).toBeUndefined();
        expect(space.total.allocated).toBe(bytes.length);
        const verified = await ask("verify", [path]);
        expect(verified.code).toBe(1);
        expect(verified.checked.filter((check) => check.verdict === "missing")).toMatchObject([
          { what: "manifest", id: app.manifest.digest, usedBy: ["app"] },
        ]);
      },
    ));

  test.each(["", "{", "[]", '{"schemaVersion":2}', '{"config":7}', '{"config":{"digest":"x"},"layers":[]}'])(
    "a manifest of %j: damage, exit 4, and no orphans",
    (text) => {
      const items = ociLayout(REFERENCES, BLOBS).map((item) =>
        item.name === blobPath(app.manifest.digest) ? { ...item, content: text } : item,
      );
      return inArchive(items, async (path) => {
        const answer = await ask("images", [path]);
        expect(answer.code).toBe(4);
        expect(byName(answer).app).toMatchObject({ state: "damaged" });
        expect(headings(await ask("df", [path])).orphans).toBeUndefined();
        expect((await ask("verify", [path])).code).toBe(1);
      });
    },
  );

  test.each(["{", '{"manifests":7}', '{"manifests":[{"digest":"sha256:1"}]}', "[]"])("%s", (text) => {
    const items = ociLayout(REFERENCES, BLOBS).map((item) =>
      item.name === "index.json" ? { ...item, content: text } : item,
    );
    return inArchive(items, async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 4, images: [] });
      const space = await ask("df", [path]);
      expect(space.total.allocated).toBe(bytes.length);
      expect(headings(space).orphans).toBeUndefined();
    });
  });

  test("an empty layout", () =>
    inArchive(ociLayout([], [plain]), async (path) => {
      expect(await ask("images", [path])).toMatchObject({ code: 0, images: [] });
      expect(headings(await ask("df", [path])).orphans).toBe(512 + plain.bytes.length);
    }));
});

describe("what is no image", () => {
  test("an artifact: of size 0, its bytes its own", () => {
    const sbom = artifactOf(filler(1000, "sbom"));
    return inArchive(
      ociLayout([{ target: sbom.manifest, name: "sbom" }], sbom.blobs),
      async (path, bytes) => {
        const answer = await ask("images", [path]);
        expect(answer).toMatchObject({ code: 0, warnings: [] });
        expect(answer.images).toMatchObject([
          {
            id: sbom.manifest.digest,
            names: ["sbom"],
            state: "complete",
            layers: [],
            size: { apparent: 0 },
            exclusive: { apparent: 1000 + 2 + sbom.manifest.bytes.length },
          },
        ]);
        const space = await ask("df", [path]);
        expect(space.total.allocated).toBe(bytes.length);
        expect(headings(space).orphans).toBeUndefined();
        expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 3 } });
      },
    );
  });

  test("an empty config that stands in its descriptor need not be a file", () => {
    const sbom = artifactOf("text", { embedEmpty: true });
    return inArchive(ociLayout([{ target: sbom.manifest, name: "sbom" }], sbom.blobs), async (path) => {
      expect((await ask("images", [path])).images).toMatchObject([{ state: "complete" }]);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { missing: 0 } });
    });
  });

  test("referrers belong to the image that they speak of, one of another, and of a platform in an index", () => {
    const index = indexOf([app.manifest]);
    const sbom = artifactOf(filler(300, "sbom"), { subject: index });
    const signature = artifactOf(filler(200, "signature"), { subject: sbom.manifest });
    const scan = artifactOf(filler(100, "scan"), { subject: app.manifest });
    const extra = [sbom, signature, scan];
    const blobs = [...blobsOf(app), index, ...extra.flatMap((one) => one.blobs)];
    const image = { target: index, name: "app" };
    const orders = [
      [image, { target: sbom.manifest }, { target: signature.manifest }, { target: scan.manifest }],
      [{ target: scan.manifest }, { target: signature.manifest }, { target: sbom.manifest }, image],
    ];
    return Promise.all(
      orders.map((references) =>
        inArchive(ociLayout(references, blobs), async (path) => {
          const answer = await ask("images", [path]);
          expect(answer.images).toMatchObject([{ names: ["app"], id: app.config.digest, state: "complete" }]);
          const all = new Map(blobs.map((blob) => [blob.digest, blob.bytes.length]));
          expect(answer.images[0]!.exclusive.apparent).toBe([...all.values()].reduce((a, b) => a + b));
          expect(headings(await ask("df", [path])).orphans).toBeUndefined();
        }),
      ),
    );
  });

  test("a referrer whose content is missing is damage of its image", () => {
    const sbom = artifactOf(filler(300, "sbom"), { subject: app.manifest });
    const [manifest, , empty] = sbom.blobs;
    const references = [{ target: app.manifest, name: "app" }, { target: sbom.manifest }];
    return inArchive(ociLayout(references, [...blobsOf(app), manifest!, empty!]), async (path) => {
      expect((await ask("images", [path])).images).toMatchObject([{ names: ["app"], state: "damaged" }]);
      expect(await ask("verify", [path])).toMatchObject({ code: 1, summary: { missing: 1 } });
    });
  });

  test("a referrer with a name, or without its subject, stands for itself", () => {
    const sbom = artifactOf(filler(300, "sbom"), { subject: app.manifest });
    const lost = artifactOf(filler(200, "lost"), { subject: blobOf(Buffer.from("gone"), TYPES.manifest) });
    const references = [
      { target: app.manifest, name: "app" },
      { target: sbom.manifest, name: "sbom" },
      { target: lost.manifest },
    ];
    return inArchive(ociLayout(references, [...blobsOf(app), ...sbom.blobs, ...lost.blobs]), async (path) => {
      const { images } = await ask("images", [path]);
      expect(images.map((image) => [image.names, image.state])).toEqual([
        [["app"], "complete"],
        [["sbom"], "complete"],
        [[], "complete"],
      ]);
    });
  });

  test("schema 1: held, verified by digests, without layers in a chain", () => {
    const manifest = schema1Of("old", [base, top]);
    return inArchive(ociLayout([{ target: manifest, name: "old" }], [manifest, base, top]), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      const bytes = manifest.bytes.length + base.bytes.length + top.bytes.length;
      expect(answer.images).toMatchObject([
        { id: manifest.digest, names: ["old"], state: "complete", exclusive: { apparent: bytes } },
      ]);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 3 } });
    });
  });
});

describe("digests", () => {
  test.each(["sha256", "sha384", "sha512", "blake3"])("%s", async (algorithm) => {
    const layers = [await layerOf({ a: filler(700, algorithm) }, { packing: "gzip", algorithm }), plain];
    const image = imageOf(layers, { algorithm });
    await inFolder(ociLayout([{ target: image.manifest, name: "x" }], blobsOf(image)), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.images).toMatchObject([{ id: image.config.digest, digests: [image.manifest.digest] }]);
      expect(answer.images[0]!.layers[0]!.digest).toBe(layers[0]!.digest);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 5, unverifiable: 0 } });
      await writeFile(join(path, blobPath(image.config.digest)), `${image.config.bytes} `);
      const bad = await ask("verify", [path]);
      expect(bad.code).toBe(1);
      expect(bad.checked.filter((check) => check.verdict === "corrupt")).toMatchObject([
        { what: "config", id: image.config.digest },
      ]);
    });
  });

  test.each(["sha256", "sha384", "sha512", "blake3"])("%s from standard input", async (algorithm) => {
    const layer = await layerOf({ a: filler(1_200_000, algorithm) }, { packing: "gzip", algorithm });
    const image = imageOf([layer], { algorithm });
    await inArchive(ociLayout([{ target: image.manifest, name: "x" }], blobsOf(image)), async (_, bytes) => {
      expect(await ask("verify", ["-"], bytes)).toMatchObject({
        code: 0,
        summary: { ok: 4, unverifiable: 0 },
      });
    });
  });

  test("an algorithm that nobody has: unverifiable, and no damage", async () => {
    const layer = await layerOf({ a: "text" }, { packing: "gzip", algorithm: "k12+tree" });
    const image = imageOf([layer]);
    await inArchive(
      ociLayout([{ target: image.manifest, name: "x" }], blobsOf(image)),
      async (path, bytes) => {
        expect((await ask("images", [path])).images).toMatchObject([{ state: "complete" }]);
        const answer = await ask("verify", [path]);
        // Its diffID can be checked all the same.
        expect(answer).toMatchObject({ code: 0, summary: { ok: 3, unverifiable: 1, corrupt: 0 } });
        const check = answer.checked.find((one) => one.verdict === "unverifiable")!;
        expect(check).toMatchObject({ id: layer.digest, actual: null });
        expect(check.detail).toContain("k12+tree");
        expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
      },
    );
  });

  test("a wrong length in a descriptor: drifted when the bytes are right", () =>
    inArchive(
      ociLayout([{ target: { ...app.manifest, extras: { size: 7 } }, name: "app" }], blobsOf(app)),
      async (path) => {
        const answer = await ask("verify", [path]);
        expect(answer).toMatchObject({ code: 0, summary: { drifted: 1, corrupt: 0 } });
        expect(answer.checked.find((check) => check.verdict === "drifted")).toMatchObject({
          what: "manifest",
          id: app.manifest.digest,
        });
      },
    ));

  test("a blob shorter than its descriptor says is truncated, a longer one corrupt", () => {
    const config = blobOf(app.config.bytes, TYPES.config);
    const change = (bytes: Buffer): readonly Item[] =>
      ociLayout([{ target: app.manifest, name: "app" }], blobsOf(app)).map((item) =>
        item.name === blobPath(config.digest) ? { ...item, content: bytes } : item,
      );
    const short = config.bytes.subarray(0, 40);
    const long = Buffer.concat([config.bytes, Buffer.from(" ")]);
    return Promise.all([
      inArchive(change(short), async (path) =>
        expect(await ask("verify", [path])).toMatchObject({ code: 1, summary: { truncated: 1, corrupt: 0 } }),
      ),
      inArchive(change(long), async (path) =>
        expect(await ask("verify", [path])).toMatchObject({ code: 1, summary: { corrupt: 1 } }),
      ),
    ]);
  });

  test("a compressed layer that breaks off inside", async () => {
    const cut = base.bytes.subarray(0, base.bytes.length - 20);
    const items = ociLayout(REFERENCES, BLOBS).map((item) =>
      item.name === blobPath(base.digest) ? { ...item, content: cut } : item,
    );
    await inArchive(items, async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer).toMatchObject({ code: 1, summary: { truncated: 2, corrupt: 0 } });
      expect(
        answer.checked.filter((check) => check.verdict === "truncated").map((check) => check.id),
      ).toEqual([base.digest, base.diffId]);
    });
  });
});

describe("odd images", () => {
  test("an uncompressed layer in a manifest that calls it gzip, and the other way round", async () => {
    const lying = { ...plain, mediaType: `${TYPES.layer}+gzip` };
    const shy = { ...base, mediaType: TYPES.layer };
    const image = imageOf([shy, lying]);
    await inArchive(ociLayout([{ target: image.manifest, name: "x" }], blobsOf(image)), async (path) => {
      expect((await ask("images", [path])).images[0]!.layers).toMatchObject([
        { unpacked: null },
        { unpacked: plain.tar.length },
      ]);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 5 } });
    });
  });

  test("more layers than diffIDs: told, and the chain ends where it is not known", async () => {
    const manifest = manifestOf(app.config, [base, top, plain]);
    await inArchive(
      ociLayout([{ target: manifest, name: "x" }], [...blobsOf(app), manifest, plain]),
      async (path) => {
        const answer = await ask("images", [path]);
        expect(answer.code).toBe(0);
        expect(answer.warnings).toMatchObject([{ code: "layer-count" }]);
        expect(answer.images[0]!.layers[2]).toMatchObject({
          diffId: null,
          chainId: null,
          digest: plain.digest,
        });
      },
    );
  });

  test("the same layer twice takes its space once", async () => {
    const image = imageOf([base, plain, base]);
    await inArchive(ociLayout([{ target: image.manifest, name: "x" }], blobsOf(image)), async (path) => {
      const [found] = (await ask("images", [path])).images;
      expect(found!.layers.map((layer) => layer.digest)).toEqual([base.digest, plain.digest, base.digest]);
      expect(new Set(found!.layers.map((layer) => layer.chainId)).size).toBe(3);
      // As engines show it; on disk the layer is there once.
      expect(found!.size.apparent).toBe(2 * base.bytes.length + plain.bytes.length);
      const own =
        base.bytes.length + plain.bytes.length + image.config.bytes.length + image.manifest.bytes.length;
      expect(found!.exclusive.apparent).toBe(own);
    });
  });

  test("an image without layers", async () => {
    const image = imageOf([]);
    await inArchive(
      ociLayout([{ target: image.manifest, name: "scratch" }], blobsOf(image)),
      async (path) => {
        expect((await ask("images", [path])).images).toMatchObject([
          { id: image.config.digest, state: "complete", size: { apparent: 0 }, layers: [] },
        ]);
        expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 2 } });
      },
    );
  });

  test("a config that is none: exit 4, and the layers without diffIDs", async () => {
    const config = blobOf(Buffer.from('{"architecture":"amd64","os":"linux"}'), TYPES.config);
    const manifest = manifestOf(config, [plain]);
    await inArchive(ociLayout([{ target: manifest, name: "x" }], [config, manifest, plain]), async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.code).toBe(4);
      expect(answer.images[0]).toMatchObject({
        id: config.digest,
        layers: [{ diffId: null, digest: plain.digest }],
      });
    });
  });

  test("the empty descriptor is two bytes", () => {
    expect(descriptorOf(EMPTY)).toMatchObject({
      digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      size: 2,
    });
  });
});
