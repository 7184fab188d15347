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
  type V1Layer,
} from "../formats/docker-archive.ts";
import { asArray, type Json, parseJson } from "../formats/json.ts";
import { familiarName, type Manifest, parseManifest } from "../formats/oci.ts";
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
  async read(tree, { warn }) {
    const images = new ImageGraph(tree, warn);
    const hybrid = (await tree.lstat(INDEX))?.type === "file";
    const saved = (await tree.lstat(MANIFEST)) ? await readManifest(images) : null;
    const drafts = hybrid ? (await readIndex(images, toldLayers(saved ?? []))).drafts : [];
    if (saved) await addSaved(images, drafts, saved);
    else await readV1(images, drafts);
    if (hybrid) await adoptManifests(images, drafts);
    for (const draft of drafts) images.image(draft);
    const graph = await images.finish((entry) => classify(tree, entry, hybrid));
    return { graph, kind: "docker-archive", engine: null };
  },
};

async function startsWith(tree: ReadOnlyTree, path: BytePath, char: string): Promise<boolean> {
  try {
    const source = await tree.open(path);
    try {
      const head = await source.read(0, Math.min(64, source.byteLength));
      return Buffer.from(head).toString("latin1").trimStart().startsWith(char);
    } finally {
      await source.close();
    }
  } catch {
    return false;
  }
}

/** The entries of manifest.json that can be read. */
async function readManifest(images: ImageGraph): Promise<SavedImage[]> {
  const saved: SavedImage[] = [];
  try {
    const found = await images.document(MANIFEST);
    for (const [i, value] of asArray(found?.json, "manifest.json").entries()) {
      try {
        saved.push(parseSavedImage(value, `manifest.json[${i}]`));
      } catch (error) {
        images.cannotRead(MANIFEST, error);
      }
    }
  } catch (error) {
    images.cannotRead(MANIFEST, error);
  }
  return saved;
}

/**
 * Layers by config where manifest.json knows better than the OCI manifest beside it. Docker 25.0.0 lists layers there
 * in any order (moby issue 47150), and for Windows it names the registry's blob instead of the file that is there.
 */
function toldLayers(saved: readonly SavedImage[]): ReadonlyMap<Digest, readonly BlobReference[]> {
  const told = new Map<Digest, readonly BlobReference[]>();
  for (const { config, layers, hasSources } of saved) {
    const configPath = hasSources ? bytePathFromText(config) : null;
    const digest = configPath && layoutDigest(configPath);
    const paths = layers.map(bytePathFromText);
    if (digest && paths.every((path) => path !== null)) told.set(digest, paths.map(layerReference));
  }
  return told;
}

/** Adds the images of manifest.json to those of index.json: either may list some that the other does not. */
async function addSaved(
  images: ImageGraph,
  drafts: ImageDraft[],
  saved: readonly SavedImage[],
): Promise<void> {
  const byConfig = new Map<BytePath | null, ImageDraft>();
  const references = new Map<string, LayerReference>();
  const named = new Map<string, ImageDraft>();
  for (const draft of drafts) {
    for (const { configDigest } of draft.platforms)
      if (configDigest) byConfig.set(layoutPath(configDigest), draft);
    for (const name of draft.names) named.set(name, draft);
  }
  for (const one of saved) {
    try {
      const path = pathIn(one.config);
      const names = one.repoTags.map(familiarName);
      let draft = byConfig.get(path);
      if (!draft) {
        const made = await draftOf(images, one, path, references);
        draft = completed(names, named, made) ?? made;
        if (draft === made) drafts.push(draft);
        byConfig.set(path, draft);
      }
      // One config may be that of several manifests, and index.json says which of them a name means.
      for (const name of names) if (!named.has(name)) draft.names.add(name);
    } catch (error) {
      images.cannotRead(MANIFEST, error);
    }
  }
}

/** The image of index.json of which nothing but a name is known, because its manifest is not there. */
function completed(
  names: readonly string[],
  named: ReadonlyMap<string, ImageDraft>,
  made: ImageDraft,
): ImageDraft | null {
  const known = names.map((name) => named.get(name)).find((draft) => draft?.platforms.length === 0);
  if (!known || known.needs.size > 0) return null;
  known.platforms.push(...made.platforms);
  for (const node of made.needs) known.needs.add(node);
  return known;
}

