/**
 * Builds the graph of a store that keeps images as files: blobs, layers in their chains, images, and all the rest
 * of the files, so that each byte has one owner. The readers say what they find; what follows from it (chainIDs,
 * sharing, states, unreferenced files) is derived here.
 */
import { createHash } from "node:crypto";
import { type BytePath, bytePathFromText, displayPath, parentOf } from "../byte-path.ts";
import { sniffCompression } from "../bytes/decompress.ts";
import { readAll } from "../bytes/source.ts";
import { type Digest, digestOf, parseDigest } from "../digest.ts";
import { FormatError, messageOf } from "../errors.ts";
import { JSON_LIMIT, type Json, parseJson } from "../formats/json.ts";
import { chainId, type ImageConfig, parseImageConfig } from "../formats/oci.ts";
import {
  type Absence,
  addSizes,
  type BlobRole,
  GraphBuilder,
  type Heading,
  type ImageNode,
  NOTHING,
  type NodeId,
  type PlatformImage,
  type Size,
  type StoreGraph,
} from "../graph/graph.ts";
import type { Warn } from "../run.ts";
import { leadsOut, type ReadOnlyTree, resolveLinks, type TreeEntry } from "../trees/tree.ts";

/** A reference to a file that should hold a blob. */
export interface BlobReference {
  readonly path: BytePath;
  readonly role: BlobRole;
  readonly digest: Digest | null;
  readonly expectedLength: number | null;
  /** The bytes stand in the descriptor as well: no loss where the file is not there. */
  readonly embedded?: boolean;
}

/** Layers and config of one platform, as a manifest or an entry of manifest.json lists them. */
export interface PlatformParts {
  readonly manifest: Digest | null;
  readonly config: BlobReference | null;
  /** Base first. `foreign`: may be absent on purpose. */
  readonly layers: readonly (BlobReference & { readonly foreign: boolean })[];
  /** Of the descriptor; the config's own is preferred. */
  readonly platform: string | null;
}

/** A platform with its nodes; `top` is its uppermost layer. */
export interface BuiltPlatform extends PlatformImage {
  readonly top: NodeId | null;
  /** Where the uppermost layer is looked for. */
  readonly topPath: BytePath | null;
  readonly parsed: ImageConfig | null;
  readonly absent: readonly Absence[];
}

/** All that is known of one image before it becomes a node. */
export interface ImageDraft {
  readonly names: Set<string>;
  readonly digests: Set<Digest>;
  /** Shown when there is not exactly one platform. */
  readonly targetId: string;
  readonly platforms: BuiltPlatform[];
  /** Nodes it needs. */
  readonly needs: Set<NodeId>;
  readonly absent: Absence[];
  /** Why it is kept when it has no name. */
  readonly because: string;
}

export class ImageGraph {
  readonly builder = new GraphBuilder();
  readonly tree: ReadOnlyTree;
  private readonly warn: Warn;
  private readonly blobs = new Map<BytePath, NodeId>();
  private readonly claimed = new Set<BytePath>();
  private readonly layers = new Map<string, NodeId>();
  private readonly numbers = new Map<Digest, number>();
  /** What needs the records in a folder of `layer.tar`: old archives give each layer one, named by a v1 ID. */
  private readonly folders = new Map<BytePath, Set<NodeId>>();
  private readonly chains = new Map<string, Digest>();
  /** Why files that nothing refers to may be needed after all; null: everything could be read. */
  private unsure: string | null;

  constructor(tree: ReadOnlyTree, warn: Warn) {
    this.tree = tree;
    this.warn = warn;
    this.unsure = tree.incomplete;
  }

  /** Warns that `path` could not be read; nothing in the store counts as unreferenced from then on. */
  cannotRead(path: BytePath | string, error: unknown): void {
    const place = displayPath(path);
    this.unsure ??= `${place} could not be read`;
    this.warn({
      code: "unreadable",
      path: place,
      message: this.withoutPlace(error, place),
      incomplete: true,
    });
  }

  remark(code: string, path: BytePath | string, message: string): void {
    this.warn({ code, path: displayPath(path), message, incomplete: false });
  }

