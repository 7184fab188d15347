/** Small files that a user names: rules to read, results to write. Never part of a source. */
import { readFile, writeFile } from "node:fs/promises";
import { messageOf, UsageError } from "../errors.ts";

export async function readHostText(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`${option} ${path}: ${messageOf(error)}`, { cause: error });
  }
}

export async function writeHostFile(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}
