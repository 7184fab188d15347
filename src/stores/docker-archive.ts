/**
 * What `docker save`, `podman save`, `skopeo copy docker-archive:` and `ctr images export` write, in all its
 * generations: manifest.json with layer folders or plain files; the same beside an OCI layout (Docker 25 and later,
 * containerd); and, before Docker 1.10, `repositories` with v1 layer folders alone.
 *
 * Follows moby daemon/internal/image/tarexport/{save,load}.go and containerd core/images/archive/exporter.go.
 */
import { type BytePath, bytePathFromText, displayPath, joinPath } from "../byte-path.ts";
import { readAll } from "../bytes/source.ts";
import { type Digest, digestOf, parseDigest } from "../digest.ts";
import { FormatError } from "../errors.ts";
import {
  parseRepositories,
  parseSavedImage,
  parseV1Layer,
  type SavedImage,
} from "../formats/docker-archive.ts";
import { asArray, parseJson } from "../formats/json.ts";
import type { ReadOnlyTree, TreeEntry } from "../trees/tree.ts";
import {
  type BlobReference,
  type FileClass,
  type ImageDraft,
  ImageGraph,
  layoutDigest,
  layoutPath,
} from "./image-graph.ts";
import { classifyLayoutFile, readIndex } from "./oci-layout.ts";
import type { StoreKind } from "./store.ts";

const MANIFEST = "manifest.json" as BytePath;
const REPOSITORIES = "repositories" as BytePath;
const INDEX = "index.json" as BytePath;

export const dockerArchive: StoreKind = {
  kind: "docker-archive",
  async detect(tree) {
    const manifest = await tree.lstat(MANIFEST);
    if (manifest?.type === "file" && (await startsWith(tree, MANIFEST, "[")))
      return { saw: "manifest.json with a list" };
    if ((await tree.lstat(REPOSITORIES))?.type === "file" && manifest === null)
      return { saw: "repositories" };
    return null;
  },
  async read(tree, warn) {
    const images = new ImageGraph(tree, warn);
    const hybrid = (await tree.lstat(INDEX))?.type === "file";
    const drafts = hybrid ? (await readIndex(images)).drafts : [];
    if (await tree.lstat(MANIFEST)) await readManifest(images, drafts);
    else await readV1(images, drafts);
    for (const draft of drafts) images.image(draft);
    const graph = await images.finish((entry) => classify(tree, entry, hybrid));
    return { graph, kind: "docker-archive", engine: null };
  },
};

async function startsWith(tree: ReadOnlyTree, path: BytePath, char: string): Promise<boolean> {
  try {
    const source = await tree.open(path);
    const head = await source.read(0, Math.min(64, source.byteLength));
    await source.close();
    return Buffer.from(head).toString("latin1").trimStart().startsWith(char);
  } catch {
    return false;
  }
}

/** Adds the images of manifest.json to those of index.json: either may list some that the other does not. */
async function readManifest(images: ImageGraph, drafts: ImageDraft[]): Promise<void> {
  try {
    const found = await images.document(MANIFEST);
    const entries = asArray(found?.json, "manifest.json");
    const byConfig = new Map<BytePath | null, ImageDraft>();
    for (const draft of drafts) {
      for (const { configDigest } of draft.platforms)
        if (configDigest) byConfig.set(layoutPath(configDigest), draft);
    }
    for (const [i, value] of entries.entries()) {
      try {
        const saved = parseSavedImage(value, `manifest.json[${i}]`);
        const path = pathIn(saved.config);
        const draft = byConfig.get(path) ?? (await draftOf(images, saved, path));
        for (const name of saved.repoTags) draft.names.add(name);
        if (byConfig.has(path)) continue;
        byConfig.set(path, draft);
        drafts.push(draft);
      } catch (error) {
        images.cannotRead(MANIFEST, error);
      }
    }
  } catch (error) {
    images.cannotRead(MANIFEST, error);
  }
}

function pathIn(text: string): BytePath {
  const path = bytePathFromText(text);
  if (path === null || path === "")
    throw new FormatError("docker-archive", `a path that leads out of the archive: ${text}`);
  return path;
}

async function draftOf(images: ImageGraph, saved: SavedImage, configPath: BytePath): Promise<ImageDraft> {
  const platform = await images.platform({
    manifest: null,
    config: { path: configPath, role: "config", digest: digestInName(configPath), expectedLength: null },
    layers: saved.layers.map((text) => {
      const path = pathIn(text);
      return { ...layerReference(path), foreign: false };
    }),
    platform: null,
  });
  const needs = new Set<number>();
  if (platform.config !== null) needs.add(platform.config);
  if (platform.top !== null) needs.add(platform.top);
  return {
    names: new Set(),
    digests: new Set(),
    targetId: platform.configDigest ?? displayPath(configPath),
    platforms: [platform],
    needs,
    absent: [],
    because: "listed in manifest.json without a name",
  };
}