  /** The JSON at `path`, links followed; null where there is no such file. Throws FormatError. */
  async document(path: BytePath): Promise<{ json: Json; digest: Digest } | null> {
    const entry = await resolveLinks(this.tree, path);
    if (entry?.type !== "file") return null;
    const source = await this.tree.open(entry.path);
    try {
      const bytes = await readAll(source, JSON_LIMIT);
      const digest = digestOf("sha256", createHash("sha256").update(bytes).digest("hex"));
      return { json: parseJson(bytes, source.label), digest };
    } finally {
      await source.close();
    }
  }

  /** Whether the file at `path` is a blob already. */
  holds(path: BytePath): boolean {
    return this.claimed.has(path);
  }

  /** The node of a blob, made when first asked for; an absence where the file is not there. */
  async blob(reference: BlobReference): Promise<NodeId | Absence> {
    const known = this.blobs.get(reference.path);
    if (known !== undefined) return known;
    const entry = await resolveLinks(this.tree, reference.path);
    if (entry?.type !== "file") {
      // Out of an archive there is nothing; a folder's link may lead to the blob, where it is not followed.
      const leadsOutside = this.tree.holder === "filesystem" && (await leadsOut(this.tree, reference.path));
      return this.absence(reference, leadsOutside);
    }
    const same = this.blobs.get(entry.path);
    const node =
      same ?? (await this.addBlob(entry, reference.role, reference.digest, reference.expectedLength));
    this.blobs.set(reference.path, node);
    return node;
  }

  private async addBlob(
    entry: TreeEntry,
    role: BlobRole,
    digest: Digest | null,
    expectedLength: number | null,
  ): Promise<NodeId> {
    const head = role === "layer" ? await this.head(entry) : null;
    const node = this.builder.add({
      kind: "blob",
      role,
      digest,
      expectedLength,
      byteLength: entry.size,
      cutShort: entry.cutShort,
      compressed: head && sniffCompression(head) !== null,
      size: sizeOf(entry),
      heading: role === "unreferenced" ? "orphans" : "images",
      path: entry.path,
    });
    this.blobs.set(entry.path, node);
    this.claimed.add(entry.path);
    return node;
  }

  /** The first bytes of a file; null where they cannot be read. */
  private async head(entry: TreeEntry): Promise<Uint8Array | null> {
    if (entry.head || entry.size === 0) return entry.head ?? new Uint8Array(0);
    const known = this.tree.facts(entry.path);
    if (known) return known.compression ? null : new Uint8Array(0);
    try {
      const source = await this.tree.open(entry.path);
      try {
        return await source.read(0, Math.min(16, entry.size));
      } finally {
        await source.close();
      }
    } catch {
      return null; // whoever needs the content will say why it cannot be read
    }
  }

  private absence(reference: BlobReference, leadsOutside: boolean): Absence {
    const { role, digest } = reference;
    const what =
      role === "index"
        ? "manifest"
        : role === "layer" || role === "config" || role === "manifest"
          ? role
          : "blob";
    const path = displayPath(reference.path);
    const base = { what, digest, name: digest ?? path, path } as const;
    if (leadsOutside) {
      const because = "a link that leads out of the source, which is not followed";
      return { ...base, verdict: "unreadable", because };
    }
    if (!this.tree.incomplete) return { ...base, verdict: "missing", because: "no such file in the source" };
    // An archive that breaks off may have had it; in a folder it may be where reading is not allowed.
    const verdict = this.tree.holder === "archive" ? "truncated" : "unreadable";
    return { ...base, verdict, because: this.tree.incomplete };
  }

