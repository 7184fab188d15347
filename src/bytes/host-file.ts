/** Small files that a user names: rules to read, results to write. Never part of a source. */
import { readFile, realpath, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { messageOf, UsageError } from "../errors.ts";

export async function readHostText(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new UsageError(`${option} ${path}: ${absent ? "no such file" : messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Writes a file beside and renames it, so that it is whole or not there. Never one of `inputs`, nor inside one. */
export async function writeHostFile(path: string, text: string, inputs: readonly string[]): Promise<void> {
  try {
    const folder = await realpath(dirname(path));
    const target = await realpath(path).catch(() => join(folder, basename(path)));
    for (const input of inputs) {
      const real = await realpath(input);
      if (target === real || target.startsWith(`${real}/`)) {
        throw new UsageError(
          `cannot write ${path}: it is part of the source ${input}, which is never written to`,
        );
      }
    }
    const written = `${target}.${process.pid}.tmp`;
    await writeFile(written, text, { flag: "wx" });
    await rename(written, target);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}
