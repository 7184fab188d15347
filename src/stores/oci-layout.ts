/**
 * OCI image layouts (image-spec image-layout.md), as a folder or in an archive. Blobs that nothing refers to and
 * references to blobs that are absent are both allowed there: they are told, not refused.
 */
import { type BytePath, displayPath } from "../byte-path.ts";
import { type Digest, hexOf } from "../digest.ts";
import { FormatError, messageOf } from "../errors.ts";
import { asArray, asObject } from "../formats/json.ts";
import {
  type Descriptor,
  familiarName,
  isAttestation,
  isForeign,
  type Manifest,
  parseDescriptor,
  parseManifest,
} from "../formats/oci.ts";
import type { Absence, BlobRole, NodeId } from "../graph/graph.ts";
import type { TreeEntry } from "../trees/tree.ts";
import {
  type BlobReference,
  type BuiltPlatform,
  type FileClass,
  type ImageDraft,
  ImageGraph,
  layoutDigest,
  layoutPath,
} from "./image-graph.ts";
import type { StoreKind } from "./store.ts";

const INDEX = "index.json" as BytePath;
const MARKER = "oci-layout" as BytePath;

export const ociLayout: StoreKind = {
  kind: "oci-layout",
  async detect(tree) {
    if ((await tree.lstat(INDEX))?.type !== "file") return null;
    if ((await tree.lstat(MARKER))?.type === "file") return { saw: "oci-layout and index.json" };
    const blobs = await tree.lstat("blobs" as BytePath);
    return blobs?.type === "directory" ? { saw: "index.json and blobs/" } : null;
  },
  async read(tree, { warn }) {
    const images = new ImageGraph(tree, warn);
    const { drafts } = await readIndex(images);
    for (const draft of drafts) images.image(draft);
    const kind = tree.holder === "archive" ? "oci-archive" : "oci-layout";
    return { graph: await images.finish(classifyLayoutFile), kind, engine: null };
  },
};

/**
 * The images of `index.json`; one a target, with all names that lead to it. `told`: layers by the digest of the
 * config, where something knows better than the manifest.
 */
export async function readIndex(
  images: ImageGraph,
  told: ReadonlyMap<Digest, readonly BlobReference[]> = new Map(),
): Promise<{ drafts: ImageDraft[] }> {
  const walker = new ManifestWalker(images, layoutPath, told);
  const drafts = new Map<Digest, ImageDraft>();
  const referrers: { draft: ImageDraft; subject: Digest }[] = [];
  try {
    const found = await images.document(INDEX);
    if (!found) throw new FormatError("oci", "there is no index.json");
    const listed = asObject(found.json, "index.json").manifests;
    for (const [i, value] of (listed === null ? [] : asArray(listed, "index.json.manifests")).entries()) {
      try {
        const descriptor = parseDescriptor(value, `index.json.manifests[${i}]`);
        const known = drafts.get(descriptor.digest);
        const draft = known ?? (await walker.draft(descriptor));
        drafts.set(descriptor.digest, draft);
        const name = nameOf(descriptor);
        if (name !== null) draft.names.add(name);
        const subject = walker.subjectOf(descriptor.digest);
        if (!known && subject) referrers.push({ draft, subject });
      } catch (error) {
        images.cannotRead(INDEX, error);
      }
    }
  } catch (error) {
    images.cannotRead(INDEX, error);
  }
  joinReferrers(drafts, referrers, walker);
  return { drafts: [...drafts.values()] };
}

/**
 * A referrer (signature, SBOM) without a name belongs to the image that it speaks of, or of which it speaks through
 * another referrer, when that is here too; the subject may be one platform of an index.
 */
function joinReferrers(
  drafts: Map<Digest, ImageDraft>,
  referrers: readonly { draft: ImageDraft; subject: Digest }[],
  walker: ManifestWalker,
): void {
  if (referrers.length === 0) return;
  const owners = new Map<Digest, ImageDraft>();
  for (const [digest, draft] of drafts) {
    for (const manifest of walker.manifestsBelow(digest))
      if (!owners.has(manifest)) owners.set(manifest, draft);
  }
  for (const [digest, draft] of drafts) owners.set(digest, draft);
  const merged = new Map<ImageDraft, ImageDraft>();
  for (const { draft, subject } of referrers) {
    let owner = owners.get(subject);
    for (let next = owner; next !== undefined; next = merged.get(next)) owner = next;
    if (!owner || owner === draft || draft.names.size > 0) continue;
    for (const node of draft.needs) owner.needs.add(node);
    owner.absent.push(...draft.absent, ...draft.platforms.flatMap((one) => one.absent));
    merged.set(draft, owner);
    for (const digest of draft.digests) drafts.delete(digest);
  }
}

/**
 * `io.containerd.image.name` is a full reference, `org.opencontainers.image.ref.name` free text, mostly a tag.
 * Docker's own names are shown as Docker shows them, without the default registry.
 */
