/** Folders of which some may not be read: what is not seen is unknown, neither missing nor an orphan. */
import { expect, test } from "vitest";
import type { BytePath } from "../../src/byte-path.ts";
import type { StoreGraph } from "../../src/graph/graph.ts";
import type { Warning } from "../../src/run.ts";
import { ociLayout as reader } from "../../src/stores/oci-layout.ts";
import { skopeoDir as skopeoReader } from "../../src/stores/skopeo-dir.ts";
import { HostTree } from "../../src/trees/host.ts";
import type { ReadOnlyTree, TreeEntry } from "../../src/trees/tree.ts";
import {
  blobPath,
  blobsOf,
  digestBytes,
  filler,
  imageOf,
  layerOf,
  ociLayout,
  withTemp,
  writeFolder,
} from "../helpers/image-builder.ts";
import { reading } from "../helpers/reading.ts";

const base = await layerOf({ "etc/base": filler(900, "base") }, { packing: "gzip" });
const app = imageOf([base]);
const LAYOUT = ociLayout([{ target: app.manifest, name: "app" }], blobsOf(app));
const STRAY = blobPath(digestBytes(Buffer.from("stray")));

/** A host tree as someone sees it who may not read `closed` (tests may run as root, who may read all). */
function forbidding(tree: HostTree, closed: string): ReadOnlyTree {
  const isClosed = (path: string): boolean => path === closed || path.startsWith(`${closed}/`);
  let incomplete: string | null = null;
  return {
    label: tree.label,
    holder: "filesystem",
    overhead: [],
    get incomplete() {
      return incomplete;
    },
    async lstat(path) {
      if (!isClosed(path)) return tree.lstat(path);
      incomplete = `${closed} could not be read`;
      return null;
    },
    async *walk(): AsyncGenerator<TreeEntry> {
      for await (const entry of tree.walk()) if (!isClosed(entry.path)) yield entry;
      incomplete = `${closed} could not be read`;
    },
    open: (path: BytePath) => tree.open(path),
    facts: () => null,
    close: async () => undefined,
  };
}

async function read(
  extra: readonly { name: string; content: string }[],
  closed: string,
): Promise<{ graph: StoreGraph; warnings: Omit<Warning, "source">[] }> {
  return withTemp(async (folder) => {
    await writeFolder(folder, [...LAYOUT, ...extra]);
    const warnings: Omit<Warning, "source">[] = [];
    const warn = (warning: Omit<Warning, "source">): void => void warnings.push(warning);
    const { graph } = await reader.read(
      forbidding(new HostTree("test", folder, warn), closed),
      reading(warn),
    );
    return { graph, warnings };
  });
}

function headingsOf(graph: StoreGraph): Record<string, string> {
  return Object.fromEntries(
    graph.nodes.flatMap((node) => (node.kind === "blob" ? [[node.path, node.heading]] : [])),
  );
}

test("a blob that nothing refers to is an orphan when all could be read", async () => {
  const { graph } = await read([{ name: STRAY, content: "stray" }], "nothing");
  expect(headingsOf(graph)[STRAY]).toBe("other"); // "nothing" was closed: known after the walk only
  const open = await withTemp(async (folder) => {
    await writeFolder(folder, [...LAYOUT, { name: STRAY, content: "stray" }]);
    return reader.read(
      new HostTree("test", folder, () => undefined),
      reading(() => undefined),
    );
  });
  expect(headingsOf(open.graph)[STRAY]).toBe("orphans");
});

test("a folder that is met closed late in the walk takes back the word orphan", async () => {
  const { graph } = await read(
    [
      { name: STRAY, content: "stray" },
      { name: "zzz/index.json", content: "{}" },
    ],
    "zzz",
  );
  expect(headingsOf(graph)[STRAY]).toBe("other");
  expect(graph.roots.some((root) => root.because === "may be needed: zzz could not be read")).toBe(true);
});

test("a layer that may not be looked at is unreadable, and the image is not damaged for that", async () => {
  const { graph } = await read([], blobPath(base.digest));
  const image = graph.nodes.find((node) => node.kind === "image")!;
  expect(image).toMatchObject({
    state: "partial",
    absent: [{ what: "layer", digest: base.digest, verdict: "unreadable" }],
  });
});

test("a file named version that may not be read is nobody's", () =>
  withTemp(async (folder) => {
    await writeFolder(folder, [{ name: "version", content: "1" }]);
    const tree = new HostTree("test", folder, () => undefined);
    const closed: ReadOnlyTree = forbidding(tree, "none");
    const failing = { ...closed, open: () => Promise.reject(new Error("EACCES")) };
    expect(await skopeoReader.detect(failing)).toBeNull();
  }));
