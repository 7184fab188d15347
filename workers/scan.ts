/** Takes the digests of a batch of blobs, each by opening its file itself. */
import { type BlobFacts, type ScanWant, scanBytes } from "../src/bytes/scan.ts";
import { type FileRange, RangeOpener } from "../src/bytes/source.ts";
import { messageOf } from "../src/errors.ts";

export interface ScanJob {
  readonly blobs: readonly { readonly label: string; readonly range: FileRange; readonly want: ScanWant }[];
  /** Counts bytes read, for a progress bar: one BigInt64, shared by all threads. */
  readonly counter: SharedArrayBuffer | null;
}

/** In the order of the job's blobs. */
export type ScanResult = readonly BlobFacts[];

export default async function scan(job: ScanJob): Promise<ScanResult> {
  const counter = job.counter && new BigInt64Array(job.counter);
  const count = (bytes: number): void => {
    if (counter) Atomics.add(counter, 0, BigInt(bytes));
  };
  const results: BlobFacts[] = [];
  const files = new RangeOpener();
  for (const { label, range, want } of job.blobs) {
    try {
      const source = await files.open(label, range);
      results.push(await scanBytes(source.stream(), want, label, count));
    } catch (error) {
      results.push(unreadable(messageOf(error)));
    }
  }
  await files.close();
  return results;
}

function unreadable(message: string): BlobFacts {
  return {
    byteLength: 0,
    stored: {},
    compression: null,
    unpackedLength: null,
    unpacked: {},
    failure: { kind: "unreadable", where: "stored", message, offset: null },
  };
}