  /** Layers, config and what is missing of one platform. */
  async platform(parts: PlatformParts): Promise<BuiltPlatform> {
    const absent: Absence[] = [];
    const config = parts.config && (await this.blob(parts.config));
    if (config !== null && typeof config !== "number") absent.push(config);
    const configNode = typeof config === "number" ? config : null;
    const { parsed, digest, failure } = await this.config(configNode, parts.config);
    if (failure) absent.push(failure);
    if (parsed && parsed.diffIds.length !== parts.layers.length) {
      const message = `${parts.layers.length} layers but ${parsed.diffIds.length} diff_ids in its config`;
      this.remark("layer-count", parts.config!.path, message);
    }
    const layers: NodeId[] = [];
    let top: NodeId | null = null;
    for (const [i, reference] of parts.layers.entries()) {
      const blob = await this.blob(reference);
      if (typeof blob !== "number") absent.push(reference.foreign ? foreign(blob) : blob);
      top = this.layer(top, parsed?.diffIds[i] ?? null, typeof blob === "number" ? blob : null, reference);
      layers.push(top);
      // A layer has one v1 ID as the uppermost of an image, made from the image's config, and another one below
      // others: so that its folder goes with the image, or with the last layer that stands on it.
      if (i > 0) this.ownFolder(parts.layers[i - 1]!.path, top);
    }
    return {
      platform: parsed?.platform ?? parts.platform ?? "unknown",
      manifest: parts.manifest,
      config: configNode,
      configDigest: parts.config?.digest ?? digest,
      layers,
      present: configNode !== null || this.blobsOf(layers).length > 0,
      top,
      topPath: parts.layers[parts.layers.length - 1]?.path ?? null,
      parsed,
      absent,
    };
  }

  /** The records beside `layer` go when `owner` goes. */
  private ownFolder(layer: BytePath, owner: NodeId): void {
    if (!layer.endsWith("/layer.tar")) return;
    const folder = parentOf(layer);
    const owners = this.folders.get(folder);
    if (owners) owners.add(owner);
    else this.folders.set(folder, new Set([owner]));
  }

  /** The blobs of the layers that are there. */
  blobsOf(layers: readonly NodeId[]): NodeId[] {
    return layers.flatMap((id) => {
      const node = this.builder.nodes[id]!;
      return node.kind === "layer" && node.blob !== null ? [node.blob] : [];
    });
  }

  private async config(node: NodeId | null, reference: BlobReference | null): Promise<ReadConfig> {
    if (node === null || !reference) return NO_CONFIG;
    const path = displayPath(reference.path);
    try {
      const found = await this.document(reference.path);
      return found
        ? { parsed: parseImageConfig(found.json, ""), digest: found.digest, failure: null }
        : NO_CONFIG;
    } catch (error) {
      const because = this.withoutPlace(error, path);
      if (error instanceof FormatError)
        this.warn({ code: "config", path, message: because, incomplete: true });
      else this.cannotRead(reference.path, error);
      const { digest } = reference;
      const failure = {
        what: "config",
        digest,
        name: digest ?? path,
        path,
        verdict: "unreadable",
        because,
      } as const;
      return { ...NO_CONFIG, failure };
    }
  }

  /** The message of an error without the place that is named beside it. */
  private withoutPlace(error: unknown, path: string): string {
    let message = messageOf(error);
    for (const place of [this.tree.label, path]) {
      if (message.startsWith(`${place}: `)) message = message.slice(place.length + 2);
    }
    return message;
  }

  /** A layer on `parent`; the same layer of the same bytes on the same parent is the same node. */
  private layer(
    parent: NodeId | null,
    diffId: Digest | null,
    blob: NodeId | null,
    reference: BlobReference,
  ): NodeId {
    const key = `${parent ?? ""} ${diffId ? this.numberOf(diffId) : ""} ${blob ?? reference.path}`;
    const known = this.layers.get(key);
    if (known !== undefined) return known;
    const node = this.builder.add({
      kind: "layer",
      diffId,
      chainId: this.chain(parent, diffId),
      parent,
      blob,
      unpacked: blob === null ? null : this.unpackedLength(blob, diffId),
      size: NOTHING,
      heading: "images",
      path: null,
    });
    this.layers.set(key, node);
    if (parent !== null) this.builder.edge(node, parent);
    if (blob !== null) this.builder.edge(node, blob);
    return node;
  }

  /** A short stand-in for a diffID in keys: 200,000 references hash faster so. */
  private numberOf(diffId: Digest): number {
    const known = this.numbers.get(diffId);
    if (known !== undefined) return known;
    this.numbers.set(diffId, this.numbers.size);
    return this.numbers.size - 1;
  }

  private chain(parent: NodeId | null, diffId: Digest | null): Digest | null {
    if (!diffId) return null;
    const below = parent === null ? null : this.builder.nodes[parent]!;
    const parentChain = below?.kind === "layer" ? below.chainId : null;
    if (below && !parentChain) return null;
    const key = `${parentChain ?? ""} ${diffId}`;
    const chain = this.chains.get(key) ?? chainId(parentChain, diffId);
    this.chains.set(key, chain);
    return chain;
  }

