/**
 * BuildKit's records inside a data-root: `buildkit/metadata_v2.db` (what is cached, and why) and
 * `buildkit/snapshots.db` (which layer or folder of the driver each of it is).
 *
 * Follows buildkit cache/{manager,metadata,refs}.go (v0.8 to v0.20) and moby daemon/builder-next
 * adapters/snapshot/{snapshot,layer}.go. `_main/<record>/<key>` is JSON `{"value":..,"index":..}`, empty where the key
 * was deleted. A snapshot is a bucket: `committed` names the bucket of the folder that it was made in, `chainid` the
 * layer that it has become, `parent` the snapshot below; a bucket named by a chainID is a layer of an image.
 *
 * Not handled: `metadata.db` (v1), `cache.db` (results of build steps: it keeps nothing).
 */
import { type BytePath, joinPath } from "../../byte-path.ts";
import { type Digest, parseDigest } from "../../digest.ts";
import type { Bucket } from "../../formats/bbolt.ts";
import { readDatabase } from "./databases.ts";
import type { Records } from "./records.ts";

export interface CacheRecord {
  readonly id: string;
  /** `regular`, `internal`, `frontend`, `source.local`, `source.git.checkout`, `exec.cachemount`. */
  readonly type: string;
  readonly description: string;
  /** RFC 3339 with nanoseconds, as Go writes it. */
  readonly createdAt: string | null;
  readonly lastUsedAt: string | null;
  readonly usageCount: number;
  /** Records that this one was made from. */
  readonly parents: readonly string[];
  /** Key in {@link BuildCache.snapshots}. */
  readonly snapshot: string;
  /** Bytes, as measured when it was made; null: not measured. */
  readonly recordedSize: number | null;
}

export interface CacheSnapshot {
  /** Folder of the driver; null for a layer, which knows its own. */
  readonly folder: string | null;
  readonly chainId: Digest | null;
  readonly parent: string | null;
  /** Bytes, as last measured; null: never. */
  readonly size: number | null;
}

export interface BuildCache {
  readonly records: readonly CacheRecord[];
  readonly snapshots: ReadonlyMap<string, CacheSnapshot>;
}

/** Null where there is no build cache. What cannot be read makes `records` unsure. */
export async function readBuildCache(records: Records, folder: BytePath): Promise<BuildCache | null> {
  const names = await records.names(folder);
  if (names.length === 0) return null;
  const snapshots = await readDatabase(records, joinPath(folder, "snapshots.db"), ({ root }) =>
    readSnapshots(root),
  );
  const found = await readDatabase(records, joinPath(folder, "metadata_v2.db"), ({ root }) =>
    readRecords(root),
  );
  return { records: found ?? [], snapshots: snapshots ?? new Map() };
}

async function readSnapshots(root: Bucket): Promise<Map<string, CacheSnapshot>> {
  const snapshots = new Map<string, CacheSnapshot>();
  for await (const { key, value } of root.entries()) {
    const name = textOf(key);
    const bucket = value === null ? await root.bucket(key) : null;
    if (!bucket) continue;
    const committed = textOf(await bucket.get("committed"));
    const made = committed === "" ? bucket : ((await root.bucket(committed)) ?? bucket);
    const chainId = parseDigest(textOf(await bucket.get("chainid"))) ?? parseDigest(name);
    const parent = textOf(await made.get("parent")) || textOf(await bucket.get("parent"));
    const own = committed || name;
    const folder = name.startsWith("sha256:") ? null : own;
    const size = textOf(await bucket.get("size"));
    const measured = /^\d{1,15}$/.test(size) ? Number(size) : null;
    snapshots.set(name, { folder, chainId, parent: parent || null, size: measured });
  }
  return snapshots;
}

async function readRecords(root: Bucket): Promise<CacheRecord[]> {
  const main = await root.bucket("_main");
  const records: CacheRecord[] = [];
  if (!main) return records;
  for await (const { key, value } of main.entries()) {
    const bucket = value === null ? await main.bucket(key) : null;
    if (!bucket) continue;
    const values = await valuesOf(bucket);
    // Of a pair that has the same content the engine lists the one that can still be written to.
    if (textIn(values, "cache.equalMutable") !== "" || values.get("cache.deleted") === "true") continue;
    records.push(recordOf(textOf(key), values));
  }
  return records;
}

/** The `value` of each key as JSON text, since numbers of nanoseconds are beyond 2^53. */
async function valuesOf(bucket: Bucket): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for await (const { key, value } of bucket.entries()) {
    const text = value === null ? "" : textOf(value);
    const match = /^\{"value":(-?\d+|true|false|"(?:[^"\\]|\\.)*"|\[[^\]]*\])[,}]/.exec(text);
    if (match) values.set(textOf(key), match[1]!);
  }
  return values;
}

function recordOf(id: string, values: ReadonlyMap<string, string>): CacheRecord {
  const size = numberIn(values, "snapshot.size");
  const parents = ["cache.parent", "cache.lowerDiffParent", "cache.upperDiffParent"].map((key) =>
    textIn(values, key),
  );
  return {
    id,
    type: textIn(values, "cache.recordType") || "regular",
    description: textIn(values, "cache.description"),
    createdAt: timeOf(values.get("cache.createdAt")),
    lastUsedAt: timeOf(values.get("cache.lastUsedAt")),
    usageCount: numberIn(values, "cache.usageCount") ?? 0,
    parents: [...new Set([...parents, ...textsIn(values, "cache.mergeParents")])].filter((one) => one !== ""),
    snapshot: textIn(values, "cache.snapshot") || id,
    recordedSize: size !== null && size >= 0 ? size : null,
  };
}

function textIn(values: ReadonlyMap<string, string>, key: string): string {
  const parsed = parsedOf(values.get(key));
  return typeof parsed === "string" ? parsed : "";
}

function textsIn(values: ReadonlyMap<string, string>, key: string): string[] {
  const parsed = parsedOf(values.get(key));
  return Array.isArray(parsed) ? parsed.filter((one) => typeof one === "string") : [];
}

function numberIn(values: ReadonlyMap<string, string>, key: string): number | null {
  const parsed = parsedOf(values.get(key));
  return typeof parsed === "number" && Number.isSafeInteger(parsed) ? parsed : null;
}

function parsedOf(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Nanoseconds since 1970 as Go's RFC3339Nano: a fraction without the zeros behind it. */
function timeOf(nanoseconds: string | undefined): string | null {
  if (nanoseconds === undefined || !/^\d{1,19}$/.test(nanoseconds)) return null;
  const all = BigInt(nanoseconds);
  const seconds = new Date(Number(all / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = String(all % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${seconds}${fraction === "" ? "" : `.${fraction}`}Z`;
}

function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? "" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}
