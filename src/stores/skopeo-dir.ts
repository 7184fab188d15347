/**
 * Folders of `skopeo copy dir:` (containers/image directory/directory_transport.go, version 1.1): the manifest in
 * manifest.json, blobs named by the bare hex of their digest. The algorithm is lost: the length tells it.
 */
import { type BytePath, bytePathFromText } from "../byte-path.ts";
import { type Digest, digestOf, hexOf } from "../digest.ts";
import { FormatError } from "../errors.ts";
import { asObject, stringOrNull } from "../formats/json.ts";
import type { ReadOnlyTree, TreeEntry } from "../trees/tree.ts";
import { type FileClass, ImageGraph } from "./image-graph.ts";
import { ManifestWalker } from "./oci-layout.ts";
import type { StoreKind } from "./store.ts";

const VERSION = "version" as BytePath;
const MANIFEST = "manifest.json" as BytePath;

export const skopeoDir: StoreKind = {
  kind: "skopeo-dir",
  async detect(tree) {
    const version = await tree.lstat(VERSION);
    if (version?.type !== "file" || version.size > 256) return null;
    const text = await textAt(tree, VERSION);
    return text?.startsWith("Directory Transport Version:") ? { saw: text.trim() } : null;
  },
  async read(tree, { warn }) {
    const images = new ImageGraph(tree, warn);
    try {
      const found = await images.document(MANIFEST);
      if (!found) throw new FormatError("skopeo-dir", "there is no manifest.json: an unfinished copy");
      const mediaType = stringOrNull(asObject(found.json, "its top").mediaType) ?? "";
      const { digest } = found;
      // The top manifest alone is not stored under its digest; those of an index's platforms are `<hex>.manifest.json`.
      const platforms = new Set<string>();
      for await (const entry of tree.walk())
        if (entry.path.endsWith(".manifest.json")) platforms.add(entry.path);
      const locate = (wanted: Digest): BytePath | null => {
        if (wanted === digest) return MANIFEST;
        const own = `${hexOf(wanted)}.manifest.json`;
        return bytePathFromText(platforms.has(own) ? own : hexOf(wanted));
      };
      const walker = new ManifestWalker(images, locate);
      // Nothing records the digest of the top manifest: its own bytes would only prove themselves.
      const role = /index|list/.test(mediaType) ? "index" : "manifest";
      await images.blob({ path: MANIFEST, role, digest: null, expectedLength: null });
      const nothing = { annotations: {}, platform: null, artifactType: null, embedded: false };
      const root = { mediaType, digest, size: null, ...nothing };
      const draft = await walker.draft(root);
      images.image({ ...draft, because: "the manifest of the folder" });
    } catch (error) {
      images.cannotRead(MANIFEST, error);
    }
    return { graph: await images.finish(classify), kind: "skopeo-dir", engine: "skopeo" };
  },
};

/** Null where it cannot be read: many a folder has a file of that name. */
async function textAt(tree: ReadOnlyTree, path: BytePath): Promise<string | null> {
  try {
    const source = await tree.open(path);
    try {
      return Buffer.from(await source.read(0, source.byteLength)).toString("latin1");
    } finally {
      await source.close();
    }
  } catch {
    return null;
  }
}

async function classify(entry: TreeEntry): Promise<FileClass> {
  if (entry.path === VERSION) return { heading: "metadata", what: "version" };
  if (/^(?:[0-9a-f]+\.)?signature-\d+$/.test(entry.path)) return { heading: "metadata", what: "signatures" };
  const hex = /^([0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})(?:\.manifest\.json)?$/.exec(entry.path)?.[1];
  if (hex === undefined) return { heading: "other", what: "files that are no part of the format" };
  const algorithm = hex.length === 64 ? "sha256" : hex.length === 96 ? "sha384" : "sha512";
  return { heading: "orphans", what: "blobs", digest: digestOf(algorithm, hex) };
}
