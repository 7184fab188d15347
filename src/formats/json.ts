/**
 * JSON as found in stores: hostile until checked. Numbers keep their meaning up to 2^53 only.
 */
import { FormatError } from "../errors.ts";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json };

/** Larger documents are refused: the manifest.json of 10,000 images takes some 16 MB, a config some kB. */
export const JSON_LIMIT = 64 << 20;

export function parseJson(bytes: Uint8Array, what: string): Json {
  if (bytes.length === 0) throw new FormatError("json", `${what}: empty, where JSON was expected`);
  try {
    // JSON.parse takes no byte order mark, and neither do the engines.
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")) as Json;
  } catch (error) {
    throw new FormatError("json", `${what}: no JSON: ${(error as Error).message.slice(0, 120)}`, null, {
      cause: error,
    });
  }
}

export function asObject(value: Json | undefined, what: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw wrong(value, "an object", what);
}

export function asArray(value: Json | undefined, what: string): readonly Json[] {
  if (Array.isArray(value)) return value as readonly Json[];
  throw wrong(value, "an array", what);
}

export function asString(value: Json | undefined, what: string): string {
  if (typeof value === "string") return value;
  throw wrong(value, "a string", what);
}

/** The value when it is a string, else null: for fields that only inform. */
export function stringOrNull(value: Json | undefined): string | null {
  return typeof value === "string" ? value : null;
}

/** Absent and null count as empty, as Go's encoding/json reads them. */
export function stringsOrEmpty(value: Json | undefined, what: string): string[] {
  if (value === undefined || value === null) return [];
  return asArray(value, what).map((item, i) => asString(item, `${what}[${i}]`));
}

/** String values of an object; others are passed over. */
export function stringMap(value: Json | undefined): Record<string, string> {
  const map: Record<string, string> = Object.create(null);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return map;
  for (const [key, item] of Object.entries(value)) if (typeof item === "string") map[key] = item;
  return map;
}

function wrong(value: Json | undefined, expected: string, what: string): FormatError {
  const got = value === undefined ? "nothing" : (JSON.stringify(value) ?? "").slice(0, 40);
  return new FormatError("json", `${what}: expected ${expected}, got ${got}`);
}