/** `<hex>.json` and `<hex>.tar` are named by the SHA-256 of their bytes; a v1 layer folder's name is no digest. */
function digestInName(path: BytePath): Digest | null {
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json|\.tar)?$/.exec(path)?.[1];
  return layoutDigest(path) ?? (hex ? digestOf("sha256", hex) : null);
}

function layerReference(path: BytePath): BlobReference {
  return { path, role: "layer", digest: digestInName(path), expectedLength: null };
}

/** Archives without manifest.json: layer folders whose `json` names the parent, tagged by `repositories`. */
async function readV1(images: ImageGraph, drafts: ImageDraft[]): Promise<void> {
  const names = new Map<string, Set<string>>();
  try {
    const found = await images.document(REPOSITORIES);
    for (const { name, id } of found ? parseRepositories(found.json) : []) {
      names.set(id, (names.get(id) ?? new Set()).add(name));
    }
  } catch (error) {
    images.cannotRead(REPOSITORIES, error);
  }
  const layers = await readV1Layers(images);
  const parents = new Set([...layers.values()].map((layer) => layer.parent));
  const heads = [...layers.keys()].filter((id) => names.has(id) || !parents.has(id));
  for (const id of new Set([...names.keys(), ...heads])) {
    drafts.push(await v1Draft(images, id, chainOf(images, layers, id), names.get(id) ?? new Set()));
  }
}

type V1Layers = ReadonlyMap<string, { readonly parent: string | null }>;

async function readV1Layers(images: ImageGraph): Promise<V1Layers> {
  const layers = new Map<string, { parent: string | null }>();
  for await (const entry of images.tree.walk()) {
    const id = /^([0-9a-f]{64})\/json$/.exec(entry.path)?.[1];
    if (id === undefined) continue;
    try {
      const found = await images.document(entry.path);
      layers.set(id, { parent: parseV1Layer(found?.json ?? null, displayPath(entry.path)).parent });
    } catch (error) {
      images.cannotRead(entry.path, error);
    }
  }
  return layers;
}

/** Layer IDs base first; ends where a parent is absent or comes again. */
function chainOf(images: ImageGraph, layers: V1Layers, top: string): string[] {
  const chain: string[] = [];
  const seen = new Set<string>();
  for (let id: string | null = top; id !== null; id = layers.get(id)?.parent ?? null) {
    if (seen.has(id)) {
      images.remark("parent-circle", `${id}/json`, "its parents go round in a circle");
      break;
    }
    seen.add(id);
    chain.unshift(id);
  }
  return chain;
}

async function v1Draft(
  images: ImageGraph,
  id: string,
  chain: readonly string[],
  names: Set<string>,
): Promise<ImageDraft> {
  const platform = await images.platform({
    manifest: null,
    config: null,
    layers: chain.map((layer) => ({ ...layerReference(joinPath(layer, "layer.tar")), foreign: false })),
    platform: null,
  });
  return {
    names,
    digests: new Set(),
    targetId: parseDigest(id) ?? id,
    platforms: [platform],
    needs: new Set(platform.top === null ? [] : [platform.top]),
    absent: [],
    because: "the top of a chain of layers, without a name",
  };
}

async function classify(tree: ReadOnlyTree, entry: TreeEntry, hybrid: boolean): Promise<FileClass> {
  if (entry.path === MANIFEST || entry.path === REPOSITORIES) {
    return { heading: "metadata", what: "manifest.json and repositories" };
  }
  if (/^[0-9a-f]{64}\/(json|VERSION)$/.test(entry.path)) return V1_RECORDS;
  if (entry.type === "symlink") return { heading: "metadata", what: "links to layers" };
  if (/(^|\/)layer\.tar$|^[0-9a-f]{64}\.(tar|json)$/.test(entry.path)) {
    return { heading: "orphans", what: "layers", digest: digestInName(entry.path) };
  }
  if (hybrid && layoutDigest(entry.path) && (await isV1Record(tree, entry))) return V1_RECORDS;
  return classifyLayoutFile(entry);
}

const V1_RECORDS: FileClass = { heading: "metadata", what: "v1 records of layers, written by design" };

/** Docker 25 and later writes a v1 record of each layer among the blobs, and no manifest points at it (saveConfig). */
async function isV1Record(tree: ReadOnlyTree, entry: TreeEntry): Promise<boolean> {
  if (entry.type !== "file" || entry.size > 1 << 20) return false;
  try {
    const source = await tree.open(entry.path);
    const json = parseJson(await readAll(source, 1 << 20), source.label);
    await source.close();
    const { object } = parseV1Layer(json, source.label);
    return (
      typeof object === "object" &&
      object !== null &&
      /^[0-9a-f]{64}$/.test(String((object as { id?: unknown }).id))
    );
  } catch {
    return false;
  }
}