/**
 * An image without a name that Docker saves along with named ones has its OCI manifest among the blobs, but not in
 * index.json (save.go lists it only while the list is empty): found by its config.
 */
async function adoptManifests(images: ImageGraph, drafts: readonly ImageDraft[]): Promise<void> {
  const byConfig = new Map<string, ImageDraft>();
  for (const draft of drafts) {
    const [only] = draft.platforms;
    if (only?.configDigest && only.manifest === null) byConfig.set(only.configDigest, draft);
  }
  if (byConfig.size === 0) return;
  for await (const entry of images.tree.walk()) {
    const digest = layoutDigest(entry.path);
    if (!digest || entry.type !== "file" || entry.size > RECORD_LIMIT || images.holds(entry.path)) continue;
    const manifest = await manifestAt(images.tree, entry.path);
    const draft = manifest && byConfig.get(manifest.config.digest);
    if (!draft) continue;
    const node = await images.blob({ path: entry.path, role: "manifest", digest, expectedLength: null });
    if (typeof node !== "number") continue;
    draft.needs.add(node);
    draft.digests.add(digest);
  }
}

/** Null where the file is no image manifest. */
async function manifestAt(tree: ReadOnlyTree, path: BytePath): Promise<Manifest | null> {
  try {
    const parsed = parseManifest(await jsonAt(tree, path), displayPath(path));
    return parsed.kind === "manifest" ? parsed : null;
  } catch {
    return null;
  }
}

async function jsonAt(tree: ReadOnlyTree, path: BytePath): Promise<Json> {
  const source = await tree.open(path);
  try {
    return parseJson(await readAll(source, RECORD_LIMIT), source.label);
  } finally {
    await source.close();
  }
}

function pathIn(text: string): BytePath {
  const path = bytePathFromText(text);
  if (path === null || path === "")
    throw new FormatError("docker-archive", `a path that leads out of the archive: ${text}`);
  return path;
}

type LayerReference = BlobReference & { readonly foreign: boolean };

/** `references`: of layers met before, by their path as written. */
async function draftOf(
  images: ImageGraph,
  saved: SavedImage,
  configPath: BytePath,
  references: Map<string, LayerReference>,
): Promise<ImageDraft> {
  const platform = await images.platform({
    manifest: null,
    config: { path: configPath, role: "config", digest: digestInName(configPath), expectedLength: null },
    layers: saved.layers.map((text) => {
      const reference = references.get(text) ?? layerReference(pathIn(text));
      references.set(text, reference);
      return reference;
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

function layerReference(path: BytePath): LayerReference {
  return { path, role: "layer", digest: digestInName(path), expectedLength: null, foreign: false };
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
    const draft = await v1Draft(images, id, chainOf(images, layers, id), names.get(id) ?? new Set());
    const { created = null, platform = null } = layers.get(id) ?? {};
    const parsed = { diffIds: [], created, platform, labels: {}, config: {} };
    const shown = draft.platforms.map((one) => ({ ...one, parsed, platform: platform ?? one.platform }));
    drafts.push({ ...draft, platforms: shown });
  }
}

type V1Layers = ReadonlyMap<string, V1Layer>;

async function readV1Layers(images: ImageGraph): Promise<V1Layers> {
  const layers = new Map<string, V1Layer>();
  for await (const entry of images.tree.walk()) {
    const id = /^([0-9a-f]{64})\/json$/.exec(entry.path)?.[1];
    if (id === undefined) continue;
    try {
      const found = await images.document(entry.path);
      layers.set(id, parseV1Layer(found?.json ?? null, displayPath(entry.path)));
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
    layers: chain.map((layer) => layerReference(joinPath(layer, "layer.tar"))),
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

/** A document among the blobs is looked for in files no larger than this. */
const RECORD_LIMIT = 1 << 20;

const V1_RECORDS: FileClass = { heading: "metadata", what: "v1 records of layers, written by design" };

/** Docker 25 and later writes a v1 record of each layer among the blobs, and no manifest points at it (saveConfig). */
async function isV1Record(tree: ReadOnlyTree, entry: TreeEntry): Promise<boolean> {
  if (entry.type !== "file" || entry.size > RECORD_LIMIT) return false;
  try {
    const { id } = parseV1Layer(await jsonAt(tree, entry.path), displayPath(entry.path));
    return id !== null && /^[0-9a-f]{64}$/.test(id);
  } catch {
    return false;
  }
}