function nameOf(descriptor: Descriptor): string | null {
  const full = descriptor.annotations["io.containerd.image.name"];
  return full ? familiarName(full) : (descriptor.annotations["org.opencontainers.image.ref.name"] ?? null);
}

interface Walked {
  /** Null: the file is not there. */
  readonly node: NodeId | null;
  readonly platforms: readonly BuiltPlatform[];
  readonly absent: readonly Absence[];
  readonly subject: Digest | null;
  /** Manifests at or below it. */
  readonly manifests: readonly Digest[];
}

const DEPTH_LIMIT = 8; // image indexes nest once or twice in practice

/** Follows descriptors down to blobs, adding nodes and edges; each manifest once, however many indexes name it. */
export class ManifestWalker {
  private readonly images: ImageGraph;
  private readonly locate: (digest: Digest) => BytePath | null;
  private readonly told: ReadonlyMap<Digest, readonly BlobReference[]>;
  private readonly walked = new Map<Digest, Walked>();
  private readonly open = new Set<Digest>();

  constructor(
    images: ImageGraph,
    locate: (digest: Digest) => BytePath | null,
    told: ReadonlyMap<Digest, readonly BlobReference[]> = new Map(),
  ) {
    this.images = images;
    this.locate = locate;
    this.told = told;
  }

  subjectOf(digest: Digest): Digest | null {
    return this.walked.get(digest)?.subject ?? null;
  }

  /** Manifests and indexes at or below one that was walked. */
  manifestsBelow(digest: Digest): readonly Digest[] {
    return this.walked.get(digest)?.manifests ?? [];
  }

  /** What a root descriptor leads to. */
  async draft(descriptor: Descriptor): Promise<ImageDraft> {
    const target = await this.walk(descriptor, 0);
    return {
      names: new Set(),
      digests: new Set([descriptor.digest]),
      targetId: descriptor.digest,
      platforms: [...target.platforms],
      needs: new Set(target.node === null ? [] : [target.node]),
      absent: [...target.absent],
      because: "listed in index.json without a name",
    };
  }

  private async walk(descriptor: Descriptor, depth: number): Promise<Walked> {
    const known = this.walked.get(descriptor.digest);
    if (known) return known;
    if (depth > DEPTH_LIMIT || this.open.has(descriptor.digest)) return this.tooDeep(descriptor);
    this.open.add(descriptor.digest);
    try {
      const result = await this.follow(descriptor, depth);
      this.walked.set(descriptor.digest, result);
      return result;
    } finally {
      this.open.delete(descriptor.digest);
    }
  }

  private tooDeep({ digest }: Descriptor): Walked {
    const error = new FormatError("oci", `${digest}: indexes nested in a circle or too deep`);
    this.images.cannotRead(digest, error);
    const verdict = "unreadable";
    return {
      ...EMPTY,
      absent: [{ what: "manifest", digest, name: digest, path: digest, verdict, because: error.message }],
    };
  }

  private async follow(descriptor: Descriptor, depth: number): Promise<Walked> {
    const reference = this.reference(
      descriptor,
      /index|list/.test(descriptor.mediaType) ? "index" : "manifest",
    );
    const blob = await this.images.blob(reference);
    if (typeof blob !== "number") return { ...EMPTY, absent: [blob] };
    const empty: Walked = { ...EMPTY, node: blob, manifests: [descriptor.digest] };
    let parsed: ReturnType<typeof parseManifest>;
    try {
      const found = await this.images.document(reference.path);
      parsed = parseManifest(found?.json ?? null, displayPath(reference.path));
    } catch (error) {
      this.images.cannotRead(reference.path, error);
      const name = descriptor.digest;
      const verdict = "unreadable";
      return {
        ...empty,
        absent: [
          {
            what: "manifest",
            digest: name,
            name,
            path: displayPath(reference.path),
            verdict,
            because: messageOf(error),
          },
        ],
      };
    }
    if (parsed.kind === "index") return this.index(blob, parsed.manifests, depth, empty);
    if (parsed.kind === "manifest") return this.manifest(blob, descriptor, parsed, empty);
    const layers = parsed.layers.map((digest) =>
      this.reference({ ...descriptor, digest, size: null, embedded: false }, "layer"),
    );
    return { ...empty, absent: await this.attach(blob, layers) };
  }

