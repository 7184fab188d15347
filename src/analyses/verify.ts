/**
 * Does the content match its digests? Every stored blob is read once, and every layer that is kept as files put
 * together once, in the worker pool, largest first.
 */
import { displayPath } from "../byte-path.ts";
import { type BlobFacts, type ScanWant, scanBytes } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import { type Algorithm, algorithmOf, type Digest } from "../digest.ts";
import { InterruptedError, messageOf } from "../errors.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import { VERDICTS, type Verdict } from "../verdict.ts";
import { type Holdings, titleOf } from "./holdings.ts";
import {
  type Judged,
  type UnpackedItem,
  unpackedBatches,
  unpackedCheck,
  unpackedItems,
} from "./reassembly.ts";
import { batchesOf, runBatches } from "./schedule.ts";
import { type Check, checksOf, type Item, isNamedByDiffId } from "./verdicts.ts";

export interface VerifyResult {
  readonly checked: readonly Check[];
  readonly summary: Readonly<Record<Verdict, number>>;
  readonly throughput: { readonly bytes: number; readonly seconds: number };
}

export async function verify(holdings: Holdings, run: Run): Promise<VerifyResult> {
  const started = performance.now();
  const items = itemsOf(holdings);
  const layers = unpackedItems(holdings);
  const { facts, judged } = await readAll(holdings, items, layers, run);
  const users = userTitles(holdings);
  const known = knownDigests(items);
  const checked: Check[] = [];
  for (const [i, item] of items.entries()) {
    const checks = checksOf(item, facts[i]!, holdings.storeOf(item.node).source, users(item.node));
    if (checks.some(isDamaged)) checked.push(...(await explained(holdings, item, checks, known, run)));
    else checked.push(...checks);
  }
  for (const item of layers) {
    checked.push(unpackedCheck(item, judged.get(item)!, item.store.source, users(item.node)));
  }
  checked.push(...absences(holdings, layers), ...(await structure(holdings, users)));
  const summary = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  for (const check of checked) summary[check.verdict]++;
  const stored = facts.reduce((sum, one) => sum + one.byteLength, 0);
  const bytes = [...judged.values()].reduce((sum, one) => sum + one.bytes, stored);
  const earlier = holdings.stores.reduce((sum, store) => sum + (store.passSeconds ?? 0), 0);
  return { checked, summary, throughput: { bytes, seconds: earlier + (performance.now() - started) / 1000 } };
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
    const stored = isNamedByDiffId(blob, layers) ? [] : [blob.digest];
    return [
      { node, blob, diffIds: layers, want: { stored: algorithms(stored), unpacked: algorithms(layers) } },
    ];
  });
}

function wantsRead(item: Item): boolean {
  return item.want.stored.length + item.want.unpacked.length > 0;
}

