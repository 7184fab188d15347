/** Tells where in a layer its damage begins. */
import { locateDamage } from "../src/analyses/locate.ts";
import { type FileRange, openFile } from "../src/bytes/source.ts";

export interface LocateJob {
  readonly label: string;
  readonly range: FileRange;
}

/** One line; null where it cannot be told. */
export default async function locate({ label, range }: LocateJob): Promise<string | null> {
  const source = await openFile(range.path, label, range);
  try {
    return await locateDamage(label, () => source.stream(), source.byteLength);
  } finally {
    await source.close();
  }
}
