/**
 * Documents of the OCI image specification (image-spec v1.1: descriptor.md, manifest.md, image-index.md, config.md)
 * and of Docker's image manifest version 2, which has the same fields under other media types.
 */
import { createHash } from "node:crypto";
import { type Digest, digestOf, parseDigest } from "../digest.ts";
import { FormatError } from "../errors.ts";
import {
  asArray,
  asObject,
  type Json,
  type JsonObject,
  stringMap,
  stringOrNull,
  stringsOrEmpty,
} from "./json.ts";

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes as stored; null where it is absent or no length. */
  readonly size: number | null;
  readonly annotations: Readonly<Record<string, string>>;
  /** `os/arch[/variant]`; null where it is not given. */
  readonly platform: string | null;
  readonly artifactType: string | null;
  /** The bytes themselves stand in it (`data`), as those of the empty config mostly do. */
  readonly embedded: boolean;
}

export function parseDescriptor(value: Json | undefined, what: string): Descriptor {
  const object = asObject(value, what);
  const digest = parseDigest(object.digest);
  if (!digest)
    throw new FormatError("oci", `${what}.digest: no digest: ${JSON.stringify(object.digest)?.slice(0, 80)}`);
  const size = object.size;
  return {
    mediaType: stringOrNull(object.mediaType) ?? "",
    digest,
    size: typeof size === "number" && Number.isSafeInteger(size) && size >= 0 ? size : null,
    annotations: stringMap(object.annotations),
    platform: object.platform ? platformOf(asObject(object.platform, `${what}.platform`)) : null,
    artifactType: stringOrNull(object.artifactType) || null,
    embedded: typeof object.data === "string",
  };
}

export function platformOf(object: JsonObject): string | null {
  const os = stringOrNull(object.os);
  const architecture = stringOrNull(object.architecture);
  if (!os && !architecture) return null;
  const variant = stringOrNull(object.variant);
  return [os ?? "unknown", architecture ?? "unknown", ...(variant ? [variant] : [])].join("/");
}

/** A platform that names none: BuildKit gives it to attestation manifests. */
export const UNKNOWN_PLATFORM = "unknown/unknown";

export interface Index {
  readonly kind: "index";
  readonly manifests: readonly Descriptor[];
}

export interface Manifest {
  readonly kind: "manifest";
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly artifactType: string | null;
  readonly subject: Descriptor | null;
}

/** Docker's schema 1: layers by digest, newest first, no config. Not verified beyond its blobs. */
export interface Schema1 {
  readonly kind: "schema1";
  readonly layers: readonly Digest[];
}

/** An index or a manifest, told apart by what is in it rather than by what it is called. */
export function parseManifest(json: Json, what: string): Index | Manifest | Schema1 {
  const object = asObject(json, what);
  if (object.manifests !== undefined && object.layers === undefined) {
    const manifests = object.manifests === null ? [] : asArray(object.manifests, `${what}.manifests`);
    return {
      kind: "index",
      manifests: manifests.map((item, i) => parseDescriptor(item, `${what}.manifests[${i}]`)),
    };
  }
  if (object.fsLayers !== undefined) {
    const layers = asArray(object.fsLayers, `${what}.fsLayers`).map((item, i) => {
      const digest = parseDigest(asObject(item, `${what}.fsLayers[${i}]`).blobSum);
      if (!digest) throw new FormatError("oci", `${what}.fsLayers[${i}].blobSum: no digest`);
      return digest;
    });
    return { kind: "schema1", layers };
  }
  if (object.config === undefined) throw new FormatError("oci", `${what}: neither an index nor a manifest`);
  const layers = object.layers == null ? [] : asArray(object.layers, `${what}.layers`);
  return {
    kind: "manifest",
    config: parseDescriptor(object.config, `${what}.config`),
    layers: layers.map((item, i) => parseDescriptor(item, `${what}.layers[${i}]`)),
    artifactType: stringOrNull(object.artifactType) || null,
    subject: object.subject == null ? null : parseDescriptor(object.subject, `${what}.subject`),
  };
}

export interface HistoryStep {
  readonly created: string | null;
  readonly createdBy: string;
  readonly comment: string;
  readonly author: string;
  /** The step made no layer. */
  readonly emptyLayer: boolean;
}

export interface ImageConfig {
  readonly diffIds: readonly Digest[];
  readonly created: string | null;
  readonly platform: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** The container settings (`Env`, `Cmd` ...), as they stand. */
  readonly config: JsonObject;
}

/** Throws FormatError where `rootfs.diff_ids` is not a list of digests: then it is no image config. */
export function parseImageConfig(json: Json, what: string): ImageConfig {
  const object = asObject(json, what);
  const rootfs = asObject(object.rootfs, `${what}.rootfs`);
  const diffIds = stringsOrEmpty(rootfs.diff_ids, `${what}.rootfs.diff_ids`).map((text, i) => {
    const digest = parseDigest(text);
    if (!digest)
      throw new FormatError("oci", `${what}.rootfs.diff_ids[${i}]: no digest: ${text.slice(0, 80)}`);
    return digest;
  });
  const config = object.config == null ? {} : asObject(object.config, `${what}.config`);
  return {
    diffIds,
    created: timeOrNull(object.created),
    platform: platformOf(object),
    labels: stringMap(config.Labels),
    config,
  };
}

/** The steps of an image config, apart from it since only `inspect` asks for them. */
export function parseHistory(json: Json, what: string): HistoryStep[] {
  const { history } = asObject(json, what);
  return Array.isArray(history) ? history.map(parseStep) : [];
}

function parseStep(value: Json): HistoryStep {
  const step =
    typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
  return {
    created: timeOrNull(step.created),
    createdBy: stringOrNull(step.created_by) ?? "",
    comment: stringOrNull(step.comment) ?? "",
    author: stringOrNull(step.author) ?? "",
    emptyLayer: step.empty_layer === true,
  };
}

/** An RFC 3339 time in UTC with its fraction kept; null for anything else and for Go's zero time. */
export function timeOrNull(value: Json | undefined): string | null {
  const text = stringOrNull(value);
  const match = text && /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (!match || text.startsWith("0001-01-01")) return null;
  const seconds = Date.parse(`${match[1]}${match[3]!.toUpperCase()}`);
  if (Number.isNaN(seconds)) return null;
  return `${new Date(seconds).toISOString().slice(0, 19)}${match[2] ?? ""}Z`;
}

/**
 * ChainID of a layer on `parent` (image-spec config.md, "Layer ChainID"): the diffID itself at the base, else the
 * digest of both texts with a space between.
 */
export function chainId(parent: Digest | null, diffId: Digest): Digest {
  if (!parent) return diffId;
  return digestOf("sha256", createHash("sha256").update(`${parent} ${diffId}`).digest("hex"));
}

/** Layers that may be absent on purpose: never to be distributed (Windows base layers). */
export function isForeign(mediaType: string): boolean {
  return /\.foreign\.|nondistributable/.test(mediaType);
}

/** BuildKit's attestation manifests, children of an index that describe a sibling. */
export function isAttestation(descriptor: Descriptor): boolean {
  return (
    descriptor.annotations["vnd.docker.reference.type"] === "attestation-manifest" ||
    descriptor.platform === UNKNOWN_PLATFORM
  );
}

/** `docker.io/library/busybox:1` as `busybox:1` (distribution/reference: FamiliarString). */
export function familiarName(name: string): string {
  return name.replace(/^(?:index\.)?docker\.io\/(?:library\/(?=[^/]+$))?/, "");
}
