/**
 * `image/<driver>/imagedb` and `repositories.json`: images, their parents and names; and `distribution`, the record of
 * what was pulled or pushed.
 *
 * Follows moby daemon/internal/image/{fs,store}.go, refstore/store.go and distribution/metadata (v20.10 to v29).
 */
import { type BytePath, joinPath } from "../../byte-path.ts";
import { type Digest, digestOf, parseDigest } from "../../digest.ts";
import { messageOf } from "../../errors.ts";
import { asObject, asString } from "../../formats/json.ts";
import { type ImageConfig, parseImageConfig } from "../../formats/oci.ts";
import { Records } from "./records.ts";

export interface ImageRecord {
  readonly id: Digest;
  readonly path: BytePath;
  /** Its folder under `metadata`; null where it has none. */
  readonly metadata: BytePath | null;
  /** Null where it is damaged or could not be read. */
  readonly config: ImageConfig | null;
  /** The image that the classic builder made it from. */
  readonly parent: Digest | null;
  /** When it was last tagged or built, RFC 3339. */
  readonly lastUpdated: string | null;
  /** Why the engine does not take it for an image; null: it does, as far as this file goes. */
  readonly broken: string | null;
}

/** A name of an image: with a tag, or with a digest. */
export interface Reference {
  readonly repository: string;
  /** `shop/web:1.0`, `shop/web@sha256:..`. */
  readonly name: string;
  readonly digest: Digest | null;
  readonly id: Digest;
}

export interface ImageStore {
  readonly images: ReadonlyMap<Digest, ImageRecord>;
  readonly references: readonly Reference[];
  /** diffIDs of layers that a registry is on record to have. */
  readonly inRegistry: ReadonlySet<Digest>;
}

export async function readImageStore(records: Records, folder: BytePath): Promise<ImageStore> {
  const content = joinPath(folder, "imagedb/content/sha256");
  const metadata = joinPath(folder, "imagedb/metadata/sha256");
  const withMetadata = new Set(await records.names(metadata));
  const images = new Map<Digest, ImageRecord>();
  for (const name of await records.names(content)) {
    if (!/^[0-9a-f]{64}$/.test(name)) continue;
    const image = await readImage(records, joinPath(content, name), joinPath(metadata, name), withMetadata);
    images.set(image.id, image);
  }
  const references = await readReferences(records, joinPath(folder, "repositories.json"));
  const recorded = await records.names(joinPath(folder, "distribution/v2metadata-by-diffid/sha256"));
  const inRegistry = new Set(recorded.map((hex) => digestOf("sha256", hex)));
  return { images, references, inRegistry };
}

async function readImage(
  records: Records,
  path: BytePath,
  metadata: BytePath,
  withMetadata: ReadonlySet<string>,
): Promise<ImageRecord> {
  const hex = path.slice(path.lastIndexOf("/") + 1);
  const id = digestOf("sha256", hex);
  const hasMetadata = withMetadata.has(hex);
  const parent = hasMetadata ? await records.digest(metadata, "parent") : null;
  const lastUpdated = hasMetadata ? timeOf(await records.value(metadata, "lastUpdated")) : null;
  const base = { id, path, metadata: hasMetadata ? metadata : null, parent, lastUpdated };
  try {
    const found = await records.document(path);
    if (!found) return { ...base, config: null, broken: null }; // vanished since
    if (found.digest !== id)
      throw Object.assign(new Error("its content is not that of its digest"), { bad: true });
    return { ...base, config: parseImageConfig(found.json, ""), broken: null };
  } catch (error) {
    const isDamage = Records.isDamage(error) || (error as { bad?: boolean }).bad === true;
    if (!isDamage) {
      records.cannotRead(path, error);
      return { ...base, config: null, broken: null };
    }
    const message = messageOf(error);
    records.damaged(path, `the engine does not take it for an image: ${message}`);
    return { ...base, config: null, broken: message };
  }
}

function timeOf(text: string | null): string | null {
  return text !== null && !Number.isNaN(Date.parse(text)) ? text : null;
}

/** The names that repositories.json gives; an engine that cannot read it starts without names. */
async function readReferences(records: Records, path: BytePath): Promise<Reference[]> {
  const references: Reference[] = [];
  try {
    const found = await records.document(path);
    if (!found) return [];
    const repositories = asObject(asObject(found.json, "repositories.json").Repositories, "Repositories");
    for (const [repository, names] of Object.entries(repositories)) {
      for (const [name, value] of Object.entries(asObject(names, repository))) {
        const id = parseDigest(asString(value, name));
        const at = name.lastIndexOf("@");
        if (id)
          references.push({ repository, name, digest: at < 0 ? null : parseDigest(name.slice(at + 1)), id });
        else records.damaged(path, `${name} names no image`);
      }
    }
  } catch (error) {
    records.cannotRead(path, error);
  }
  return references;
}
