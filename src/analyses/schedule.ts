/** Work of very unequal size for the pool: the largest starts first, so that none is left alone at the end. */
import type { Run } from "../run.ts";

const BATCH_BYTES = 8 << 20;
const BATCH_COUNT = 128;

/** What one task takes: a large piece of work alone, small ones together. */
export interface Batch {
  /** Adds its progress, in bytes, to the BigInt64 in `counter`. */
  readonly work: (counter: SharedArrayBuffer) => Promise<void>;
  /** Of its largest piece. */
  readonly bytes: number;
}

export function batchesOf<Item>(
  items: readonly Item[],
  bytesOf: (item: Item) => number,
  work: (items: readonly Item[], counter: SharedArrayBuffer) => Promise<void>,
): Batch[] {
  const order = [...items.keys()].sort((a, b) => bytesOf(items[b]!) - bytesOf(items[a]!) || a - b);
  const batches: { items: Item[]; bytes: number }[] = [];
  let room = 0;
  for (const i of order) {
    const item = items[i]!;
    const bytes = bytesOf(item);
    const last = batches[batches.length - 1];
    if (!last || bytes > room || last.items.length === BATCH_COUNT) {
      batches.push({ items: [item], bytes });
      room = BATCH_BYTES - bytes;
    } else {
      last.items.push(item);
      room -= bytes;
    }
  }
  return batches.map((batch) => ({ bytes: batch.bytes, work: (counter) => work(batch.items, counter) }));
}

/** Does all batches, the largest first, so that each thread has its next one waiting; progress goes to the run. */
export async function runBatches(batches: readonly Batch[], run: Run): Promise<void> {
  const counter = new SharedArrayBuffer(8);
  const watch = watchCounter(counter, run);
  const order = [...batches].sort((a, b) => b.bytes - a.bytes);
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let batch = order[next++]; batch; batch = order[next++]) await batch.work(counter);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(run.pool.size * 2, order.length) }, lane));
  } finally {
    clearInterval(watch.timer);
    watch.report();
  }
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
