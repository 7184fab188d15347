/**
 * A folder of files, looked at by name: on the host, where each call is a few microseconds of this thread's time, or
 * in a tree, where it is a promise. Whoever calls makes sure that every component of a path but the last is a folder
 * and no link.
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
} from "node:fs";
import type { BytePath } from "../byte-path.ts";
import { TruncatedError } from "../errors.ts";

/** Worth the trouble where there are a million of them: to wait for a promise takes a third of a system call. */
export type MaybePromise<Value> = Value | Promise<Value>;

export type FileKind = "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket" | "other";

export interface FolderEntry {
  /** `other`: no file, folder or link, and nothing tells which. */
  readonly kind: FileKind;
  /** Length in bytes; 0 for anything but files. */
  readonly size: number;
  /** Permission bits with set-user-ID, set-group-ID and sticky; null where nothing tells, as the two below. */
  readonly mode: number | null;
  readonly uid: number | null;
  readonly gid: number | null;
  /** How many names it has; null where nothing tells. */
  readonly names: number | null;
  /** `major:minor`; null for all but devices, and where nothing tells. */
  readonly device: string | null;
  /** A character device 0:0. */
  readonly isWhiteout: boolean;
}

/** A regular file, open. */
export interface FolderFile {
  readonly byteLength: number;
  readonly entry: FolderEntry;
  /** Chunks, which may be reused once the next is asked for. Throws `TruncatedError` where the file has shrunk. */
  stream(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  close(): MaybePromise<void>;
}

/** Paths lead from the folder. Nothing follows a link; what cannot be read throws, but for what is not there. */
export interface Folder {
  lstat(path: BytePath): MaybePromise<FolderEntry | null>;
  /** Null: there is nothing. What is there and no regular file is told instead. */
  open(path: BytePath): MaybePromise<FolderFile | FolderEntry | null>;
  /** Target of a symbolic link, one char = one byte. */
  readlink(path: BytePath): MaybePromise<string>;
  /** Names in a folder, in no order; none where it is not there. */
  names(path: BytePath): MaybePromise<readonly string[]>;
  /** Whether two names are of one file; null where nothing tells. */
  isSame(path: BytePath, other: BytePath): MaybePromise<boolean | null>;
  /** Extended attributes by full name; null where they cannot be had. */
  attributes(path: BytePath): MaybePromise<ReadonlyMap<string, Uint8Array> | null>;
}

export function isOpen(found: FolderFile | FolderEntry): found is FolderFile {
  return "stream" in found;
}

const CHUNK = 1 << 20;

/** `root` is a real path, one char = one byte. Reads in step: for a thread of its own. */
export class HostFolder implements Folder {
  private readonly root: string;
  /** One for all files, which are read one after another. */
  private buffer: Buffer | null = null;

  constructor(root: string) {
    this.root = root;
  }

  lstat(path: BytePath): FolderEntry | null {
    const stat = absentAsNull(() => lstatSync(this.host(path)));
    return stat && entryOf(stat);
  }

  open(path: BytePath): FolderFile | FolderEntry | null {
    const entry = this.lstat(path);
    // Looked at first: to open a device can do something, and layers may hold any device.
    if (entry?.kind !== "file") return entry;
    const fd = absentAsNull(() => openQuietly(this.host(path)));
    if (fd === null) return null;
    return {
      byteLength: entry.size,
      entry,
      stream: () => this.chunks(fd, entry.size),
      close: () => closeSync(fd),
    };
  }

  private *chunks(fd: number, length: number): Generator<Uint8Array> {
    this.buffer ??= Buffer.allocUnsafe(CHUNK);
    for (let left = length; left > 0; ) {
      const count = readSync(fd, this.buffer, 0, Math.min(left, CHUNK), null);
      if (count === 0) throw new TruncatedError(`it ends ${left} bytes before its length`);
      left -= count;
      yield this.buffer.subarray(0, count);
    }
  }

  readlink(path: BytePath): string {
    return readlinkSync(this.host(path), { encoding: "buffer" }).toString("latin1");
  }

  names(path: BytePath): readonly string[] {
    const names = absentAsNull(() => readdirSync(this.host(path), { encoding: "buffer" }));
    return (names ?? []).map((name) => name.toString("latin1"));
  }

  isSame(path: BytePath, other: BytePath): boolean {
    const [a, b] = [path, other].map((name): BigIntStats | null =>
      absentAsNull(() => lstatSync(this.host(name), { bigint: true })),
    );
    return a != null && b != null && a.dev === b.dev && a.ino === b.ino;
  }

  /** Node has no way to ask for them. */
  attributes(): null {
    return null;
  }

  private host(path: BytePath): string | Buffer {
    return hostName(path === "" ? this.root : `${this.root}/${path}`);
  }
}

/** A path as Node takes it: text means UTF-8 to it, so that other bytes need a buffer. */
function hostName(path: string): string | Buffer {
  return NOT_ASCII.test(path) ? Buffer.from(path, "latin1") : path;
}
const NOT_ASCII = /[\x80-\xff]/;

/** A regular file of the host; `path` is real but for its last component, one char = one byte. */
export async function* readHostFile(path: string): AsyncGenerator<Uint8Array> {
  const cut = path.lastIndexOf("/");
  const found = new HostFolder(path.slice(0, cut)).open(path.slice(cut + 1) as BytePath);
  if (found === null) throw Object.assign(new Error("no such file"), { code: "ENOENT", syscall: "open" });
  if (!isOpen(found))
    throw Object.assign(new Error("not a regular file"), { code: "EINVAL", syscall: "open" });
  try {
    yield* found.stream();
  } finally {
    await found.close();
  }
}

/** As `openReadOnly` in source.ts: no link, no waiting, no new access time where the platform lets us. */
function openQuietly(path: string | Buffer): number {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const quiet = (constants as { O_NOATIME?: number }).O_NOATIME;
  if (quiet !== undefined) {
    try {
      return openSync(path, flags | quiet);
    } catch (error) {
      if (codeOf(error) !== "EPERM") throw error;
    }
  }
  return openSync(path, flags);
}

const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ENAMETOOLONG"]);

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "";
}

function isAbsence(error: unknown): boolean {
  return ABSENT.has(codeOf(error));
}

function absentAsNull<Value>(call: () => Value): Value | null {
  try {
    return call();
  } catch (error) {
    if (isAbsence(error)) return null;
    throw error;
  }
}

const TYPE_MASK = 0o170000;
const KINDS: ReadonlyMap<number, FileKind> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
  [0o140000, "socket"],
]);

function entryOf(stat: Stats): FolderEntry {
  const kind = KINDS.get(stat.mode & TYPE_MASK) ?? "other";
  return {
    kind,
    size: kind === "file" ? stat.size : 0,
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    names: stat.nlink,
    device: kind === "char" || kind === "block" ? deviceOf(stat.rdev) : null,
    isWhiteout: kind === "char" && stat.rdev === 0,
  };
}

/** As glibc's makedev packs it: twelve bits of major and eight of minor, and the rest of both above. */
function deviceOf(rdev: number): string {
  const high = Math.floor(rdev / 2 ** 32);
  const major = ((rdev >>> 8) & 0xfff) | (high & ~0xfff);
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${major >>> 0}:${minor >>> 0}`;
}
