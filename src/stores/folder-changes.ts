/**
 * The changes that a layer's folder holds, as overlayfs and fuse-overlayfs write it (kernel
 * Documentation/filesystems/overlayfs.rst, containers/fuse-overlayfs main.c): a whiteout is a character device 0:0, or
 * an empty file with the attribute `overlay.whiteout`, or a name that begins with `.wh.`; a folder that hides what lower
 * layers have in it has the attribute `overlay.opaque`. Attributes are `trusted.` ones, `user.` without root.
 *
 * Not handled: folders that were renamed in place (`overlay.redirect`), which are told of.
 */
import { type BytePath, joinPath, parentOf, ROOT } from "../byte-path.ts";
import { type Change, markerAt } from "../formats/layer.ts";
import type { ReadOnlyTree, TreeEntry } from "../trees/tree.ts";

export interface FolderDoubts {
  /** Folders that may hide what lower layers have in them: attributes cannot be read here. By path in the layer. */
  readonly maybeOpaque: Set<BytePath>;
  /** Folders that show what lower layers have under another name. */
  readonly redirected: Set<BytePath>;
}

export function noDoubts(): FolderDoubts {
  return { maybeOpaque: new Set(), redirected: new Set() };
}

/**
 * What is in `folder` as changes, folders before what is in them. `isDiff`: whiteouts mean what they mean in a layer;
 * else the folder is the whole view, and hides all that is below. Adds to `doubts` what it cannot tell.
 */
export async function* readFolder(
  tree: ReadOnlyTree,
  folder: BytePath,
  isDiff: boolean,
  doubts: FolderDoubts,
): AsyncGenerator<Change> {
  const reader = new FolderReader(tree, folder, isDiff, doubts);
  if (!isDiff) yield { kind: "opaque", path: ROOT };
  const pending: BytePath[] = [ROOT];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const entries = await tree.list(joinPath(folder, at));
    if (isDiff) yield* reader.attributesOf(at);
    for (const entry of entries) {
      const change = await reader.changeOf(entry);
      if (change) yield change;
      if (change?.kind === "directory") pending.push(change.path);
    }
  }
}

class FolderReader {
  /** First names of files, by device and inode. */
  private readonly files = new Map<string, BytePath>();
  private readonly tree: ReadOnlyTree;
  private readonly prefix: string;
  private readonly isDiff: boolean;
  private readonly doubts: FolderDoubts;

  constructor(tree: ReadOnlyTree, folder: BytePath, isDiff: boolean, doubts: FolderDoubts) {
    this.tree = tree;
    this.prefix = `${folder}/`;
    this.isDiff = isDiff;
    this.doubts = doubts;
  }

  /** Whether a folder hides all that is below it. */
  async *attributesOf(path: BytePath): AsyncGenerator<Change> {
    const xattrs = await this.tree.xattrs(joinPath(this.prefix.slice(0, -1), path));
    if (xattrs === null) {
      if (path !== ROOT) this.doubts.maybeOpaque.add(path);
      return;
    }
    if (attribute(xattrs, "opaque") === "y") yield { kind: "opaque", path };
    if (attribute(xattrs, "redirect") !== null) this.doubts.redirected.add(path);
  }

  /** Nothing is hidden by a whiteout but what lower layers show, so no folder above one is opaque. */
  private whiteout(path: BytePath): Change {
    for (let at = parentOf(path); at !== ROOT; at = parentOf(at)) this.doubts.maybeOpaque.delete(at);
    return { kind: "whiteout", path };
  }

  /** Null for what is none. */
  async changeOf(entry: TreeEntry): Promise<Change | null> {
    const path = this.inside(entry.path);
    if (this.isDiff) {
      if (entry.isWhiteout) return this.whiteout(path);
      const marker = markerAt(path);
      if (marker !== undefined) return marker;
      if (entry.type === "file" && entry.size === 0 && (await this.isHiding(entry.path)))
        return { kind: "whiteout", path };
    }
    switch (entry.type) {
      case "file":
        return this.file(entry, path);
      case "symlink":
        return { kind: "symlink", path, target: entry.linkTarget ?? "" };
      default:
        return { kind: entry.type, path };
    }
  }

  private file(entry: TreeEntry, path: BytePath): Change {
    const { device, inode, linkOf, size } = entry;
    // A further name comes after the first in the order of the walk, whichever of them has the data in an archive.
    const key = inode === null ? (linkOf ?? entry.path) : `${device}:${inode}`;
    const first = this.files.get(key);
    if (first !== undefined) return { kind: "hardlink", path, target: first };
    this.files.set(key, path);
    return { kind: "file", path, size, ...(size === 0 ? { crc: 0n } : {}) };
  }

  private async isHiding(path: BytePath): Promise<boolean> {
    const xattrs = await this.tree.xattrs(path);
    return xattrs !== null && attribute(xattrs, "whiteout") !== null;
  }

  private inside(path: BytePath): BytePath {
    return path.slice(this.prefix.length) as BytePath;
  }
}

function attribute(xattrs: ReadonlyMap<string, Uint8Array>, name: string): string | null {
  const value = xattrs.get(`trusted.overlay.${name}`) ?? xattrs.get(`user.overlay.${name}`);
  return value === undefined ? null : Buffer.from(value).toString("latin1");
}
