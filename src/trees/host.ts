/**
 * A folder of this host as a tree: never follows a link below its root, never changes an access time where the
 * platform lets it, survives files that vanish, stops at mount points, counts each inode once.
 */
import { type BigIntStats, lstatSync } from "node:fs";
import { readlink } from "node:fs/promises";
import { type BytePath, displayPath, joinPath, pathBytes, ROOT } from "../byte-path.ts";
import { type ByteSource, openFile, readSmallFile } from "../bytes/source.ts";
import { FormatError, messageOf, SourceError } from "../errors.ts";
import type { Warn } from "../run.ts";
import { measureHost } from "./measure-host.ts";
import type { FileType, Measured, MeasureOptions, ReadOnlyTree, TreeEntry } from "./tree.ts";
import { namesIn } from "./walk.ts";

/** `root` is a real path: no component of it is a link. */
export class HostTree implements ReadOnlyTree {
  readonly holder = "filesystem";
  readonly label: string;
  readonly overhead = [];
  incomplete: string | null = null;
  private bytes: number | null = null;
  private readonly root: string;
  private readonly warn: Warn;
  /** Inodes with several names: the name that was asked for first is the one whose space counts. */
  private readonly owners = new Map<string, BytePath>();
  /** Folders seen to be no links, so that what is below them is inside the root. */
  private readonly folders = new Set<BytePath>([ROOT]);

  constructor(label: string, root: string, warn: Warn) {
    this.label = label;
    this.root = root;
    this.warn = warn;
  }

  async lstat(path: BytePath): Promise<TreeEntry | null> {
    return (await this.inside(path)) ? this.entry(path, null) : null;
  }

  async *walk(): AsyncGenerator<TreeEntry> {
    const seen = new Set<string>();
    const top = await this.stat(ROOT);
    if (!top) throw new SourceError(`cannot read ${this.label}: no such folder`);
    const own = await this.entry(ROOT, { device: top.dev, seen });
    this.bytes = own?.allocated ?? 0;
    if (own) yield own; // du counts the folder itself as well
    for await (const entry of this.below(ROOT, top.dev, seen)) {
      this.bytes += entry.allocated ?? 0;
      yield entry;
    }
  }

