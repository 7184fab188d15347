/**
 * A read-only tree of files: a folder of the host, the index of a tar, a file system in a disk image. Nothing
 * here follows a link.
 */
import { type BytePath, joinPath, parentOf, ROOT } from "../byte-path.ts";
import type { BlobFacts } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { Pool } from "../pool.ts";

export type FileType = "file" | "directory" | "symlink" | "other";

export interface TreeEntry {
  readonly path: BytePath;
  readonly type: FileType;
  /** Length in bytes of what is there; 0 for anything but files. */
  readonly size: number;
  /** Bytes of it that the source ends before; 0 for all but the last member of a truncated archive. */
  readonly cutShort: number;
  /** Bytes its storage spends on it: blocks of a file system; header, data and padding in a tar. Null where it cannot be known. */
  readonly allocated: number | null;
  /** Inodes it takes: 1 in a file system (0 for a further name of one already counted), null in an archive. */
  readonly inodes: number | null;
  /** Target of a symbolic link, one char = one byte, as stored. */
  readonly linkTarget: string | null;
  /** The first bytes, where they were read along with the entry. */
  readonly head: Uint8Array | null;
  /** The file system that it lies on and its number there: equal for all names of one file. Null in an archive. */
  readonly device: bigint | null;
  readonly inode: bigint | null;
  /** In an archive: the file that this is a further name of, where the data are; null in a file system. */
  readonly linkOf: BytePath | null;
  /** A character device 0:0, by which overlayfs hides what lower layers have under this name. */
  readonly isWhiteout: boolean;
}

/** What files take, folders and the like included. */
export interface Usage {
  /** Sum of the lengths of regular files, each inode once. */
  readonly apparent: number;
  /** Null in part: unknown in whole. */
  readonly allocated: number | null;
  readonly inodes: number | null;
}

/** What is below each of some places of a tree. */
export interface Measured {
  /** By claimed path: what is at or below it and not at or below another claim inside it. None: nothing is there. */
  readonly usage: ReadonlyMap<BytePath, Usage>;
  /** Bytes that belong to several claims at once: a file with names in each, extents that files share. */
  readonly shared: readonly { readonly claims: readonly BytePath[]; readonly usage: Usage }[];
  /** The largest files, by allocated bytes; as many as were asked for. */
  readonly largest: readonly { readonly path: BytePath; readonly claim: BytePath; readonly usage: Usage }[];
  /** Folders that could not be listed, so that the usage of their claim is too small. The tree has warned of each. */
  readonly unread: readonly { readonly path: BytePath; readonly claim: BytePath }[];
  /** Where another file system is mounted, which does not count. */
  readonly mounts: readonly BytePath[];
  /** What could not be known of the sizes, in words: `extents that reflinks share count for each file`. */
  readonly remarks: readonly string[];
}

export interface MeasureOptions {
  readonly pool: Pool;
  readonly signal: AbortSignal;
  /** How many of the largest files to name. */
  readonly largest: number;
}

