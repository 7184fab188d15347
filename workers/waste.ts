/** Reads the layers of one image and tells which bytes of their files are hidden by later layers. */
import { type WasteResult, wasteOf } from "../src/analyses/waste.ts";
import { type FileRange, openFile } from "../src/bytes/source.ts";
import type { LayerForm } from "../src/formats/layer.ts";

export interface WasteJob {
  /** Base first. */
  readonly layers: readonly {
    readonly label: string;
    readonly form: LayerForm;
    readonly range: FileRange;
  }[];
  /** How many paths to name. */
  readonly top: number;
  /** Counts bytes read, for a progress bar: one BigInt64, shared by all threads. */
  readonly counter: SharedArrayBuffer | null;
}

export type { WasteResult };

export default function waste(job: WasteJob): Promise<WasteResult> {
  const counter = job.counter && new BigInt64Array(job.counter);
  const count = (bytes: number): void => {
    if (counter) Atomics.add(counter, 0, BigInt(bytes));
  };
  const layers = job.layers.map(({ label, form, range }) => ({
    label,
    form,
    stream: () => readRange(range, label),
  }));
  return wasteOf(layers, job.top, count);
}

async function* readRange(range: FileRange, label: string): AsyncGenerator<Uint8Array> {
  const source = await openFile(range.path, label, range);
  try {
    yield* source.stream();
  } finally {
    await source.close();
  }
}