  private async *below(folder: BytePath, device: bigint, seen: Set<string>): AsyncGenerator<TreeEntry> {
    const pending: BytePath[] = [folder];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const found: TreeEntry[] = [];
      for (const name of await this.names(at)) {
        const entry = await this.entry(joinPath(at, name), { device, seen });
        if (entry) found.push(entry);
      }
      yield* found;
      for (const entry of found.reverse()) if (entry.type === "directory") pending.push(entry.path);
    }
  }

  async list(folder: BytePath): Promise<TreeEntry[]> {
    const entries: TreeEntry[] = [];
    for (const name of await this.names(folder)) {
      const entry = await this.entry(joinPath(folder, name), null);
      if (entry) entries.push(entry);
    }
    return entries;
  }

  /** Synchronous inside: some 10 us a file, where a file handle of Node's own takes 150. */
  async readSmall(path: BytePath, limit: number): Promise<Uint8Array | null> {
    if (!(await this.inside(path))) return null;
    try {
      return readSmallFile(this.host(path), `${this.label}: ${displayPath(path)}`, limit);
    } catch (error) {
      if (error instanceof FormatError) throw error;
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return null;
      const advice = code === "EACCES" || code === "EPERM" ? "; run as root to read it" : "";
      throw new SourceError(`cannot read ${this.label}: ${displayPath(path)}: ${messageOf(error)}${advice}`);
    }
  }

  async measure(claims: ReadonlySet<BytePath>, options: MeasureOptions): Promise<Measured> {
    const root = Buffer.from(this.root).toString("latin1");
    const measured = await measureHost(root, claims, options, (path, code) => {
      this.cannotRead(path, Object.assign(new Error(`${code}: the folder cannot be listed`), { code }));
    });
    this.bytes = 0;
    for (const usage of measured.usage.values()) this.bytes += usage.allocated ?? 0;
    for (const { usage } of measured.shared) this.bytes += usage.allocated ?? 0;
    return measured;
  }

  async xattrs(): Promise<null> {
    return null;
  }

  hostPath(path: BytePath): string {
    return this.host(path).toString("latin1");
  }

  async names(folder: BytePath): Promise<string[]> {
    if (!(await this.inside(joinPath(folder, "-")))) return [];
    try {
      return namesIn(this.host(folder).toString("latin1")).sort();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && code !== "ENOTDIR") this.cannotRead(folder, error);
      return [];
    }
  }

  /** With `walk`, an inode met before takes no more space, and another file system is passed over. */
  private async entry(
    path: BytePath,
    walk: { device: bigint; seen: Set<string> } | null,
  ): Promise<TreeEntry | null> {
    const stat = await this.stat(path);
    if (!stat || (walk && stat.dev !== walk.device)) return null;
    const type = typeOf(stat);
    const inode = `${stat.dev}:${stat.ino}`;
    const linked = type !== "directory" && stat.nlink > 1n;
    const again = walk !== null && linked && this.isCounted(inode, path, walk.seen);
    if (walk && linked) walk.seen.add(inode);
    else if (linked && !this.owners.has(inode)) this.owners.set(inode, path);
    return {
      path,
      type,
      size: type === "file" && !again ? Number(stat.size) : 0,
      cutShort: 0,
      allocated: again ? 0 : Number(stat.blocks * 512n),
      inodes: again ? 0 : 1,
      linkTarget: type === "symlink" ? await this.target(path) : null,
      head: null,
      device: stat.dev,
      inode: stat.ino,
      linkOf: null,
      isWhiteout: stat.isCharacterDevice() && stat.rdev === 0n,
    };
  }

  private isCounted(inode: string, path: BytePath, seen: ReadonlySet<string>): boolean {
    const owner = this.owners.get(inode);
    return owner === undefined ? seen.has(inode) : owner !== path;
  }

  private async target(path: BytePath): Promise<string | null> {
    try {
      return (await readlink(this.host(path), { encoding: "buffer" })).toString("latin1");
    } catch {
      return null; // vanished since
    }
  }

  private async stat(path: BytePath): Promise<BigIntStats | null> {
    try {
      return lstatSync(this.host(path), { bigint: true, throwIfNoEntry: false }) ?? null;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && code !== "ENOTDIR" && code !== "ENAMETOOLONG") this.cannotRead(path, error);
      return null;
    }
  }

  /** Whether every folder above `path` is a folder and no link. */
  private async inside(path: BytePath): Promise<boolean> {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = joinPath(...parts.slice(0, depth));
      if (this.folders.has(folder)) continue;
      const stat = await this.stat(folder);
      if (!stat?.isDirectory()) return false;
      this.folders.add(folder);
    }
    return true;
  }

  private cannotRead(path: BytePath, error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code;
    const advice = code === "EACCES" || code === "EPERM" ? "; run as root to read it" : "";
    this.incomplete ??= `${displayPath(path)} could not be read`;
    this.warn({
      code: "unreadable",
      path: displayPath(path),
      message: `${messageOf(error)}${advice}`,
      incomplete: true,
    });
  }

  private host(path: BytePath): Buffer {
    return path === ROOT
      ? Buffer.from(this.root)
      : Buffer.concat([Buffer.from(`${this.root}/`), pathBytes(path)]);
  }

  async open(path: BytePath): Promise<ByteSource> {
    const label = `${this.label}: ${displayPath(path)}`;
    if (!(await this.inside(path)))
      throw new SourceError(`cannot read ${label}: a folder above it is a link`);
    // Threads open files by text; a name that is not UTF-8 cannot be told them, and no store format has such names.
    return openFile(`${this.root}/${pathBytes(path).toString("utf8")}`, label);
  }

  walked(): number | null {
    return this.bytes;
  }

  facts(): null {
    return null;
  }

  async close(): Promise<void> {}
}

function typeOf(stat: BigIntStats): FileType {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  return stat.isSymbolicLink() ? "symlink" : "other";
}