export interface ReadOnlyTree {
  /** For messages: the source's path. */
  readonly label: string;
  /** What holds the files: sizes mean bytes of an archive, or blocks of a file system. */
  readonly holder: "archive" | "filesystem";
  /** Null where reading the tree was complete; else why entries may be absent although they exist. */
  readonly incomplete: string | null;
  lstat(path: BytePath): Promise<TreeEntry | null>;
  /** Every entry, in a stable order, folders before what is in them. */
  walk(): AsyncIterable<TreeEntry>;
  /** What is directly in a folder, by name; nothing where it is no folder, or cannot be read (which is warned of). */
  list(folder: BytePath): Promise<readonly TreeEntry[]>;
  /** Names of what is directly in a folder, sorted: as `list`, without looking at each. */
  names(folder: BytePath): Promise<readonly string[]>;
  /**
   * A small file as a whole; null where there is no regular file of that name. Throws `SourceError` where it cannot be
   * read, `FormatError` where it is longer than `limit`.
   */
  readSmall(path: BytePath, limit: number): Promise<Uint8Array | null>;
  /** Walks the whole tree and adds up what is at each claim; the root is a claim whether named or not. */
  measure(claims: ReadonlySet<BytePath>, options: MeasureOptions): Promise<Measured>;
  /** Extended attributes of an entry, by full name (`trusted.overlay.opaque`); null where they cannot be had. */
  xattrs(path: BytePath): Promise<ReadonlyMap<string, Uint8Array> | null>;
  /** The path by which the operating system knows an entry, one char = one byte; null where it knows none. */
  hostPath(path: BytePath): string | null;
  /** The bytes of a file; throws `SourceError` or `FormatError` when they cannot be had. */
  open(path: BytePath): Promise<ByteSource>;
  /** Bytes that belong to no entry, such as the end marker of an archive. */
  readonly overhead: readonly { readonly what: string; readonly bytes: number }[];
  /** What a single pass over a source that cannot be seeked learned about a file; null for all other trees. */
  facts(path: BytePath): BlobFacts | null;
  /** Bytes that the holder spends on all that `walk` gave, counted apart from it; null before a walk. */
  walked(): number | null;
  close(): Promise<void>;
}

const LINK_LIMIT = 40; // as Linux: MAXSYMLINKS

/**
 * The entry that `path` names after links are followed inside the tree, component by component; null where it
 * leads nowhere, out of the tree, or around in a circle.
 */
export async function resolveLinks(tree: ReadOnlyTree, path: BytePath): Promise<TreeEntry | null> {
  let wanted: string = path;
  for (let followed = 0; followed <= LINK_LIMIT; followed++) {
    const found = await tree.lstat(wanted as BytePath);
    if (found && found.type !== "symlink") return found;
    const link = found ?? (await firstLink(tree, wanted as BytePath));
    if (link?.linkTarget == null) return null;
    const target = followLink(link, wanted.slice(link.path.length));
    if (target === null) return null;
    wanted = target;
  }
  return null;
}

/** The outermost component of `path` that is a link. */
async function firstLink(tree: ReadOnlyTree, path: BytePath): Promise<TreeEntry | null> {
  const parts = path.split("/");
  for (let depth = 1; depth < parts.length; depth++) {
    const entry = await tree.lstat(joinPath(...parts.slice(0, depth)));
    if (entry?.type === "symlink") return entry;
  }
  return null;
}

