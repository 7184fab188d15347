/** Does the content match its digests? Every stored blob is read once, in the worker pool, largest first. */
import { displayPath } from "../byte-path.ts";
import { type BlobFacts, type HexDigests, type ScanWant, scanBytes } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import { type Algorithm, algorithmOf, type Digest, digestOf } from "../digest.ts";
import { messageOf } from "../errors.ts";
import type { BlobNode, NodeId } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import { type Holdings, titleOf } from "./holdings.ts";

export const VERDICTS = [
  "ok",
  "corrupt",
  "truncated",
  "missing",
  "unreadable",
  "discarded",
  "unverifiable",
  "drifted",
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Verdicts that mean damage. */
export const DAMAGE: readonly Verdict[] = ["corrupt", "truncated", "missing"];

export interface Check {
  readonly what: "layer" | "blob" | "config" | "manifest";
  /** The digest that is checked, or the path where nothing records one. */
  readonly id: string;
  readonly verdict: Verdict;
  readonly expected: Digest | null;
  readonly actual: Digest | null;
  /** Stored bytes read for it. */
  readonly bytes: number;
  /** Inside the source; null for what is not there. */
  readonly path: string | null;
  readonly source: string;
  /** Titles of images that need it, the first few. */
  readonly usedBy: readonly string[];
  readonly detail: string | null;
}

export interface VerifyResult {
  readonly checked: readonly Check[];
  readonly summary: Readonly<Record<Verdict, number>>;
  readonly throughput: { readonly bytes: number; readonly seconds: number };
}

/** A blob to read, and what it is held against. */
interface Item {
  readonly node: NodeId;
  readonly blob: BlobNode;
  readonly diffIds: readonly Digest[];
  readonly want: ScanWant;
}

export async function verify(holdings: Holdings, run: Run): Promise<VerifyResult> {
  const started = performance.now();
  const items = itemsOf(holdings);
  const total = items.reduce((sum, item) => sum + (wantsRead(item) ? item.blob.byteLength : 0), 0);
  run.progress.begin("verifying", total);
  const facts = await scanAll(holdings, items, run);
  run.progress.end();
  const checked: Check[] = [];
  for (const [i, item] of items.entries()) {
    for (const check of checksOf(holdings, item, facts[i]!))
      checked.push(await located(holdings, item, check, run));
  }
  checked.push(...absences(holdings));
  const summary = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  for (const check of checked) summary[check.verdict]++;
  const bytes = facts.reduce((sum, one) => sum + one.byteLength, 0);
  return { checked, summary, throughput: { bytes, seconds: (performance.now() - started) / 1000 } };
}

function itemsOf(holdings: Holdings): Item[] {
  const diffIds = new Map<NodeId, Set<Digest>>();
  for (const node of holdings.graph.nodes) {
    if (node.kind !== "layer" || node.blob === null || !node.diffId) continue;
    diffIds.set(node.blob, (diffIds.get(node.blob) ?? new Set()).add(node.diffId));
  }
  return holdings.graph.nodes.flatMap((blob, node): Item[] => {
    if (blob.kind !== "blob") return [];
    const layers = [...(diffIds.get(node) ?? [])];
    const algorithms = (digests: readonly (Digest | null)[]): Algorithm[] =>
      [...new Set(digests.map((one) => one && algorithmOf(one)))].filter((one) => one !== null);
    // An uncompressed layer named by its diffID is one check, not two of the same bytes.
    const stored =
      blob.digest && layers.includes(blob.digest) && blob.compressed !== true ? [] : [blob.digest];
    return [
      { node, blob, diffIds: layers, want: { stored: algorithms(stored), unpacked: algorithms(layers) } },
    ];
  });
}

function wantsRead(item: Item): boolean {
  return item.want.stored.length + item.want.unpacked.length > 0;
}

const BATCH_BYTES = 8 << 20;
const BATCH_COUNT = 128;

/** Facts in the order of `items`. Large blobs start first, so that none is left alone at the end; small ones go in batches. */
async function scanAll(holdings: Holdings, items: readonly Item[], run: Run): Promise<BlobFacts[]> {
  const facts = new Array<BlobFacts>(items.length).fill(NOT_READ);
  const counter = new SharedArrayBuffer(8);
  const watch = watchCounter(counter, run);
  const order = [...items.keys()].filter((i) => wantsRead(items[i]!));
  order.sort((a, b) => items[b]!.blob.byteLength - items[a]!.blob.byteLength || a - b);
  const batches: number[][] = [];
  let room = 0;
  for (const i of order) {
    const size = items[i]!.blob.byteLength;
    const last = batches[batches.length - 1];
    if (!last || size > room || last.length === BATCH_COUNT) {
      batches.push([i]);
      room = BATCH_BYTES - size;
    } else {
      last.push(i);
      room -= size;
    }
  }
  try {
    await inParallel(batches, run.pool.size * 2, async (batch) => {
      for (const [i, found] of await scanBatch(holdings, items, batch, counter, run)) facts[i] = found;
    });
  } finally {
    clearInterval(watch.timer);
    watch.report();
  }
  return facts;
}

/** A blob in a file is left to a thread, which opens it itself; one that exists only in memory is done here. */
async function scanBatch(
  holdings: Holdings,
  items: readonly Item[],
  batch: readonly number[],
  counter: SharedArrayBuffer,
  run: Run,
): Promise<[number, BlobFacts][]> {
  const results: [number, BlobFacts][] = [];
  const remote: { i: number; label: string; range: NonNullable<ByteSource["range"]>; want: ScanWant }[] = [];
  for (const i of batch) {
    const { node, want } = items[i]!;
    const store = holdings.storeOf(node);
    const known = store.facts(holdings.ownId(node));
    if (known) {
      results.push([i, known]);
      continue;
    }
    try {
      const source = await store.open(holdings.ownId(node));
      if (source.range) remote.push({ i, label: source.label, range: source.range, want });
      else results.push([i, await scanBytes(source.stream(), want, source.label)]);
      await source.close();
    } catch (error) {
      const failure = {
        kind: "unreadable",
        where: "stored",
        message: messageOf(error),
        offset: null,
      } as const;
      results.push([i, { ...NOT_READ, failure }]);
    }
  }
  if (remote.length === 0) return results;
  const blobs = remote.map(({ label, range, want }) => ({ label, range, want }));
  const found = await run.pool.run("scan", { blobs, counter });
  for (const [k, one] of found.entries()) results.push([remote[k]!.i, one]);
  return results;
}

const NOT_READ: BlobFacts = {
  byteLength: 0,
  stored: {},
  compression: null,
  unpackedLength: null,
  unpacked: {},
  failure: null,
};

/** Hands out work so that `width` pieces are under way at any time. */
async function inParallel<Item>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
}

