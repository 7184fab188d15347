/** `docker save` archives of the older forms: layer folders with manifest.json, and before that `repositories` alone. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { filler, imageOf, layerOf, withTemp } from "../helpers/image-builder.ts";
import { ask, byName, headings } from "../helpers/run-cli.ts";
import { type Item, packTar } from "../helpers/tar-writer.ts";

const hex = (text: string): string => createHash("sha256").update(text).digest("hex");
const base = await layerOf({ "etc/base": filler(5000, "base") });
const top = await layerOf({ "app/top": filler(3000, "top") });
const image = imageOf([base, top]);
const [ID1, ID2, ID3] = [hex("1"), hex("2"), hex("3")];
const configName = `${image.config.digest.slice(7)}.json`;

/** As moby image/tarexport/save.go of Docker 1.10 to 24 writes one image. */
function legacy(
  layers: readonly Item[],
  paths: readonly string[],
  tags: string[] | null = ["app:1"],
): Item[] {
  return [
    ...layers,
    { name: configName, content: image.config.bytes },
    {
      name: "manifest.json",
      content: JSON.stringify([{ Config: configName, RepoTags: tags, Layers: paths }]),
    },
    { name: "repositories", content: JSON.stringify({ app: { 1: ID2 } }) },
  ];
}

function layerFolder(id: string, tar: Uint8Array, parent?: string): Item[] {
  return [
    { name: `${id}/`, type: "directory" },
    { name: `${id}/VERSION`, content: "1.0" },
    { name: `${id}/json`, content: JSON.stringify({ id, ...(parent ? { parent } : {}), os: "linux" }) },
    { name: `${id}/layer.tar`, content: tar },
  ];
}

const FOLDERS = [...layerFolder(ID1, base.tar), ...layerFolder(ID2, top.tar, ID1)];
const PATHS = [`${ID1}/layer.tar`, `${ID2}/layer.tar`];

async function archive<Result>(
  items: readonly Item[],
  use: (path: string, bytes: Buffer) => Promise<Result>,
): Promise<Result> {
  const { writeArchive } = await import("../helpers/image-builder.ts");
  return withTemp(async (folder) => {
    const path = join(folder, "saved.tar");
    return use(path, await writeArchive(path, items));
  });
}

describe("layer folders", () => {
  test("an image, its layers by path, their digests unknown but for the diffIDs", () =>
    archive(legacy(FOLDERS, PATHS), async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 0, warnings: [], sources: [{ kind: "docker-archive" }] });
      expect(answer.images).toMatchObject([
        {
          id: image.config.digest,
          names: ["app:1"],
          platform: "linux/amd64",
          state: "complete",
          digests: [],
        },
      ]);
      expect(answer.images[0]!.layers).toMatchObject([
        { diffId: base.diffId, digest: null, unpacked: base.tar.length },
        { diffId: top.diffId, digest: null, unpacked: top.tar.length },
      ]);
      const space = await ask("df", [path]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      expect(Object.keys(headings(space)).sort()).toEqual(["images", "metadata"]);
      // Two diffIDs and the config, whose name is its digest.
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 3, unverifiable: 0 } });
    }));

  test("no name, and a null list of tags", () =>
    archive(legacy(FOLDERS, PATHS, null), async (path) => {
      expect((await ask("images", [path])).images).toMatchObject([{ names: [], dangling: true }]);
    }));

  test("names are shown as Docker shows them", () =>
    archive(legacy(FOLDERS, PATHS, ["docker.io/library/app:1", "docker.io/team/app:1"]), async (path) => {
      expect((await ask("images", [path])).images[0]!.names).toEqual(["app:1", "team/app:1"]);
    }));

  test("a link to another folder's layer, before what it leads to", () => {
    const twice = imageOf([base, top, base]);
    const name = `${twice.config.digest.slice(7)}.json`;
    const items: Item[] = [
      { name: `${ID3}/layer.tar`, type: "symlink", linkname: `../${ID1}/layer.tar` },
      ...FOLDERS,
      { name, content: twice.config.bytes },
      {
        name: "manifest.json",
        content: JSON.stringify([
          { Config: name, RepoTags: ["a:1"], Layers: [...PATHS, `${ID3}/layer.tar`] },
        ]),
      },
    ];
    return archive(items, async (path, bytes) => {
      const answer = await ask("images", [path]);
      expect(answer.images).toMatchObject([
        { state: "complete", size: { apparent: 2 * base.tar.length + top.tar.length } },
      ]);
      expect(answer.images[0]!.layers).toHaveLength(3);
      expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 3 } });
    });
  });

  test("a hard link to another folder's layer", () => {
    const items: Item[] = [
      ...layerFolder(ID1, base.tar),
      { name: `${ID2}/layer.tar`, type: "link", linkname: `${ID1}/layer.tar` },
    ];
    const twice = imageOf([base, base]);
    const name = `${twice.config.digest.slice(7)}.json`;
    const manifest = JSON.stringify([{ Config: name, RepoTags: ["a:1"], Layers: PATHS }]);
    return archive(
      [...items, { name, content: twice.config.bytes }, { name: "manifest.json", content: manifest }],
      async (path, bytes) => {
        expect((await ask("images", [path])).images).toMatchObject([{ state: "complete" }]);
        expect(await ask("df", [path])).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
        expect((await ask("verify", [path])).code).toBe(0);
      },
    );
  });

  test.each([
    ["in a circle", `../${ID2}/layer.tar`],
    ["to nothing", "../nothing"],
    ["out of the archive", "../../../../etc/passwd"],
    ["to the host", "/etc/passwd"],
    ["to a folder", `../${ID1}`],
  ])("a link %s: missing", (_, linkname) =>
    archive(
      legacy([...layerFolder(ID1, base.tar), { name: `${ID2}/layer.tar`, type: "symlink", linkname }], PATHS),
      async (path, bytes) => {
        expect((await ask("images", [path])).images).toMatchObject([{ state: "damaged" }]);
        const answer = await ask("verify", [path]);
        expect(answer).toMatchObject({ code: 1, summary: { missing: 1 } });
        expect(answer.checked.find((check) => check.verdict === "missing")!.id).toBe(`${ID2}/layer.tar`);
        expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
      },
    ),
  );

  test.each(["../outside.json", "a/../../b", ""])("a config at %j: that entry unreadable", (place) => {
    const content = JSON.stringify([
      { Config: place, RepoTags: ["bad:1"], Layers: [] },
      { Config: configName, RepoTags: ["app:1"], Layers: PATHS },
    ]);
    const items = legacy(FOLDERS, PATHS).map((item) =>
      item.name === "manifest.json" ? { ...item, content } : item,
    );
    return archive(items, async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.code).toBe(4);
      expect(answer.images.map((one) => one.names)).toEqual([["app:1"]]);
    });
  });

  test("compressed layers under the old names", () => {
    const items = legacy([...layerFolder(ID1, gzipSync(base.tar)), ...layerFolder(ID2, top.tar, ID1)], PATHS);
    return archive(items, async (path) => {
      const { images } = await ask("images", [path]);
      expect(images[0]!.layers.map((layer) => layer.unpacked)).toEqual([null, top.tar.length]);
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 3 } });
    });
  });

  test("a layer that no image has, and a stranger", () =>
    archive(
      [...legacy(FOLDERS, PATHS), ...layerFolder(ID3, base.tar), { name: "notes.txt", content: "hi" }],
      async (path, bytes) => {
        const space = await ask("df", [path]);
        expect(headings(space)).toMatchObject({ orphans: 512 + base.tar.length, other: 1024 });
        expect(space.total.allocated).toBe(bytes.length);
      },
    ));
});

