/**
 * An archive that breaks off before its index: Podman and skopeo write theirs last, so this is what a save leaves on
 * a full disk. Nothing names its images, but the blobs that are whole can be checked, and manifests among them tell
 * which layers belong together.
 */
import { displayPath } from "../byte-path.ts";
import { parseDigest } from "../digest.ts";
import { parseManifest } from "../formats/oci.ts";
import type { TreeEntry } from "../trees/tree.ts";
import { type FileClass, ImageGraph, layoutDigest, layoutPath } from "./image-graph.ts";
import { ManifestWalker } from "./oci-layout.ts";
import type { StoreKind } from "./store.ts";

export const fragment: StoreKind = {
  kind: "docker-archive",
  async detect(tree) {
    if (tree.holder !== "archive" || tree.incomplete === null) return null;
    for await (const entry of tree.walk()) if (isPart(entry)) return { saw: displayPath(entry.path) };
    return null;
  },
  async read(tree, { warn }) {
    const images = new ImageGraph(tree, warn);
    const walker = new ManifestWalker(images, layoutPath);
    let isOci = false;
    for await (const entry of tree.walk()) {
      const digest = layoutDigest(entry.path);
      isOci ||= digest !== null;
      if (!digest || !(await isManifest(images, entry))) continue;
      const draft = await walker.draft({ ...NOTHING_SAID, digest });
      images.image({ ...draft, because: "a manifest, in an archive that breaks off before its index" });
    }
    const graph = await images.finish(classify);
    return { graph, kind: isOci ? "oci-archive" : "docker-archive", engine: null };
  },
};

const NOTHING_SAID = {
  mediaType: "",
  size: null,
  annotations: {},
  platform: null,
  artifactType: null,
  embedded: false,
} as const;

const MANIFEST_LIMIT = 4 << 20; // as registries have it

/** The files that the archives of all engines are made of. */
function isPart({ path, type }: TreeEntry): boolean {
  return (
    type === "file" && (layoutDigest(path) !== null || /^[0-9a-f]{64}(\.tar|\.json|\/layer\.tar)$/.test(path))
  );
}

async function isManifest(images: ImageGraph, entry: TreeEntry): Promise<boolean> {
  if (entry.type !== "file" || entry.size > MANIFEST_LIMIT || entry.cutShort > 0) return false;
  if (entry.head && entry.head[0] !== 0x7b) return false; // "{"
  try {
    const found = await images.document(entry.path);
    return found !== null && parseManifest(found.json, "").kind === "manifest";
  } catch {
    return false; // something else, which its digest will judge
  }
}

async function classify(entry: TreeEntry): Promise<FileClass> {
  if (!isPart(entry)) return { heading: "metadata", what: "other files" };
  const hex = /^([0-9a-f]{64})\.(?:tar|json)$/.exec(entry.path)?.[1];
  const digest = layoutDigest(entry.path) ?? parseDigest(`sha256:${hex}`);
  return { heading: "orphans", what: "blobs", digest };
}