/** Where a link leads, with what came after it in the path; null outside the tree. */
function followLink(link: TreeEntry, rest: string): BytePath | null {
  const target = link.linkTarget!;
  if (target.startsWith("/") || target.includes("\0")) return null;
  const parts: string[] = parentOf(link.path).split("/").filter(Boolean);
  for (const part of `${target}${rest}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.length > 0 ? joinPath(...parts) : null;
}

/** Whether `path` is a link whose target lies outside of the tree. */
export async function leadsOut(tree: ReadOnlyTree, path: BytePath): Promise<boolean> {
  const entry = await tree.lstat(path);
  const link = entry?.type === "symlink" ? entry : await firstLink(tree, path);
  return link?.linkTarget != null && followLink(link, path.slice(link.path.length)) === null;
}

/**
 * {@link ReadOnlyTree.measure} for a tree whose `walk` gives all there is to know; of what `isLink` says is a further
 * name of a file the length does not count.
 */
export async function measureByWalk(
  tree: ReadOnlyTree,
  claims: ReadonlySet<BytePath>,
  { largest }: MeasureOptions,
  isLink: (path: BytePath) => boolean = () => false,
): Promise<Measured> {
  const usage = new Map<BytePath, Usage>();
  const top: Measured["largest"][number][] = [];
  for await (const { path, type, size, allocated, inodes } of tree.walk()) {
    const claim = claimOf(path, claims);
    const own = { apparent: isLink(path) ? 0 : size, allocated, inodes };
    usage.set(claim, addUsage(usage.get(claim), own));
    if (largest === 0 || type !== "file") continue;
    top.push({ path, claim, usage: own });
    if (top.length >= 2 * largest + 100) keepLargest(top, largest);
  }
  keepLargest(top, largest);
  return { usage, shared: [], largest: top, unread: [], mounts: [], remarks: [] };
}

/** The deepest claim at or above a path; the root where there is none. */
export function claimOf(path: BytePath, claims: ReadonlySet<BytePath>): BytePath {
  for (let at = path; at !== ROOT; at = parentOf(at)) if (claims.has(at)) return at;
  return ROOT;
}

export function addUsage(a: Usage | undefined, b: Usage): Usage {
  if (!a) return b;
  return {
    apparent: a.apparent + b.apparent,
    allocated: a.allocated === null || b.allocated === null ? null : a.allocated + b.allocated,
    inodes: a.inodes === null || b.inodes === null ? null : a.inodes + b.inodes,
  };
}

/** Sorts, largest first, and cuts a list off behind `count`. */
export function keepLargest(list: Measured["largest"][number][], count: number): void {
  const held = ({ usage }: Measured["largest"][number]): number => usage.allocated ?? usage.apparent;
  list.sort((a, b) => held(b) - held(a) || (a.path < b.path ? -1 : 1));
  list.length = Math.min(list.length, count);
}

/** The tree below one folder of another; what lies outside of it counts as overhead. */
export async function subTree(tree: ReadOnlyTree, folder: BytePath): Promise<ReadOnlyTree> {
  const prefix = `${folder}/`;
  const inside = (entry: TreeEntry): TreeEntry => ({
    ...entry,
    path: entry.path.slice(prefix.length) as BytePath,
    linkOf: entry.linkOf?.startsWith(prefix) ? (entry.linkOf.slice(prefix.length) as BytePath) : null,
  });
  const measured = (claims: ReadonlySet<BytePath>): ReadonlySet<BytePath> =>
    new Set([folder, ...[...claims].map((claim) => joinPath(folder, claim))]);
  const back = (path: BytePath): BytePath => path.slice(prefix.length) as BytePath;
  let outside = 0;
  const isInside = (path: BytePath): boolean => path === folder || path.startsWith(prefix);
  for await (const entry of tree.walk()) if (!isInside(entry.path)) outside += entry.allocated ?? 0;
  return {
    label: `${tree.label}: ${folder}`,
    holder: tree.holder,
    incomplete: tree.incomplete,
    overhead: [...tree.overhead, { what: "folders above the store", bytes: outside }],
    async lstat(path) {
      const entry = await tree.lstat(joinPath(folder, path));
      return entry && inside(entry);
    },
    async *walk() {
      for await (const entry of tree.walk()) if (isInside(entry.path)) yield inside(entry);
    },
    async list(path) {
      return (await tree.list(joinPath(folder, path))).map(inside);
    },
    names: (path) => tree.names(joinPath(folder, path)),
    readSmall: (path, limit) => tree.readSmall(joinPath(folder, path), limit),
    async measure(claims, options) {
      const all = await tree.measure(measured(claims), options);
      const place = <Item extends { path: BytePath; claim: BytePath }>(items: readonly Item[]): Item[] =>
        items
          .filter((item) => isInside(item.claim))
          .map((item) => ({ ...item, path: back(item.path), claim: back(item.claim) }));
      return {
        usage: new Map(
          [...all.usage].flatMap(([claim, usage]) => (isInside(claim) ? [[back(claim), usage]] : [])),
        ),
        shared: all.shared.map(({ claims: several, usage }) => ({
          claims: several.filter(isInside).map(back),
          usage,
        })),
        largest: place(all.largest),
        unread: place(all.unread),
        mounts: all.mounts.filter(isInside).map(back),
        remarks: all.remarks,
      };
    },
    xattrs: (path) => tree.xattrs(joinPath(folder, path)),
    hostPath: (path) => tree.hostPath(joinPath(folder, path)),
    open: (path) => tree.open(joinPath(folder, path)),
    facts: (path) => tree.facts(joinPath(folder, path)),
    walked: () => tree.walked(),
    close: () => tree.close(),
  };
}
