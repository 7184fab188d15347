/**
 * A read-only tree of files: a folder of the host, the index of a tar, a file system in a disk image. Nothing
 * here follows a link.
 */
import { type BytePath, joinPath, parentOf } from "../byte-path.ts";
import type { BlobFacts } from "../bytes/scan.ts";
import type { ByteSource } from "../bytes/source.ts";

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

/** The tree below one folder of another; what lies outside of it counts as overhead. */
export async function subTree(tree: ReadOnlyTree, folder: BytePath): Promise<ReadOnlyTree> {
  const prefix = `${folder}/`;
  const inside = (entry: TreeEntry): TreeEntry => ({
    ...entry,
    path: entry.path.slice(prefix.length) as BytePath,
  });
  let outside = 0;
  for await (const entry of tree.walk()) if (!entry.path.startsWith(prefix)) outside += entry.allocated ?? 0;
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
      for await (const entry of tree.walk()) if (entry.path.startsWith(prefix)) yield inside(entry);
    },
    open: (path) => tree.open(joinPath(folder, path)),
    facts: (path) => tree.facts(joinPath(folder, path)),
    walked: () => tree.walked(),
    close: () => tree.close(),
  };
}
