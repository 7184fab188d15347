/** Opens the bbolt files of a data-root; what is wrong with one is warned of, and makes the records incomplete. */
import { type BytePath, displayPath } from "../../byte-path.ts";
import { messageOf } from "../../errors.ts";
import { type Bolt, openBolt } from "../../formats/bbolt.ts";
import type { Records } from "./records.ts";

/** What `use` makes of the database at `path`; null where it cannot be read, which is warned of. */
export async function readDatabase<Result>(
  records: Records,
  path: BytePath,
  use: (bolt: Bolt) => Promise<Result>,
): Promise<Result | null> {
  try {
    const source = await records.tree.open(path);
    try {
      const damage: string[] = [];
      const bolt = await openBolt(source, (message) => void damage.push(message));
      const result = await use(bolt);
      if (damage.length > 0) records.cannotRead(path, new Error(damage.join("; ")));
      return result;
    } finally {
      await source.close();
    }
  } catch (error) {
    records.cannotRead(path, new Error(`${displayPath(path)}: ${messageOf(error)}`));
    return null;
  }
}
