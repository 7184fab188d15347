/**
 * `volumes/metadata.db`: bbolt, a bucket `volumes` from names to JSON `{Name, Driver, Labels, Options}`.
 * Follows moby daemon/volume/service/db.go.
 */
import { type BytePath, joinPath } from "../../byte-path.ts";
import { FormatError } from "../../errors.ts";
import { asObject, parseJson, stringMap, stringOrNull } from "../../formats/json.ts";
import { readDatabase } from "./databases.ts";
import type { Records } from "./records.ts";

export interface VolumeRecord {
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

/** By name, one char a byte; empty where the list is not there. */
export async function readVolumeRecords(
  records: Records,
  folder: BytePath,
): Promise<Map<string, VolumeRecord>> {
  const path = joinPath(folder, "metadata.db");
  const volumes = new Map<string, VolumeRecord>();
  if ((await records.tree.lstat(path))?.type !== "file") return volumes;
  await readDatabase(records, path, async ({ root }) => {
    const bucket = await root.bucket("volumes");
    for await (const { key, value } of bucket?.entries() ?? []) {
      const record = value && parseRecord(value, path);
      if (record) volumes.set(Buffer.from(key).toString("latin1"), record);
    }
  });
  return volumes;
}

function parseRecord(value: Uint8Array, what: string): VolumeRecord | null {
  try {
    const json = asObject(parseJson(value, what), what);
    return {
      driver: stringOrNull(json.Driver) ?? "",
      labels: stringMap(json.Labels),
      options: stringMap(json.Options),
    };
  } catch (error) {
    if (error instanceof FormatError) return null; // the volume is there all the same
    throw error;
  }
}