  /** Known where the blob is not compressed (named by its diffID, or by its first bytes), or a single pass read it. */
  private unpackedLength(blob: NodeId, diffId: Digest | null): number | null {
    const node = this.builder.nodes[blob]!;
    if (node.kind !== "blob") return null;
    const isPlain = node.compressed === false || (node.digest !== null && node.digest === diffId);
    if (isPlain) return node.byteLength;
    return node.path === null ? null : (this.tree.facts(node.path)?.unpackedLength ?? null);
  }

  /** Makes the image's node and roots. */
  image(draft: ImageDraft): NodeId {
    const present = draft.platforms.filter((one) => one.present);
    const only = present.length === 1 ? present[0]! : null;
    const lead = only ?? present[0] ?? draft.platforms[0] ?? null;
    const shown = present.length > 0 ? present : draft.platforms;
    const absent = [...draft.absent, ...draft.platforms.flatMap((one) => one.absent)];
    const layers = [...new Set(shown.flatMap((one) => one.layers))];
    const cut =
      layers.some((layer) => this.isCut(layer)) ||
      shown.some((one) => one.config !== null && this.isCut(one.config));
    // What is unreadable in a source read as a whole was there and made no sense.
    const isDamage = ({ verdict }: Absence): boolean =>
      verdict === "missing" ||
      verdict === "truncated" ||
      (verdict === "unreadable" && this.tree.incomplete === null);
    const damaged = cut || absent.some(isDamage);
    const lost = absent.find((one) => one.what === "manifest" && one.verdict === "missing");
    if (lost) this.unsure ??= `the manifest ${lost.name}, which may need it, is missing`;
    const image: ImageNode = {
      kind: "image",
      imageId: (only ?? (draft.platforms.length === 1 ? lead : null))?.configDigest ?? draft.targetId,
      names: [...draft.names].sort(),
      digests: [...draft.digests],
      created: lead?.parsed?.created ?? null,
      platform: shown.length > 0 ? [...new Set(shown.map((one) => one.platform))].join(", ") : null,
      layers,
      platforms: draft.platforms.map(
        ({ platform, manifest, config, configDigest, layers: own, present: here }) => ({
          platform,
          manifest,
          config,
          configDigest,
          layers: own,
          present: here,
        }),
      ),
      labels: lead?.parsed?.labels ?? {},
      lastUsed: null,
      pullable: null,
      state: damaged ? "damaged" : absent.length > 0 ? "partial" : "complete",
      absent,
      size: NOTHING,
      heading: "images",
      path: null,
    };
    const node = this.builder.add(image);
    for (const needed of draft.needs) this.builder.edge(node, needed);
    for (const { topPath } of draft.platforms) if (topPath !== null) this.ownFolder(topPath, node);
    this.warnOfAbsent(image);
    for (const name of image.names) this.builder.root(node, `name ${name}`);
    if (image.names.length === 0) this.builder.root(node, draft.because);
    return node;
  }

  /** What was absent on purpose needs no word, and what could not be read has had its own. */
  private warnOfAbsent(image: ImageNode): void {
    const title = image.names[0] ?? image.imageId;
    for (const { what, path, verdict, because } of image.absent) {
      const isTold = verdict === "discarded" || (verdict === "unreadable" && this.unsure !== null);
      if (isTold || this.warned.has(path)) continue;
      this.warned.add(path);
      this.warn({
        code: verdict,
        path,
        message: `the ${what} that ${title} needs: ${because}`,
        incomplete: true,
      });
    }
  }
  private readonly warned = new Set<string>();

  private isCut(id: NodeId): boolean {
    const node = this.builder.nodes[id]!;
    if (node.kind === "layer") return node.blob !== null && this.isCut(node.blob);
    return node.kind === "blob" && node.cutShort > 0;
  }

