/** Puts a batch of layers together again from their tar-splits and folders, opening the files itself. */
import { HostFolder, readHostFile } from "../src/bytes/folder.ts";
import type { Digest } from "../src/digest.ts";
import { type LayerFacts, reassembleLayer } from "../src/formats/reassemble.ts";

export interface ReassembleJob {
  /** Paths of the host, one char = one byte, with no link in them but below a layer's folder. */
  readonly layers: readonly {
    readonly label: string;
    readonly diffId: Digest;
    readonly tarSplit: string;
    readonly folder: string;
    readonly isDiff: boolean;
  }[];
  /** Counts bytes put together, for a progress bar: one BigInt64, shared by all threads. */
  readonly counter: SharedArrayBuffer | null;
}

/** In the order of the job's layers. */
export type ReassembleResult = readonly LayerFacts[];

export default async function reassemble(job: ReassembleJob): Promise<ReassembleResult> {
  const counter = job.counter && new BigInt64Array(job.counter);
  const count = (bytes: number): void => {
    if (counter) Atomics.add(counter, 0, BigInt(bytes));
  };
  const results: LayerFacts[] = [];
  for (const { tarSplit, folder, ...rest } of job.layers) {
    const parts = { tarSplit: () => readHostFile(tarSplit), folder: new HostFolder(folder) };
    results.push(await reassembleLayer({ ...rest, ...parts }, count));
  }
  return results;
}