function watchCounter(counter: SharedArrayBuffer, run: Run): { timer: NodeJS.Timeout; report: () => void } {
  const cell = new BigInt64Array(counter);
  let seen = 0;
  const report = (): void => {
    const now = Number(Atomics.load(cell, 0));
    run.progress.advance(now - seen);
    seen = now;
  };
  const timer = setInterval(report, 100);
  timer.unref();
  return { timer, report };
}

function checksOf(holdings: Holdings, item: Item, facts: BlobFacts): Check[] {
  const { blob, node, diffIds } = item;
  const base = {
    bytes: facts.byteLength,
    path: blob.path === null ? null : displayPath(blob.path),
    source: holdings.storeOf(node).source,
    usedBy: usersOf(holdings, node),
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
  const covered = blob.digest !== null && diffIds.includes(blob.digest) && blob.compressed !== true;
  if (blob.digest && !covered) {
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

function unknownAlgorithm(expected: Digest): Judged {
  const name = expected.slice(0, expected.indexOf(":"));
  const detail = algorithmOf(expected)
    ? `its ${name} was not taken in the single pass over the source; give --tmp DIR`
    : `there is no ${name} here`;
  return { verdict: "unverifiable", actual: null, detail };
}

/** Adds where the damage of a layer begins, when that can be told. */
async function located(holdings: Holdings, item: Item, check: Check, run: Run): Promise<Check> {
  if (check.verdict !== "corrupt" && check.verdict !== "truncated") return check;
  if (item.blob.role !== "layer") return check;
  const store = holdings.storeOf(item.node);
  try {
    const source = await store.open(holdings.ownId(item.node));
    await source.close();
    if (!source.range) return check;
    const place = await run.pool.run("locate", { label: source.label, range: source.range });
    const unknown = "where in it cannot be told: the tar is well formed to its end";
    const parts = [check.detail, place ?? (check.detail === null ? unknown : null)].filter(
      (one) => one !== null,
    );
    return { ...check, detail: parts.join("; ") || null };
  } catch (error) {
    return { ...check, detail: [check.detail, messageOf(error)].filter(Boolean).join("; ") };
  }
}

const SHOWN_USERS = 20;

function usersOf(holdings: Holdings, node: NodeId): string[] {
  return holdings
    .usersOf(node)
    .slice(0, SHOWN_USERS)
    .map((id) => titleOf(holdings.image(id)));
}

/** What images refer to and the sources do not have, each once. */
function absences(holdings: Holdings): Check[] {
  const checks = new Map<string, Check>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    const { source } = holdings.storeOf(id);
    for (const { what, digest, name, verdict, because } of image.absent) {
      const key = `${source} ${what} ${name} ${verdict}`;
      const before = checks.get(key);
      const usedBy = [...(before?.usedBy ?? []), titleOf(image)].slice(0, SHOWN_USERS);
      const detail = because;
      checks.set(key, {
        what,
        id: name,
        verdict,
        expected: digest,
        actual: null,
        bytes: 0,
        path: null,
        source,
        usedBy,
        detail,
      });
    }
  }
  return [...checks.values()];
}
