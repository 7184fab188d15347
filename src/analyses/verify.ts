/** Does the content match its digests? Every stored blob is read once, in the worker pool, largest first. */
import { displayPath, ROOT } from "../byte-path.ts";
import { type BlobFacts, type ScanWant, scanBytes } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import { type Algorithm, algorithmOf, type Digest } from "../digest.ts";
import { InterruptedError, messageOf } from "../errors.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import type { Store, UnpackedLayer } from "../stores/store.ts";
import { VERDICTS, type Verdict } from "../verdict.ts";
import { type Holdings, titleOf } from "./holdings.ts";
import { type Reassembled, reassemble } from "./reassemble.ts";
import { type Check, checksOf, type Item, isNamedByDiffId } from "./verdicts.ts";

export interface VerifyResult {
  readonly checked: readonly Check[];
  readonly summary: Readonly<Record<Verdict, number>>;
  readonly throughput: { readonly bytes: number; readonly seconds: number };
}

export async function verify(holdings: Holdings, run: Run): Promise<VerifyResult> {
  const started = performance.now();
  const items = itemsOf(holdings);
  const total = items.reduce((sum, item) => sum + (wantsRead(item) ? item.blob.byteLength : 0), 0);
  run.progress.begin("verifying", total);
  const facts = await scanAll(holdings, items, run);
  run.progress.end();
  const users = userTitles(holdings);
  const unpacked = unpackedLayers(holdings);
  const rebuilt = await reassembleAll(unpacked, run);
  const known = knownDigests(items);
  const checked: Check[] = [];
  for (const [i, item] of items.entries()) {
    const checks = checksOf(item, facts[i]!, holdings.storeOf(item.node).source, users(item.node));
    if (checks.some(isDamaged)) checked.push(...(await explained(holdings, item, checks, known, run)));
    else checked.push(...checks);
  }
  for (const [i, layer] of unpacked.entries())
    checked.push(layerCheck(holdings, layer, rebuilt[i]!, users(layer.node)));
  checked.push(...absences(holdings), ...(await structure(holdings, users)));
  const summary = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  for (const check of checked) summary[check.verdict]++;
  const read = [...facts.map((one) => one.byteLength), ...rebuilt.map((one) => one.bytes)];
  const bytes = read.reduce((sum, one) => sum + one, 0);
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

interface Unpacked {
  readonly node: NodeId;
  readonly store: Store;
  readonly diffId: Digest;
  readonly layer: UnpackedLayer;
  /** Bytes, about. */
  readonly size: number;
}

/** Layers that are kept as files; those whose diffID is unknown have nothing to be compared with. */
function unpackedLayers(holdings: Holdings): Unpacked[] {
  return holdings.graph.nodes.flatMap((node, id): Unpacked[] => {
    if (node.kind !== "layer" || node.blob !== null || !node.diffId) return [];
    const store = holdings.storeOf(id);
    const layer = store.unpacked(holdings.ownId(id));
    return layer ? [{ node: id, store, diffId: node.diffId, layer, size: node.recorded ?? 0 }] : [];
  });
}

/** On the host in threads, in batches, large ones first; in other trees here, one after the other. */
async function reassembleAll(layers: readonly Unpacked[], run: Run): Promise<Reassembled[]> {
  const results = new Array<Reassembled>(layers.length);
  const counter = new SharedArrayBuffer(8);
  const watch = watchCounter(counter, run);
  const remote = new Map<Store, number[]>();
  try {
    for (const [i, { store, layer, diffId }] of layers.entries()) {
      if (store.tree.hostPath(ROOT) === null) {
        if (run.signal.aborted) throw new InterruptedError("interrupted");
        results[i] = await reassemble(store.tree, layer, diffId, (count) => run.progress.advance(count));
      } else remote.set(store, [...(remote.get(store) ?? []), i]);
    }
    for (const [store, indexes] of remote) {
      const root = Buffer.from(store.tree.hostPath(ROOT)!, "latin1").toString("utf8");
      const batches = batchesOf(indexes, (i) => layers[i]!.size);
      await inParallel(batches, run.pool.size * 2, async (batch) => {
        const job = { root, label: store.source, layers: batch.map((i) => layers[i]!), counter };
        const wanted = job.layers.map(({ layer, diffId }) => ({ layer, diffId }));
        const found = await run.pool.run("reassemble", { ...job, layers: wanted });
        for (const [k, one] of found.entries()) results[batch[k]!] = one;
      });
    }
  } finally {
    clearInterval(watch.timer);
    watch.report();
  }
  return results;
}

function layerCheck(
  holdings: Holdings,
  { node, diffId, layer }: Unpacked,
  { verdict, actual, bytes, detail }: Reassembled,
  usedBy: readonly string[],
): Check {
  const { source } = holdings.storeOf(node);
  const base = {
    what: "layer",
    id: diffId,
    expected: diffId,
    source,
    usedBy,
    path: displayPath(layer.folder),
  } as const;
  return { ...base, verdict, actual, bytes, detail };
}

const BATCH_BYTES = 8 << 20;
const BATCH_COUNT = 128;

/** Facts in the order of `items`. */
async function scanAll(holdings: Holdings, items: readonly Item[], run: Run): Promise<BlobFacts[]> {
  const facts = new Array<BlobFacts>(items.length).fill(NOT_READ);
  const counter = new SharedArrayBuffer(8);
  const watch = watchCounter(counter, run);
  const wanted = [...items.keys()].filter((i) => wantsRead(items[i]!));
  const batches = batchesOf(wanted, (i) => items[i]!.blob.byteLength);
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

/** Largest first, so that none is left alone at the end; small ones together. */
function batchesOf(items: readonly number[], sizeOf: (item: number) => number): number[][] {
  const order = [...items].sort((a, b) => sizeOf(b) - sizeOf(a) || a - b);
  const batches: number[][] = [];
  let room = 0;
  for (const item of order) {
    const size = sizeOf(item);
    const last = batches[batches.length - 1];
    if (!last || size > room || last.length === BATCH_COUNT) {
      batches.push([item]);
      room = BATCH_BYTES - size;
    } else {
      last.push(item);
      room -= size;
    }
  }
  return batches;
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

/** What images refer to and the sources do not have, each once. */
function absences(holdings: Holdings): Check[] {
  const checks = new Map<string, Check>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    const { source } = holdings.storeOf(id);
    for (const { what, digest, name, path, verdict, because } of image.absent) {
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