/** What each blob is, in the order of `items`, and each layer that is kept as files. */
async function readAll(
  holdings: Holdings,
  items: readonly Item[],
  layers: readonly UnpackedItem[],
  run: Run,
): Promise<{ facts: BlobFacts[]; judged: Map<UnpackedItem, Judged> }> {
  const facts = new Array<BlobFacts>(items.length).fill(NOT_READ);
  const judged = new Map<UnpackedItem, Judged>();
  const wanted = [...items.keys()].filter((i) => wantsRead(items[i]!));
  const lengthOf = (i: number): number => items[i]!.blob.byteLength;
  const scans = batchesOf(wanted, lengthOf, async (batch, counter) => {
    for (const [i, found] of await scanBatch(holdings, items, batch, counter, run)) facts[i] = found;
  });
  const total = wanted.reduce((sum, i) => sum + lengthOf(i), 0);
  run.progress.begin(
    "verifying",
    layers.reduce((sum, { bytes }) => sum + bytes, total),
  );
  await runBatches([...scans, ...unpackedBatches(layers, run, judged)], run);
  run.progress.end();
  return { facts, judged };
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

function isDamaged(check: Check): boolean {
  return check.verdict === "corrupt" || check.verdict === "truncated";
}

/** What each digest in the sources names, to recognise the bytes of one under the name of another. */
function knownDigests(items: readonly Item[]): ReadonlySet<string> {
  return new Set(items.flatMap(({ blob, diffIds }) => (blob.digest ? [blob.digest, ...diffIds] : diffIds)));
}

/** Adds to the checks of one damaged blob what can be told of the damage: its place, or whose bytes these are. */
async function explained(
  holdings: Holdings,
  item: Item,
  checks: readonly Check[],
  known: ReadonlySet<string>,
  run: Run,
): Promise<Check[]> {
  const place = item.blob.role === "layer" ? await placeOfDamage(holdings, item, run) : undefined;
  const intact = checks.some((check) => check.what === "layer" && check.verdict === "ok");
  return checks.map((check): Check => {
    if (!isDamaged(check)) return check;
    if (check.actual && known.has(check.actual)) {
      return { ...check, verdict: "corrupt", detail: `these are the bytes of ${check.actual}` };
    }
    if (intact) {
      const detail = "what it unpacks to is right (its diff_id matches): only the compressed form differs";
      return { ...check, verdict: "corrupt", detail };
    }
    if (place === undefined) return check; // no layer, or nothing to read it from
    if (place !== null) return { ...check, detail: place };
    // Well formed to its end: it is not cut off, it is something else.
    const detail = check.detail ?? "where in it cannot be told: the tar is well formed to its end";
    return { ...check, verdict: item.blob.cutShort > 0 ? check.verdict : "corrupt", detail };
  });
}

/** Null: the layer is well formed all through. Undefined: it cannot be read again. */
async function placeOfDamage(holdings: Holdings, item: Item, run: Run): Promise<string | null | undefined> {
  const store = holdings.storeOf(item.node);
  try {
    const source = await store.open(holdings.ownId(item.node));
    await source.close();
    return source.range
      ? await run.pool.run("locate", { label: source.label, range: source.range })
      : undefined;
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    return undefined; // what there is to say about reading it, its verdict says
  }
}

/** What readers found of the records of their stores. */
async function structure(holdings: Holdings, users: (node: NodeId) => readonly string[]): Promise<Check[]> {
  const found: Check[] = [];
  for (const store of holdings.stores) {
    for (const { node, path, ...check } of await store.checks()) {
      const usedBy = node === undefined ? [] : users(holdings.idIn(store, node));
      const place = path === null ? null : displayPath(path);
      found.push({ ...check, bytes: 0, path: place, source: store.source, usedBy });
    }
  }
  return found;
}

const SHOWN_USERS = 20;

/** Titles of the images that need a node, the first few; one list for all nodes of the same users. */
function userTitles(holdings: Holdings): (node: NodeId) => readonly string[] {
  const lists = new Map<number, readonly string[]>();
  const { users } = holdings;
  return (node) => {
    const set = users?.setOf[node] ?? 0;
    const known = lists.get(set);
    if (known) return known;
    const first = [...(users?.sets[set] ?? [])].slice(0, SHOWN_USERS);
    const titles = first.map((unit) => titleOf(holdings.image(holdings.images[unit]!)));
    lists.set(set, titles);
    return titles;
  };
}

/** What images refer to and the sources do not have, each once; layers looked at as files were told of with them. */
function absences(holdings: Holdings, layers: readonly UnpackedItem[]): Check[] {
  const told = new Set(layers.map(({ store, diffId }) => `${store.source} ${diffId}`));
  const checks = new Map<string, Check>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    const { source } = holdings.storeOf(id);
    for (const { what, digest, name, path, verdict, because } of image.absent) {
      if (what === "layer" && told.has(`${source} ${digest}`)) continue;
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
        path,
        source,
        usedBy,
        detail,
      });
    }
  }
  return [...checks.values()];
}
