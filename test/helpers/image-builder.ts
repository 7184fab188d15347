/**
 * Image archives and layouts in memory, after the source of the programs that write them, for what the engines at
 * hand are too old or too well-behaved to write:
 *
 * - `dockerHybrid`: moby daemon/internal/image/tarexport/save.go (29.0; image/tarexport/save.go in 25.0 to 28), the
 *   graph driver store's `docker save` since 25.0: an OCI layout with uncompressed layers, and manifest.json.
 * - `containerdExport`: containerd 2.0 core/images/archive/exporter.go (Export, WithSkipMissing, WithPlatform), with
 *   which Docker's containerd store saves too: blobs as stored, manifest.json of one platform.
 * - `eStargz`: stargz-snapshotter docs/estargz.md and estargz/build.go (v0.15): a gzip member a file, the table of
 *   contents as the last file, an empty member as the footer.
 * - attestations: BuildKit docs/attestations/attestation-storage.md (v0.12); artifacts and referrers: image-spec 1.1
 *   manifest.md.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { blake3 } from "@noble/hashes/blake3.js";
import { type Item, packTar } from "./tar-writer.ts";

export const TYPES = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  empty: "application/vnd.oci.empty.v1+json",
  foreign: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  inToto: "application/vnd.in-toto+json",
  schema1: "application/vnd.docker.distribution.manifest.v1+prettyjws",
} as const;

type Extras = Readonly<Record<string, unknown>>;

/** Stored bytes and what a descriptor says of them. */
export interface Blob {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
  /** Further fields of its descriptor, such as `platform` and `annotations`. */
  readonly extras: Extras;
}

export function blobOf(
  bytes: Uint8Array,
  mediaType: string,
  extras: Extras = {},
  algorithm = "sha256",
): Blob {
  return { bytes: Buffer.from(bytes), digest: digestBytes(bytes, algorithm), mediaType, extras };
}

/** `algorithm` may be one that nobody has: then the digest is made up. */
export function digestBytes(bytes: Uint8Array, algorithm = "sha256"): string {
  if (algorithm === "blake3") return `blake3:${Buffer.from(blake3(bytes)).toString("hex")}`;
  const known = ["sha256", "sha384", "sha512"].includes(algorithm);
  return `${algorithm}:${createHash(known ? algorithm : "sha256")
    .update(bytes)
    .digest("hex")}`;
}

export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1);
}

export function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

