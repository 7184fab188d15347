/** What the facts of a blob mean for the digests that it is held against. */
import { displayPath } from "../byte-path.ts";
import type { BlobFacts, HexDigests, ScanWant } from "../bytes/scan.ts";
import { algorithmOf, type Digest, digestOf } from "../digest.ts";
import type { BlobNode, NodeId } from "../graph/graph.ts";
import type { StructureCheck } from "../stores/store.ts";
import type { Verdict } from "../verdict.ts";

export interface Check {
  readonly what: "layer" | "blob" | "config" | "manifest" | StructureCheck["what"];
  /** The digest that is checked, or the path where nothing records one. */
  readonly id: string;
  readonly verdict: Verdict;
  /** A digest; of a record, what it should say. */
  readonly expected: string | null;
  readonly actual: string | null;
  /** Bytes read for it: as stored, or of a tar that was rebuilt from files. */
  readonly bytes: number;
  /** Inside the source; null for what is not there. */
  readonly path: string | null;
  readonly source: string;
  /** Titles of images that need it, the first few. */
  readonly usedBy: readonly string[];
  readonly detail: string | null;
}

/** A blob to read, and what it is held against. */
export interface Item {
  readonly node: NodeId;
  readonly blob: BlobNode;
  readonly diffIds: readonly Digest[];
  readonly want: ScanWant;
}

/** An uncompressed layer named by its diffID: its layer check is that of its stored bytes as well. */
export function isNamedByDiffId(blob: BlobNode, diffIds: readonly Digest[]): boolean {
  return blob.digest !== null && diffIds.includes(blob.digest) && blob.compressed !== true;
}

/** One check a digest. */
export function checksOf(item: Item, facts: BlobFacts, source: string, usedBy: readonly string[]): Check[] {
  const { blob, diffIds } = item;
  const base = {
    bytes: facts.byteLength,
    path: blob.path === null ? null : displayPath(blob.path),
    source,
    usedBy,
  };
  const what =
    blob.role === "config"
      ? "config"
      : blob.role === "manifest" || blob.role === "index"
        ? "manifest"
        : "blob";
  const whole = wholeVerdict(blob, facts);
  const checks: Check[] = [];
  const asLayer = diffIds.map((diffId) => {
    const judged = whole ?? unpackedVerdict(blob, diffId, facts);
    return { ...base, what: "layer" as const, id: diffId, expected: diffId, ...judged };
  });
  if (blob.digest && !isNamedByDiffId(blob, diffIds)) {
    const judged = whole ?? storedVerdict(blob, blob.digest, facts);
    checks.push({ ...base, what, id: blob.digest, expected: blob.digest, ...judged });
  } else if (!blob.digest && asLayer.length === 0) {
    const judged = whole ?? {
      verdict: "unverifiable" as const,
      actual: null,
      detail: "nothing records its digest",
    };
    const id = base.path ?? "";
    checks.push({ ...base, what: blob.role === "layer" ? "layer" : what, id, expected: null, ...judged });
  }
  return [...checks, ...asLayer];
}

type Judged = Pick<Check, "verdict" | "actual" | "detail">;

/** What can be said without digests: the blob could not be read to its end. */
function wholeVerdict(blob: BlobNode, facts: BlobFacts): Judged | null {
  if (blob.cutShort > 0) {
    const detail = `the source ends ${blob.cutShort} bytes before it does`;
    return { verdict: "truncated", actual: null, detail };
  }
  if (facts.failure?.where !== "stored") return null;
  const verdict = facts.failure.kind === "truncated" ? "truncated" : "unreadable";
  return { verdict, actual: null, detail: facts.failure.message };
}

function storedVerdict(blob: BlobNode, expected: Digest, facts: BlobFacts): Judged {
  const actual = actualOf(expected, facts.stored);
  if (actual === undefined) return unknownAlgorithm(expected);
  if (actual === expected) return rightBytes(blob, actual);
  const { expectedLength: length, byteLength } = blob;
  const short = length !== null && byteLength < length;
  return { verdict: short ? "truncated" : "corrupt", actual, detail: wrongLength(blob) };
}

function unpackedVerdict(blob: BlobNode, expected: Digest, facts: BlobFacts): Judged {
  const { failure } = facts;
  if (failure) {
    const verdict = failure.kind === "format" ? "corrupt" : failure.kind;
    return { verdict, actual: null, detail: failure.message };
  }
  const actual = actualOf(expected, facts.unpacked);
  if (actual === undefined) return unknownAlgorithm(expected);
  if (actual !== expected) return { verdict: "corrupt", actual, detail: null };
  return blob.digest === expected ? rightBytes(blob, actual) : { verdict: "ok", actual, detail: null };
}

/** The stored bytes are those of their digest; their descriptor may still give another length. */
function rightBytes(blob: BlobNode, actual: Digest): Judged {
  const detail = wrongLength(blob);
  return { verdict: detail === null ? "ok" : "drifted", actual, detail };
}

function wrongLength({ expectedLength, byteLength }: BlobNode): string | null {
  if (expectedLength === null || expectedLength === byteLength) return null;
  return `${byteLength} bytes, where its descriptor says ${expectedLength}`;
}

/** Undefined: that digest was not taken. */
function actualOf(expected: Digest, found: HexDigests): Digest | undefined {
  const algorithm = algorithmOf(expected);
  const hex = algorithm && found[algorithm];
  return algorithm && hex ? digestOf(algorithm, hex) : undefined;
}

export function unknownAlgorithm(expected: Digest): Judged {
  const name = expected.slice(0, expected.indexOf(":"));
  const detail = algorithmOf(expected)
    ? `its ${name} was not taken in the single pass over the source; give --tmp DIR`
    : `there is no ${name} here`;
  return { verdict: "unverifiable", actual: null, detail };
}
