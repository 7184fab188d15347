/** What a folder holds on disk, as `du` says, and what changed in it. */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runProcess } from "./dockerd.ts";

export interface Usage {
  /** `st_blocks` x 512 of everything below and the folder itself, each inode once. */
  readonly bytes: number;
  readonly inodes: number;
}

/** `du -s` of a folder, after its file system has written everything. */
export async function duOf(root: string): Promise<Usage> {
  await runProcess("sync", ["-f", root]);
  const [bytes, inodes] = await Promise.all([du(root, "--block-size=1"), du(root, "--inodes")]);
  return { bytes, inodes };
}

async function du(root: string, flag: string): Promise<number> {
  const { code, stdout, stderr } = await runProcess("du", ["-s", flag, root]);
  if (code !== 0) throw new Error(`du ${flag}: ${stderr}`);
  return Number.parseInt(stdout, 10);
}

/** Path, relative to the root, to allocated bytes; a further name of an inode counts 0. */
export type Listing = ReadonlyMap<string, number>;

export function listUsage(root: string): Listing {
  const listing = new Map<string, number>();
  const seen = new Set<string>();
  const walk = (path: string) => {
    const stat = lstatSync(join(root, path), { bigint: true });
    const inode = `${stat.dev}:${stat.ino}`;
    listing.set(path || ".", seen.has(inode) ? 0 : Number(stat.blocks) * 512);
    seen.add(inode);
    if (stat.isDirectory()) for (const name of readdirSync(join(root, path)).sort()) walk(join(path, name));
  };
  walk("");
  return listing;
}

/** One path that holds more or less than before; null where it is not there. */
export interface Change {
  readonly path: string;
  readonly before: number | null;
  readonly after: number | null;
}

/** In path order; paths that hold the same are left out. */
export function changesBetween(before: Listing, after: Listing): Change[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  return paths
    .map((path) => ({ path, before: before.get(path) ?? null, after: after.get(path) ?? null }))
    .filter((change) => change.before !== change.after);
}