describe("before manifest.json", () => {
  const repositories = (tags: unknown): Item => ({ name: "repositories", content: JSON.stringify(tags) });

  test("chains by parent; heads without a name too", () =>
    archive(
      [...FOLDERS, ...layerFolder(ID3, top.tar, ID1), repositories({ app: { 1: ID2, latest: ID2 } })],
      async (path, bytes) => {
        const answer = await ask("images", [path]);
        expect(answer).toMatchObject({ code: 0, warnings: [] });
        const images = byName(answer);
        expect(images["app:1"]).toMatchObject({
          id: ID2,
          names: ["app:1", "app:latest"],
          size: { apparent: base.tar.length + top.tar.length },
        });
        expect(images[ID3]).toMatchObject({ dangling: true, shared: { apparent: base.tar.length } });
        expect(images["app:1"]!.layers).toMatchObject([
          { diffId: null, chainId: null, unpacked: base.tar.length },
          { diffId: null, unpacked: top.tar.length },
        ]);
        expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
        const verified = await ask("verify", [path]);
        expect(verified).toMatchObject({ code: 0, summary: { ok: 0, unverifiable: 3 } });
      },
    ));

  test("a tag on a layer in the middle", () =>
    archive([...FOLDERS, repositories({ app: { base: ID1, 1: ID2 } })], async (path) => {
      const images = byName(await ask("images", [path]));
      expect(images["app:base"]).toMatchObject({ id: ID1, exclusive: { apparent: 0 } });
      expect(images["app:base"]!.layers).toHaveLength(1);
      expect(images["app:1"]!.layers).toHaveLength(2);
      // The records of the layer's folder go with it.
      const [, ...records] = layerFolder(ID2, top.tar, ID1)
        .map((item) => item.content?.length ?? 0)
        .sort((a, b) => b - a);
      expect(images["app:1"]!.exclusive.apparent).toBe(
        records.reduce((sum, length) => sum + length, top.tar.length),
      );
    }));

  test("parents that go round, parents and tops that are not there", () =>
    archive(
      [
        ...layerFolder(ID1, base.tar, ID2),
        ...layerFolder(ID2, top.tar, ID1),
        ...layerFolder(ID3, top.tar, hex("gone")),
        repositories({ app: { 1: ID2, 2: ID3, 3: hex("nothing") } }),
      ],
      async (path) => {
        const answer = await ask("images", [path]);
        expect(answer.code).toBe(4);
        expect(answer.warnings.map((warning) => warning.code)).toEqual([
          "parent-circle",
          "missing",
          "missing",
        ]);
        const states = Object.fromEntries(answer.images.map((one) => [one.names[0], one.state]));
        expect(states).toEqual({ "app:1": "complete", "app:2": "damaged", "app:3": "damaged" });
        expect((await ask("verify", [path])).code).toBe(1);
      },
    ));

  test("repositories that is no JSON: layers stay, exit 4", () =>
    archive([...FOLDERS, { name: "repositories", content: "{" }], async (path) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 4, images: [{ id: ID2, names: [] }] });
    }));
});

test("an archive of something else is not taken for one", () =>
  withTemp(async (folder) => {
    const { writeFile } = await import("node:fs/promises");
    const { run } = await import("../helpers/run-cli.ts");
    const path = join(folder, "source.tar");
    await writeFile(path, await packTar([{ name: "manifest.json", content: "{}" }]));
    const { code, stderr } = await run(["df", path]);
    expect(code).toBe(3);
    expect(stderr).toContain("not one of images");
  }));
