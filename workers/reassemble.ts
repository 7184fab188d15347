/** Puts layers of a store on the host together again, each by opening its files itself. */
import { type Reassembled, reassemble } from "../src/analyses/reassemble.ts";
import type { Digest } from "../src/digest.ts";
import type { UnpackedLayer } from "../src/stores/store.ts";
import { HostTree } from "../src/trees/host.ts";

export interface ReassembleJob {
  /** The store's folder, a real path. */
  readonly root: string;
  readonly label: string;
  readonly layers: readonly { readonly layer: UnpackedLayer; readonly diffId: Digest }[];
  /** Counts bytes, for a progress bar: one BigInt64, shared by all threads. */
  readonly counter: SharedArrayBuffer | null;
}

/** In the order of the job's layers. */
export type ReassembleResult = readonly Reassembled[];

export default async function reassembleAll(job: ReassembleJob): Promise<ReassembleResult> {
  const counter = job.counter && new BigInt64Array(job.counter);
  const count = (bytes: number): void => {
    if (counter) Atomics.add(counter, 0, BigInt(bytes));
  };
  const tree = new HostTree(job.label, job.root, () => undefined);
  const results: Reassembled[] = [];
  for (const { layer, diffId } of job.layers) results.push(await reassemble(tree, layer, diffId, count));
  return results;
}