export function descriptorOf(blob: Blob, extras: Extras = {}): Extras {
  const { mediaType, digest, bytes } = blob;
  return { mediaType, digest, size: bytes.length, ...blob.extras, ...extras };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export interface Layer extends Blob {
  readonly tar: Buffer;
  readonly diffId: string;
}

export type Packing = "plain" | "gzip" | "zstd" | "estargz";

export interface LayerOptions {
  readonly packing?: Packing;
  readonly algorithm?: string;
  readonly mediaType?: string;
}

/** Text of a file's length that does not compress to nothing. */
export function filler(length: number, seed: string): string {
  let text = "";
  for (let i = 0; text.length < length; i++) text += digestBytes(Buffer.from(`${seed} ${i}`)).slice(7);
  return text.slice(0, length);
}

export async function layerOf(
  files: Readonly<Record<string, string>>,
  options: LayerOptions = {},
): Promise<Layer> {
  const { packing = "plain", algorithm = "sha256" } = options;
  const items = Object.entries(files).map(([name, content]) => ({ name, content }));
  const { tar, bytes } = packing === "estargz" ? await eStargz(items) : await packed(items, packing);
  const suffix = { plain: "", gzip: "+gzip", zstd: "+zstd", estargz: "+gzip" }[packing];
  const blob = blobOf(bytes, options.mediaType ?? `${TYPES.layer}${suffix}`, {}, algorithm);
  return { ...blob, tar, diffId: digestBytes(tar) };
}

async function packed(items: readonly Item[], packing: Packing): Promise<{ tar: Buffer; bytes: Buffer }> {
  const tar = await packTar(items);
  return { tar, bytes: packing === "gzip" ? gzipSync(tar) : packing === "zstd" ? zstdFrame(tar) : tar };
}

/** One zstd frame of raw blocks (RFC 8878, 3.1.1), since not every Node can compress. */
export function zstdFrame(plain: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(0xfd2fb528, 0);
  header[4] = 0xa0; // single segment, content size of four bytes, no checksum
  header.writeUInt32LE(plain.length, 5);
  const parts: Uint8Array[] = [header];
  for (let at = 0; at === 0 || at < plain.length; at += 131_072) {
    const block = plain.subarray(at, at + 131_072);
    const last = at + block.length === plain.length ? 1 : 0;
    const head = Buffer.alloc(3);
    head.writeUIntLE((block.length << 3) | last, 0, 3);
    parts.push(head, block);
  }
  return Buffer.concat(parts);
}

/** A gzip member for each file, the table of contents as the last one, and the footer that tells where that begins. */
async function eStargz(items: readonly Item[]): Promise<{ tar: Buffer; bytes: Buffer }> {
  const members: Buffer[] = [];
  for (const item of items) members.push((await packTar([item])).subarray(0, -1024));
  const entries = items.map(({ name }) => ({ name, type: "reg" }));
  members.push(
    await packTar([{ name: "stargz.index.json", content: JSON.stringify({ version: 1, entries }) }]),
  );
  const packedMembers = members.map((member) => gzipSync(member));
  const offset = packedMembers.slice(0, -1).reduce((sum, member) => sum + member.length, 0);
  return { tar: Buffer.concat(members), bytes: Buffer.concat([...packedMembers, stargzFooter(offset)]) };
}

/** 51 bytes: an empty gzip member without compression, whose extra field is "SG", 22, `%016xSTARGZ`. */
function stargzFooter(tocOffset: number): Buffer {
  const extra = Buffer.from(`SG\x16\x00${tocOffset.toString(16).padStart(16, "0")}STARGZ`, "latin1");
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff, extra.length, 0]),
    extra,
    Buffer.from([0x01, 0x00, 0x00, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
}

export interface ImageOptions {
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
  readonly created?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Fields of the manifest besides config and layers. */
  readonly manifest?: Extras;
  /** Of the digests of config and manifest. */
  readonly algorithm?: string;
}

export interface Image {
  readonly layers: readonly Layer[];
  readonly config: Blob;
  readonly manifest: Blob;
}

export function imageOf(layers: readonly Layer[], options: ImageOptions = {}): Image {
  const { os = "linux", architecture = "amd64", variant, algorithm = "sha256" } = options;
  const platform = { architecture, os, ...(variant ? { variant } : {}) };
  const config = blobOf(
    json({
      ...platform,
      created: options.created ?? "2024-05-06T07:08:09.123456789Z",
      config: { Cmd: ["/bin/app"], Labels: options.labels ?? {} },
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
      history: layers.map((_, i) => ({ created_by: `step ${i}` })),
    }),
    TYPES.config,
    {},
    algorithm,
  );
  const manifest = manifestOf(config, layers, options.manifest, algorithm);
  return { layers, config, manifest: { ...manifest, extras: { platform } } };
}

export function manifestOf(
  config: Blob,
  layers: readonly Blob[],
  extras: Extras = {},
  algorithm = "sha256",
): Blob {
  const body = {
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: descriptorOf(config),
    layers: layers.map((layer) => descriptorOf(layer)),
    ...extras,
  };
  return blobOf(json(body), TYPES.manifest, {}, algorithm);
}

export function indexOf(children: readonly Blob[], extras: Extras = {}): Blob {
  const manifests = children.map((child) => descriptorOf(child));
  return blobOf(json({ schemaVersion: 2, mediaType: TYPES.index, manifests, ...extras }), TYPES.index);
}

/** What a manifest says and all that it leads to, for writers that take blobs. */
export function blobsOf(image: Image): Blob[] {
  return [image.manifest, image.config, ...image.layers];
}

/** BuildKit's provenance of `subject`: a child of the same index, of no platform. */
export function attestationOf(subject: Blob): { manifest: Blob; blobs: Blob[] } {
  const body = { predicateType: "https://slsa.dev/provenance/v0.2", subject: [{ digest: subject.digest }] };
  const statement = blobOf(json(body), TYPES.inToto);
  const platform = { architecture: "unknown", os: "unknown" };
  const rootfs = { type: "layers", diff_ids: [statement.digest] };
  const config = blobOf(json({ ...platform, config: {}, rootfs }), TYPES.config);
  const annotations = {
    "vnd.docker.reference.digest": subject.digest,
    "vnd.docker.reference.type": "attestation-manifest",
  };
  const manifest = { ...manifestOf(config, [statement]), extras: { platform, annotations } };
  return { manifest, blobs: [manifest, config, statement] };
}

export const EMPTY = blobOf(Buffer.from("{}"), TYPES.empty);

/** An artifact manifest (image-spec 1.1): no image, its config the empty descriptor. */
export function artifactOf(
  content: string,
  options: { readonly subject?: Blob; readonly embedEmpty?: boolean } = {},
): { manifest: Blob; blobs: Blob[] } {
  const layer = blobOf(Buffer.from(content), "application/spdx+json");
  const config = options.embedEmpty ? { ...EMPTY, extras: { data: EMPTY.bytes.toString("base64") } } : EMPTY;
  const extras = {
    artifactType: "application/spdx+json",
    ...(options.subject ? { subject: descriptorOf({ ...options.subject, extras: {} }) } : {}),
  };
  const manifest = manifestOf(config, [layer], extras);
  return { manifest, blobs: [manifest, layer, ...(options.embedEmpty ? [] : [EMPTY])] };
}

/** Docker's schema 1, newest layer first; unsigned, so that its digest is that of the bytes. */
export function schema1Of(name: string, layers: readonly Layer[]): Blob {
  const fsLayers = [...layers].reverse().map((layer) => ({ blobSum: layer.digest }));
  const history = fsLayers.map((_, i) => ({ v1Compatibility: JSON.stringify({ id: `${i}` }) }));
  return blobOf(
    json({ schemaVersion: 1, name, tag: "1", architecture: "amd64", fsLayers, history }),
    TYPES.schema1,
  );
}

function folder(name: string): Item {
  return { name, type: "directory", mode: 0o755 };
}

function file(name: string, content: Uint8Array): Item {
  return { name, content };
}

export interface HybridImage {
  readonly image: Image;
  /** Full references, such as `docker.io/library/app:1`; none: saved by its ID. */
  readonly names?: readonly string[];
  /** Of 25.0.0: the OCI manifest lists layers in the order of a Go map (moby issue 47150). */
  readonly shuffled?: boolean;
  /** Windows: what the registry says of a foreign layer (layer_windows.go: Descriptor), by diffID. */
  readonly foreign?: Readonly<Record<string, Extras>>;
}

/** `docker save` of Docker 25 and later with a graph driver. Layers must be plain. */
export function dockerHybrid(images: readonly HybridImage[]): Item[] {
  const files = new Map<string, Buffer>();
  const put = (blob: Blob): void => void files.set(blobPath(blob.digest), blob.bytes);
  const repositories: Record<string, Record<string, string>> = {};
  const manifest: Extras[] = [];
  const listed: Extras[] = [];
  for (const { image, names = [], shuffled = false, foreign = {} } of images) {
    let parent: string | undefined;
    const sources: Record<string, Extras> = {};
    for (const layer of image.layers) {
      const id = hexOf(digestBytes(Buffer.from(`${layer.diffId} ${parent ?? ""}`)));
      const record = { id, created: "1970-01-01T00:00:00Z", container_config: { Hostname: "" }, os: "linux" };
      put(blobOf(json({ ...record, ...(parent ? { parent } : {}) }), "")); // saveConfig
      put({ ...layer, bytes: layer.tar, digest: layer.diffId });
      const own = { mediaType: TYPES.layer, digest: layer.diffId, size: layer.tar.length };
      sources[layer.diffId] = foreign[layer.diffId] ?? own;
      parent = id;
    }
    put(image.config);
    const order = shuffled ? [...image.layers].reverse() : image.layers;
    const body = {
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config: descriptorOf(image.config),
      layers: order.map((layer) => sources[layer.diffId]),
    };
    const oci = blobOf(json(body), TYPES.manifest);
    put(oci);
    const repoTags = names.map((name) => name.replace(/^docker\.io\/(library\/)?/, ""));
    for (const [i, name] of names.entries()) {
      const [, repository, tag] = /^(.*):([^:]*)$/.exec(repoTags[i]!)!;
      repositories[repository!] ??= {};
      repositories[repository!]![tag!] = hexOf(image.layers[image.layers.length - 1]!.diffId);
      const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag };
      listed.push(descriptorOf(oci, { annotations }));
    }
    // Only while nothing is listed yet: a nameless image saved after a named one is not in index.json.
    if (listed.length === 0) listed.push(descriptorOf(oci));
    manifest.push({
      Config: blobPath(image.config.digest),
      RepoTags: repoTags.length > 0 ? repoTags : null,
      Layers: image.layers.map((layer) => blobPath(layer.diffId)),
      LayerSources: sources,
    });
  }
  // archive.Tar walks the folder: names in order, folders before what is in them.
  return [
    folder("blobs/"),
    folder("blobs/sha256/"),
    ...[...files.keys()].sort().map((name) => file(name, files.get(name)!)),
    file("index.json", json({ schemaVersion: 2, mediaType: TYPES.index, manifests: listed })),
    file("manifest.json", Buffer.from(`${JSON.stringify(manifest)}\n`)),
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    ...(Object.keys(repositories).length > 0
      ? [file("repositories", Buffer.from(`${JSON.stringify(repositories)}\n`))]
      : []),
  ];
}