  /** Gives every file that is no blob yet an owner, and returns the finished graph. */
  async finish(classify: (entry: TreeEntry) => Promise<FileClass>): Promise<StoreGraph> {
    const files = new Map<string, FileGroup>();
    const count = (group: Omit<FileGroup, "size" | "count">, size: Size): void => {
      const key = `${group.heading} ${group.what} ${group.path ?? ""}`;
      const before = files.get(key) ?? { ...group, size: NOTHING, count: 0 };
      files.set(key, { ...before, size: addSizes(before.size, size), count: before.count + 1 });
    };
    const unreferenced: { entry: TreeEntry; digest: Digest | null }[] = [];
    for await (const entry of this.tree.walk()) {
      if (this.claimed.has(entry.path)) continue;
      const isFolder = entry.type === "directory";
      const folder = isFolder ? entry.path : parentOf(entry.path);
      const owners = this.folders.get(folder);
      if (owners) {
        count({ heading: "images", what: "records of the layer", path: folder, owners }, sizeOf(entry));
        continue;
      }
      const { heading, what, digest }: FileClass = isFolder ? FOLDERS : await classify(entry);
      if (heading === "orphans") unreferenced.push({ entry, digest: digest ?? null });
      else count({ heading, what, path: null, owners: NOBODY }, sizeOf(entry));
    }
    this.unsure ??= this.tree.incomplete; // of a folder, known only after the walk
    for (const { entry, digest } of unreferenced) {
      if (this.unsure === null) await this.addBlob(entry, "unreferenced", digest, null);
      else await this.addUnsure(entry, digest);
    }
    for (const { what, bytes } of this.tree.overhead) {
      const inodes = this.tree.holder === "archive" ? null : 0;
      count(
        { heading: "metadata", what, path: null, owners: NOBODY },
        { apparent: bytes, allocated: bytes, inodes },
      );
    }
    for (const { owners, ...group } of files.values()) {
      const node = this.builder.add({ kind: "files", ...group });
      for (const owner of owners) this.builder.edge(owner, node);
      if (owners.size === 0) this.builder.root(node, "part of the source itself");
    }
    return this.builder.build();
  }

  /** What nothing seen refers to, in a store of which something could not be read: not called unreferenced. */
  private async addUnsure(entry: TreeEntry, digest: Digest | null): Promise<void> {
    const node = await this.addBlob(entry, "unreferenced", digest, null);
    this.builder.nodes[node] = { ...this.builder.nodes[node]!, heading: "other" };
    this.builder.root(node, `may be needed: ${this.unsure}`);
  }
}

const FOLDERS: FileClass = { heading: "metadata", what: "folders" };

const NOBODY: ReadonlySet<NodeId> = new Set();

/** Files that are neither content nor layers, and the layers that they go with. */
interface FileGroup {
  readonly heading: Heading;
  readonly what: string;
  /** The folder that they are in, where they have one of their own. */
  readonly path: BytePath | null;
  readonly owners: ReadonlySet<NodeId>;
  readonly size: Size;
  readonly count: number;
}

interface ReadConfig {
  readonly parsed: ImageConfig | null;
  /** Of the bytes as they are. */
  readonly digest: Digest | null;
  /** Why a config that is there cannot be used. */
  readonly failure: Absence | null;
}

const NO_CONFIG: ReadConfig = { parsed: null, digest: null, failure: null };

/** What a file that no image refers to is. */
export interface FileClass {
  readonly heading: Heading;
  readonly what: string;
  /** For orphans: the digest that its name tells. */
  readonly digest?: Digest | null;
}

function foreign(absence: Absence): Absence {
  return { ...absence, verdict: "discarded", because: "a foreign layer, which is fetched from its own URL" };
}

export function sizeOf(entry: TreeEntry): Size {
  return { apparent: entry.size, allocated: entry.allocated, inodes: entry.inodes };
}

/** Path of a blob in an OCI layout; null for a digest that would leave the folder. */
export function layoutPath(digest: Digest): BytePath | null {
  const colon = digest.indexOf(":");
  return bytePathFromText(`blobs/${digest.slice(0, colon)}/${digest.slice(colon + 1)}`);
}

/** The digest that a path in an OCI layout stands for; null where it is no blob's path. */
export function layoutDigest(path: BytePath): Digest | null {
  const match = /^blobs\/([^/]+)\/([^/]+)$/.exec(path);
  return match ? parseDigest(`${match[1]}:${match[2]}`) : null;
}
