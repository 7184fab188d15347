/**
 * A second opinion: what Docker, containerd, podman, skopeo and umoci themselves say of each fixture, recorded in
 * fixtures/ORACLE.json when it was made.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unpackLayer } from "../../src/formats/layer.ts";
import { familiarName } from "../../src/formats/oci.ts";
import { readTar } from "../../src/formats/tar.ts";
import { openSources } from "../../src/open.ts";
import { createPool } from "../../src/pool.ts";
import { type Run, Warnings } from "../../src/run.ts";
import type { Store } from "../../src/stores/store.ts";
import { NO_PROGRESS } from "../../src/views/progress.ts";
import { ask, type ImageJson } from "../helpers/run-cli.ts";

interface EngineImage {
  readonly id: string;
  readonly names: readonly string[] | null;
  readonly digest?: string;
  readonly created: string;
  readonly architecture: string;
  readonly os: string;
  readonly virtualSize: number;
  readonly diffIds: readonly string[];
}

interface Answers {
  readonly images?: readonly (EngineImage & { readonly name?: string })[];
  readonly content?: readonly { readonly digest: string }[];
  readonly systemDf?: {
    readonly layersSize: number;
    readonly images: readonly { readonly id: string; readonly size: number; readonly sharedSize: number }[];
  };
  readonly reads?: boolean;
  readonly digest?: string;
  readonly created?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly layers?: readonly string[];
  readonly diffIds?: readonly string[];
  readonly tags?: readonly string[];
  readonly gcRemoves?: readonly string[];
}

const FIXTURES = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const ORACLE = `${FIXTURES}ORACLE.json`;
const cases: Record<string, Record<string, Answers>> = existsSync(ORACLE)
  ? (JSON.parse(readFileSync(ORACLE, "utf8")) as { cases: Record<string, Record<string, Answers>> }).cases
  : {};

function inputOf(name: string): string {
  const file = readdirSync(`${FIXTURES}${name}`).find((one) => /^input(\.|$)/.test(one))!;
  return `${FIXTURES}${name}/${file}`;
}

/** Docker counts bytes of files in the layers, not of tars, and the targets of symbolic links as theirs. */
async function contentOf(store: Store, images: readonly ImageJson[]): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  const blobs = new Map<string, number>();
  for (const [, node] of store.graph.nodes.entries()) {
    if (node.kind === "layer" && node.blob !== null && node.diffId) blobs.set(node.diffId, node.blob);
  }
  for (const diffId of new Set(images.flatMap((image) => image.layers.map((layer) => layer.diffId!)))) {
    const source = await store.open(blobs.get(diffId)!);
    let size = 0;
    for await (const { entry } of readTar(unpackLayer(source.stream(), diffId)))
      size += entry.type === "symlink" ? entry.linkName.length : entry.realSize;
    await source.close();
    sizes.set(diffId, size);
  }
  return sizes;
}

async function opened<Result>(path: string, use: (store: Store) => Promise<Result>): Promise<Result> {
  const signal = new AbortController().signal;
  const pool = createPool(signal, 0);
  const run: Run = { signal, pool, progress: NO_PROGRESS, now: new Date(0), warnings: new Warnings() };
  const options = { need: "content" as const, as: null, at: null, tmp: null, stdin: process.stdin };
  const [store] = await openSources([path], options, run);
  try {
    return await use(store!);
  } finally {
    await store!.close();
    await pool.close();
  }
}

const total = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