export interface Export {
  /** What the name leads to: a manifest or an index. */
  readonly target: Blob;
  readonly names?: readonly string[];
  /** The one image that manifest.json tells of. */
  readonly image: Image | null;
}

/** `ctr images export`, `nerdctl save`, and `docker save` with the containerd store; `blobs` are all that is there. */
export function containerdExport(exports: readonly Export[], blobs: readonly Blob[]): Item[] {
  const files = new Map<string, Buffer>();
  for (const blob of blobs) files.set(blobPath(blob.digest), blob.bytes);
  const manifests = exports.flatMap(({ target, names = [] }) => {
    const { extras: _, ...bare } = target;
    const plain = descriptorOf({ ...bare, extras: {} });
    if (names.length === 0) return [plain];
    return names.map((name) => ({
      ...plain,
      annotations: {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.slice(name.lastIndexOf(":") + 1),
      },
    }));
  });
  const docker = new Map<string, { Config: string; RepoTags: string[] | null; Layers: string[] }>();
  for (const { image, names = [] } of exports) {
    if (!image) continue;
    const tags = names.map((name) => name.replace(/^docker\.io\/(library\/)?/, ""));
    const before = docker.get(image.manifest.digest);
    docker.set(image.manifest.digest, {
      Config: blobPath(image.config.digest),
      RepoTags: [...(before?.RepoTags ?? []), ...tags],
      Layers: image.layers.map((layer) => blobPath(layer.digest)),
    });
  }
  const algorithms = [...new Set(blobs.map((blob) => blob.digest.slice(0, blob.digest.indexOf(":"))))];
  const items = [
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", json({ schemaVersion: 2, manifests })),
    file("manifest.json", json([...docker.values()])),
    folder("blobs/"),
    ...algorithms.map((algorithm) => folder(`blobs/${algorithm}/`)),
    ...[...files].map(([name, bytes]) => file(name, bytes)),
  ];
  return items.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface Reference {
  readonly target: Blob;
  /** `org.opencontainers.image.ref.name`. */
  readonly name?: string;
  readonly extras?: Extras;
}

/** An OCI image layout. */
export function ociLayout(references: readonly Reference[], blobs: readonly Blob[]): Item[] {
  const manifests = references.map(({ target, name, extras = {} }) =>
    descriptorOf(target, {
      ...(name ? { annotations: { "org.opencontainers.image.ref.name": name } } : {}),
      ...extras,
    }),
  );
  const files = new Map(blobs.map((blob) => [blobPath(blob.digest), blob.bytes]));
  return [
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", json({ schemaVersion: 2, manifests })),
    ...[...files].map(([name, bytes]) => file(name, bytes)),
  ];
}

/** `skopeo copy dir:` (containers/image directory/directory_dest.go): blobs by bare hex, the algorithm lost. */
export function skopeoDir(target: Blob, blobs: readonly Blob[]): Item[] {
  const files = new Map<string, Buffer>([["version", Buffer.from("Directory Transport Version: 1.1\n")]]);
  files.set("manifest.json", target.bytes);
  for (const blob of blobs) {
    if (blob.digest === target.digest) continue;
    const isManifest = blob.mediaType === TYPES.manifest;
    files.set(`${hexOf(blob.digest)}${isManifest ? ".manifest.json" : ""}`, blob.bytes);
  }
  return [...files].map(([name, bytes]) => file(name, bytes));
}

/** The same one folder down, as `tar -c FOLDER` has it. */
export function below(name: string, items: readonly Item[]): Item[] {
  return [folder(`${name}/`), ...items.map((item) => ({ ...item, name: `${name}/${item.name}` }))];
}

export async function withTemp<Result>(use: (path: string) => Promise<Result>): Promise<Result> {
  const path = await mkdtemp(join(tmpdir(), "ullage-test-"));
  try {
    return await use(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

/** Writes items as a folder; only files and folders. */
export async function writeFolder(path: string, items: readonly Item[]): Promise<void> {
  await mkdir(path, { recursive: true });
  for (const { name, type, content = "" } of items) {
    const place = join(path, name);
    if (type === "directory") await mkdir(place, { recursive: true });
    else {
      await mkdir(dirname(place), { recursive: true });
      await writeFile(place, content);
    }
  }
}

export async function writeArchive(path: string, items: readonly Item[]): Promise<Buffer> {
  const bytes = await packTar(items);
  await writeFile(path, bytes);
  return bytes;
}
