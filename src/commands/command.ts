/** What a command is, and what all commands share. */
import type { Command as Flags } from "commander";
import type { Holdings } from "../analyses/holdings.ts";
import { UsageError } from "../errors.ts";
import type { JsonObject, Json as JsonValue } from "../formats/json.ts";
import type { Size } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import type { Need } from "../trees/tar.ts";
import type { TextStyle } from "../views/style.ts";

export type { Json as JsonValue, JsonObject } from "../formats/json.ts";

/** Options as commander parsed them. */
export type RawOptions = Readonly<Record<string, unknown>>;

/** A row that `--format` prints, by field. */
export type TemplateRow = Readonly<Record<string, unknown>>;

export interface Command<Options, Result> {
  /** What stands after the command's name: sources, IMAGEs, or places inside sources (paths, IDs, digests). */
  readonly takes: "sources" | "images" | "places";
  /** Takes `--sort`: its rows have no order of their own. */
  readonly sorts?: boolean;
  /** Prints IDs alone with `--quiet`. */
  readonly printsIds?: boolean;
  flags(flags: Flags): void;
  /** Throws UsageError. `names` are the arguments of a command that takes images. */
  options(raw: RawOptions, names: readonly string[], run: Run): Promise<Options> | Options;
  /** What it asks of archives that can be read only once. */
  need(options: Options): Need;
  /** How many of the largest files of a store it names. */
  largest?(options: Options): number;
  analyse(holdings: Holdings, options: Options, run: Run): Promise<Result>;
  text(result: Result, style: TextStyle, options: Options): string;
  json(result: Result, options: Options): JsonObject;
  /** Rows for `--format`, with the titles of their columns; without it the template is given the JSON object. */
  rows?(result: Result, style: TextStyle, options: Options): Rows;
  exitCode(result: Result): 0 | 1 | 4;
}

export interface Rows {
  readonly rows: readonly TemplateRow[];
  readonly titles: Readonly<Record<string, string>>;
  /** Of `--format table` alone. */
  readonly table: string;
}

/** What was read: the head of every JSON output. */
export function sourcesJson(holdings: Holdings): JsonObject[] {
  return holdings.stores.map(({ source, kind, engine, root, remarks }) => {
    return { path: source, kind, engine, root, ...(remarks.length > 0 ? { remarks } : {}) };
  });
}

export function sizeJson(size: Size): JsonObject {
  return { apparent: size.apparent, allocated: size.allocated, inodes: size.inodes };
}

/** Puts rows in the order of `field` of their JSON: numbers and sizes largest first, text A to Z; `-field` turns it round. */
export function sortRows<Row>(
  rows: readonly Row[],
  field: string | null,
  toJson: (row: Row) => JsonObject,
): Row[] {
  if (field === null) return [...rows];
  const backwards = field.startsWith("-");
  const path = (backwards ? field.slice(1) : field).split(".");
  const keys = new Map(rows.map((row) => [row, keyAt(toJson(row), path)]));
  if (rows.length > 0 && [...keys.values()].every((key) => key === undefined)) {
    const known = Object.keys(toJson(rows[0]!)).join(", ");
    throw new UsageError(`--sort ${field}: no such field; there are ${known}`);
  }
  const sorted = [...rows].sort((a, b) => compare(keys.get(a), keys.get(b)));
  return backwards ? sorted.reverse() : sorted;
}

function keyAt(value: JsonValue, path: readonly string[]): JsonValue | undefined {
  let at: JsonValue | undefined = value;
  for (const key of path) at = typeof at === "object" && at !== null ? (at as JsonObject)[key] : undefined;
  if (typeof at === "object" && at !== null && "apparent" in at) return at.allocated ?? at.apparent;
  return Array.isArray(at) ? at[0] : at;
}

function compare(a: JsonValue | undefined, b: JsonValue | undefined): number {
  if (typeof a === "number" && typeof b === "number") return b - a;
  if (a == null || b == null) return a == null ? (b == null ? 0 : 1) : -1;
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

export function optionalText(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? (value as string[]) : [];
}

/** For flags that may be repeated. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** A whole number that is not negative. Throws UsageError. */
export function parseCount(text: unknown, option: string): number | null {
  if (text === undefined) return null;
  if (typeof text === "string" && /^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${option} ${String(text)}: expected a whole number`);
}
