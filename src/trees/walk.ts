/**
 * Adds up what is below folders of the host: the work of `HostTree.measure`, in the main thread or in others.
 *
 * Synchronous throughout: a trip to Node's thread pool costs more than the call itself. Paths are one char a byte; what
 * is not ASCII goes to the system as bytes. A folder that vanishes, or an entry of it, is not there: no error.
 */
import { lstatSync, readdirSync, type Stats } from "node:fs";

/** A folder to add up, and the number of the claim that it counts for. */
export interface WalkFolder {
  /** From the root; not a claim with other claims inside. */
  readonly path: string;
  readonly claim: number;
}

export interface WalkJob {
  /** Real path on the host, one char a byte. */
  readonly root: string;
  readonly folders: readonly WalkFolder[];
  /** Entries of other devices are mount points. */
  readonly device: number;
  /** After so many entries what is left is handed back, so that one huge folder keeps every thread busy. */
  readonly budget: number;
  readonly largest: number;
}

export interface WalkSum {
  apparent: number;
  allocated: number;
  inodes: number;
}

/** A file that has further names, not all of them seen in this job. */
export interface WalkLink extends Omit<WalkSum, "inodes"> {
  /** Device and inode. */
  readonly key: string;
  readonly claims: readonly number[];
}

export interface WalkResult {
  readonly sums: ReadonlyMap<number, WalkSum>;
  readonly links: readonly WalkLink[];
  readonly pending: readonly WalkFolder[];
  readonly unread: readonly (WalkFolder & { readonly code: string })[];
  readonly mounts: readonly string[];
  readonly files: readonly WalkFile[];
}

export interface WalkFile extends WalkFolder {
  readonly apparent: number;
  readonly allocated: number;
}

export function walkFolders(job: WalkJob): WalkResult {
  const walker = new Walker(job);
  const stack = [...job.folders];
  for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
    walker.folder(folder, stack);
    if (walker.entries >= job.budget) break;
  }
  return walker.result(stack);
}

/** A path as the system takes it: text where it is ASCII, which is faster, else its bytes. */
export function hostPath(path: string): string | Buffer {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the question is whether the path is ASCII
  return /^[\x00-\x7f]*$/.test(path) ? path : Buffer.from(path, "latin1");
}

/** The names in a folder, one char a byte, in no order. */
export function namesIn(path: string): string[] {
  return readdirSync(hostPath(path), { encoding: "latin1" });
}

interface Seen extends WalkSum {
  readonly claims: Set<number>;
  left: number;
}

/** Counts entries for claims. */
export class Walker {
  entries = 0;
  private readonly sums = new Map<number, WalkSum>();
  private readonly linked = new Map<string, Seen>();
  private readonly unread: (WalkFolder & { code: string })[] = [];
  private readonly mounts: string[] = [];
  private files: WalkFile[] = [];
  private readonly job: Pick<WalkJob, "root" | "device" | "largest">;

  constructor(job: Pick<WalkJob, "root" | "device" | "largest">) {
    this.job = job;
  }

  /** Counts all that is directly in a folder, and puts the folders in it on `stack`. */
  folder(folder: WalkFolder, stack: WalkFolder[]): void {
    const { path, claim } = folder;
    const prefix = path === "" ? "" : `${path}/`;
    for (const name of this.names(folder)) {
      const inside = prefix + name;
      if (this.entry(inside, claim)) stack.push({ path: inside, claim });
    }
  }

  names(folder: WalkFolder): string[] {
    try {
      return namesIn(folder.path === "" ? this.job.root : `${this.job.root}/${folder.path}`);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "";
      if (code !== "ENOENT" && code !== "ENOTDIR") this.unread.push({ ...folder, code });
      return [];
    }
  }

  /** Counts one entry; true for a folder on the same device, whose content is still to be counted. */
  entry(path: string, claim: number): boolean {
    const full = hostPath(path === "" ? this.job.root : `${this.job.root}/${path}`);
    const stat = lstat(full);
    if (!stat) return false;
    this.entries++;
    if (stat.dev !== this.job.device) {
      this.mounts.push(path);
      return false;
    }
    const type = stat.mode & S_IFMT;
    const apparent = type === S_IFREG ? stat.size : 0;
    const allocated = stat.blocks * 512;
    if (stat.nlink > 1 && type !== S_IFDIR) {
      if (!this.link(full, claim, { apparent, allocated })) return false;
    } else this.add(claim, apparent, allocated);
    if (this.job.largest > 0 && type === S_IFREG) this.file({ path, claim, apparent, allocated });
    return type === S_IFDIR;
  }

  private add(claim: number, apparent: number, allocated: number): void {
    const sum = this.sums.get(claim);
    if (!sum) this.sums.set(claim, { apparent, allocated, inodes: 1 });
    else {
      sum.apparent += apparent;
      sum.allocated += allocated;
      sum.inodes++;
    }
  }

  /** Counts a file of several names with the last of them; false for a name after the first. */
  private link(full: string | Buffer, claim: number, size: { apparent: number; allocated: number }): boolean {
    const exact = lstatSync(full, { bigint: true, throwIfNoEntry: false });
    if (!exact) return false;
    const key = `${exact.dev}:${exact.ino}`;
    const seen = this.linked.get(key);
    if (!seen) {
      this.linked.set(key, { ...size, inodes: 1, claims: new Set([claim]), left: Number(exact.nlink) - 1 });
      return true;
    }
    seen.claims.add(claim);
    seen.left--;
    if (seen.left <= 0 && seen.claims.size === 1) {
      this.add(claim, seen.apparent, seen.allocated);
      this.linked.delete(key);
    }
    return false;
  }

  private file(file: WalkFile): void {
    this.files.push(file);
    if (this.files.length > 4 * this.job.largest + 1000) this.cut();
  }

  private cut(): void {
    this.files = this.files.sort((a, b) => b.allocated - a.allocated).slice(0, this.job.largest);
  }

  result(pending: readonly WalkFolder[]): WalkResult {
    this.cut();
    const links = [...this.linked].map(([key, { apparent, allocated, claims }]) => {
      return { key, apparent, allocated, claims: [...claims] };
    });
    const { sums, unread, mounts, files } = this;
    return { sums, links, pending, unread, mounts, files };
  }
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

function lstat(path: string | Buffer): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // a folder above it has become something else, or may not be looked at: told by who lists it
  }
}
