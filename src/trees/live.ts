/**
 * Whether an engine has a store open now: bbolt databases are locked (flock) by who has them open, and Linux lists all
 * locks in /proc/locks (proc(5): `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`). Nothing is locked here.
 */
import { lstatSync, readFileSync } from "node:fs";
import { hostPath } from "./walk.ts";

/** The process that holds a lock on one of `files` (host paths, one char a byte); null where none does or nothing tells. */
export function lockedBy(files: readonly string[]): { readonly pid: number; readonly name: string } | null {
  try {
    const inodes = new Set(files.flatMap((file) => inodeOf(file) ?? []));
    for (const line of readFileSync("/proc/locks", "utf8").split("\n")) {
      const [, , , , pid, place] = line.trim().split(/\s+/);
      // The device of btrfs and overlay is another here than stat gives, so the inode has to do.
      if (place && inodes.has(place.slice(place.lastIndexOf(":") + 1)))
        return { pid: Number(pid), name: nameOf(Number(pid)) };
    }
  } catch {
    // No /proc: nothing tells.
  }
  return null;
}

function inodeOf(file: string): string | null {
  const stat = lstatSync(hostPath(file), { bigint: true, throwIfNoEntry: false });
  return stat ? String(stat.ino) : null;
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "a process";
  }
}