  /** Children that are absent as a whole were left out on purpose when others are there: an unpulled platform. */
  private async index(
    node: NodeId,
    children: readonly Descriptor[],
    depth: number,
    empty: Walked,
  ): Promise<Walked> {
    const results: { child: Descriptor; walked: Walked }[] = [];
    for (const child of children) {
      const walked = await this.walk(child, depth + 1);
      if (walked.node !== null) this.images.builder.edge(node, walked.node);
      results.push({ child, walked });
    }
    const here = new Set(this.present(results.flatMap(({ walked }) => walked.platforms)));
    const anyPresent = here.size > 0;
    const platforms: BuiltPlatform[] = [];
    const absent: Absence[] = [];
    for (const { child, walked } of results) {
      if (walked.node === null)
        absent.push(...(anyPresent ? walked.absent.map((one) => skipped(one, child)) : walked.absent));
      else absent.push(...walked.absent);
      for (const platform of walked.platforms) {
        const left = anyPresent && !here.has(platform);
        const why = (one: Absence): Absence => skipped(one, child);
        platforms.push(left ? { ...platform, present: false, absent: platform.absent.map(why) } : platform);
      }
    }
    return {
      ...empty,
      platforms,
      absent,
      manifests: [...empty.manifests, ...results.flatMap((one) => one.walked.manifests)],
    };
  }

  /** Without those of which nothing is there but layers that another platform has too. */
  private present(platforms: readonly BuiltPlatform[]): BuiltPlatform[] {
    const whole = platforms.filter((one) => one.config !== null);
    const shared = new Set(whole.flatMap((one) => this.images.blobsOf(one.layers)));
    return platforms.filter(
      (one) => one.config !== null || this.images.blobsOf(one.layers).some((blob) => !shared.has(blob)),
    );
  }

  private async manifest(
    node: NodeId,
    descriptor: Descriptor,
    manifest: Manifest,
    empty: Walked,
  ): Promise<Walked> {
    const subject = manifest.subject?.digest ?? null;
    if (isAttestation(descriptor) || !isImage(manifest)) {
      const role = isAttestation(descriptor) ? "attestation" : "artifact";
      const parts = [manifest.config, ...manifest.layers].map((one) => this.reference(one, role));
      const absent = await this.attach(node, parts);
      return {
        ...empty,
        subject,
        absent: absent.map((one) => (isAttestation(descriptor) ? skipped(one, descriptor) : one)),
      };
    }
    const platform = await this.images.platform({
      manifest: descriptor.digest,
      config: this.reference(manifest.config, "config"),
      layers: this.layers(manifest),
      platform: descriptor.platform,
    });
    if (platform.config !== null) this.images.builder.edge(node, platform.config);
    if (platform.top !== null) this.images.builder.edge(node, platform.top);
    return { ...empty, subject, platforms: [platform] };
  }

  private layers(manifest: Manifest): (BlobReference & { readonly foreign: boolean })[] {
    const told = this.told.get(manifest.config.digest);
    const agrees = told?.every(({ digest }, i) => digest === manifest.layers[i]?.digest);
    if (told && !(agrees && told.length === manifest.layers.length))
      return told.map((one) => ({ ...one, foreign: false }));
    return manifest.layers.map((one) => ({
      ...this.reference(one, "layer"),
      foreign: isForeign(one.mediaType),
    }));
  }

  /** Edges to blobs that are no layers of a root file system. */
  private async attach(node: NodeId, references: readonly BlobReference[]): Promise<Absence[]> {
    const absent: Absence[] = [];
    for (const reference of references) {
      const blob = await this.images.blob(reference);
      if (typeof blob === "number") this.images.builder.edge(node, blob);
      else if (!reference.embedded) absent.push(blob);
    }
    return absent;
  }

  private reference(descriptor: Descriptor, role: BlobRole): BlobReference {
    const path = this.locate(descriptor.digest);
    if (path === null) throw new FormatError("oci", `${descriptor.digest}: a digest that is no file name`);
    const { digest, size, embedded } = descriptor;
    return { path, role, digest, expectedLength: size, embedded };
  }
}

const EMPTY: Walked = { node: null, platforms: [], absent: [], subject: null, manifests: [] };

/** Whether a manifest describes a root file system: image configs have known types, artifacts others. */
function isImage(manifest: Manifest): boolean {
  if (manifest.artifactType !== null) return false;
  const type = manifest.config.mediaType;
  return type === "" || /vnd\.oci\.image\.config|vnd\.docker\.container\.image|octet-stream/.test(type);
}

function skipped(absence: Absence, child: Descriptor): Absence {
  if (absence.verdict !== "missing") return absence;
  const because = `platform ${child.platform ?? "unknown"} was not saved along`;
  return { ...absence, verdict: "discarded", because };
}

/** What a file of a layout is that no image refers to. */
export async function classifyLayoutFile(entry: TreeEntry): Promise<FileClass> {
  if (entry.path === INDEX || entry.path === MARKER)
    return { heading: "metadata", what: "index.json and oci-layout" };
  const digest = layoutDigest(entry.path);
  if (digest && entry.type === "file") return { heading: "orphans", what: hexOf(digest), digest };
  // containers/image writes blobs under such a name and renames them: what stays is a crash's residue.
  if (/(^|\/)oci-put-blob/.test(entry.path)) return { heading: "temporary", what: "unfinished blobs" };
  return { heading: "other", what: "files that are no part of the format" };
}