describe.each(Object.entries(cases))("%s", (name, engines) => {
  const path = inputOf(name);
  const docker = engines.docker?.images;
  const known = docker?.filter((image) => !name.endsWith("no-manifest") || image.names?.length);

  test("is complete, and every digest right", async () => {
    const { images } = await ask("images", [path]);
    const partial = name === "docker-archive/containerd-platforms";
    for (const image of images) expect(image.state).toBe(partial ? "partial" : "complete");
    const verified = await ask("verify", [path, "--workers", "1"]);
    expect(verified.checked.filter((check) => check.verdict === "corrupt")).toEqual([]);
    expect(verified.code).toBe(0);
    expect(verified.summary).toMatchObject({
      corrupt: 0,
      truncated: 0,
      missing: 0,
      unreadable: 0,
      drifted: 0,
    });
  });

  if (known && !name.endsWith("no-manifest")) {
    test("Docker shows the same IDs, names, dates, platforms and diffIDs", async () => {
      const { images } = await ask("images", [path]);
      const ours = images.map((image) => ({
        id: image.id,
        names: [...image.names].sort(),
        created: Date.parse(image.created!),
        platform: image.platform,
        diffIds: image.layers.map((layer) => layer.diffId),
      }));
      const theirs = known.map((image) => ({
        id: image.id,
        names: [...(image.names ?? [])].sort(),
        created: Date.parse(image.created),
        platform: `${image.os}/${image.architecture}`,
        diffIds: image.diffIds,
      }));
      const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);
      expect(ours.sort(byId)).toEqual(theirs.sort(byId));
    });

    test("Docker's sizes follow from the layers, and its shared sizes from the chainIDs", async () => {
      const { images } = await ask("images", [path]);
      const content = await opened(path, (store) => contentOf(store, images));
      const users = new Map<string, number>();
      for (const image of images) {
        for (const chain of new Set(image.layers.map((layer) => layer.chainId!)))
          users.set(chain, (users.get(chain) ?? 0) + 1);
      }
      const sizeOf = (image: ImageJson, counts: (chain: string) => boolean): number =>
        total(
          image.layers.filter((layer) => counts(layer.chainId!)).map((layer) => content.get(layer.diffId!)!),
        );
      for (const theirs of known) {
        const ours = images.find((image) => image.id === theirs.id)!;
        expect(sizeOf(ours, () => true)).toBe(theirs.virtualSize);
      }
      const chains = new Map(
        images.flatMap((image) => image.layers.map((layer) => [layer.chainId!, content.get(layer.diffId!)!])),
      );
      const df = engines.docker!.systemDf!;
      expect(total([...chains.values()])).toBe(df.layersSize);
      for (const { id, size, sharedSize } of df.images) {
        const ours = images.find((image) => image.id === id);
        if (!ours) continue;
        expect(size).toBe(sizeOf(ours, () => true));
        expect(sharedSize).toBe(sizeOf(ours, (chain) => users.get(chain)! > 1));
      }
    });
  }

  if (known && name.endsWith("no-manifest")) {
    test("Docker makes configs of its own on loading: names, dates and platforms agree", async () => {
      const { images } = await ask("images", [path]);
      expect(images.map((image) => [image.names, image.created, image.platform])).toEqual(
        known.map((image) => [image.names, image.created, `${image.os}/${image.architecture}`]),
      );
    });
  }

  const podman = engines.podman?.images;
  if (podman) {
    test("podman shows the same IDs and diffIDs, and names with its own registry in front", async () => {
      const { images } = await ask("images", [path]);
      for (const theirs of podman) {
        const ours = images.find((image) => image.id === theirs.id)!;
        expect(ours.layers.map((layer) => layer.diffId)).toEqual(theirs.diffIds);
        const names = (theirs.names ?? []).map((one) => familiarName(one.replace(/^localhost\//, "")));
        expect([...ours.names].sort()).toEqual(names.sort());
        expect(Date.parse(ours.created!)).toBe(Date.parse(theirs.created));
      }
    });
  }

  const containerd = engines.containerd;
  if (containerd) {
    test("containerd has the same targets, names and blobs", async () => {
      const { images } = await ask("images", [path]);
      const theirs = containerd.images!.map((image) => [familiarName(image.name!), image.digest]);
      const ours = images.flatMap((image) => image.names.map((one) => [one, image.digests[0]]));
      expect(ours.sort()).toEqual(theirs.sort());
      const blobs = await opened(path, async (store) =>
        store.graph.nodes.flatMap((node) => (node.kind === "blob" ? [node.digest] : [])),
      );
      // Its content store may hold more than was exported.
      const theirBlobs = containerd.content!.map((blob) => blob.digest);
      expect(blobs.filter((blob) => !theirBlobs.includes(blob!))).toEqual([]);
    });
  }

  for (const [engine, theirs] of Object.entries(engines)) {
    if (!engine.startsWith("skopeo") || !theirs.reads) continue;
    test(`${engine} reads the same manifest, layers and config`, async () => {
      const { images } = await ask("images", [path]);
      const tag = engine.slice("skopeo ".length);
      const isPlatform = /^\w+\/\w+$/.test(tag) && tag.startsWith("linux/");
      const ours =
        images.length === 1
          ? images[0]!
          : images.find((image) => image.names.some((one) => one.endsWith(tag)))!;
      const layers = ours.layers.filter((layer) => theirs.layers!.includes(layer.digest ?? layer.diffId!));
      expect(layers.map((layer) => layer.diffId)).toEqual(theirs.diffIds);
      expect(ours.digests).toEqual([theirs.digest]);
      expect(ours.platform!.split(", ")).toContain(`${theirs.os}/${theirs.architecture}`);
      if (!isPlatform) expect(Date.parse(ours.created!)).toBe(Date.parse(theirs.created!));
    });
  }

  const { umoci } = engines;
  if (umoci) {
    test("umoci lists the same tags and collects the blobs that are orphans here", async () => {
      const { images } = await ask("images", [path]);
      expect(images.flatMap((image) => image.names).sort()).toEqual([...umoci.tags!].sort());
      const { entries } = await ask("df", [path, "-v"]);
      const orphans = (entries ?? []).filter((entry) => entry.category === "orphans");
      const digests = orphans.map((entry) => entry.path.replace(/^blobs\/sha256\//, "sha256:"));
      expect(digests.sort()).toEqual([...umoci.gcRemoves!].sort());
    });
  }
});

test("every fixture has its facts", () => {
  const kinds = ["docker-archive", "oci-archive", "oci-layout", "skopeo-dir"];
  const found = kinds.flatMap((kind) =>
    readdirSync(`${FIXTURES}${kind}`, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [`${kind}/${entry.name}`] : [],
    ),
  );
  expect(found.sort()).toEqual(Object.keys(cases).sort());
});
