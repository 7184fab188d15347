/** Two merged trees side by side: what is at each path of either, with its bytes told once. */
import { type BytePath, joinPath, ROOT } from "../byte-path.ts";
import type { Inode, MergedTree, Name, NameKind } from "./merged-tree.ts";

export interface ComparedTree {
  readonly tree: MergedTree;
  /** By position: layers of equal number are the same one. */
  readonly layers: readonly number[];
}

/** What one tree has at a path. */
export interface Found {
  readonly name: Name;
  readonly kind: NameKind;
  /** Of its file; 0 for a further name of one that is told of at another path. */
  readonly bytes: number;
  readonly inodes: number;
}

export interface Compared {
  readonly path: BytePath;
  readonly a: Found | null;
  readonly b: Found | null;
  /**
   * `same`: one file of one layer, or things without data that are alike. `alike`: files of equal length in different
   * layers, whose content is not compared here.
   */
  readonly outcome: "same" | "alike" | "different";
}

/**
 * Every path below the roots, a folder before what is in it, names in order of their bytes. A file of several names is
 * told of once on each side: at a name that both sides have, where there is one.
 */
export function* compareTrees(a: ComparedTree, b: ComparedTree): Generator<Compared> {
  const isSame = sameFile(a, b);
  const bearers = new Bearers();
  for (const [, x, y] of pairs(a.tree, b.tree)) {
    if (x?.inode && y?.inode && isSame(x.inode, y.inode)) bearers.offer(x, y);
  }
  for (const [path, x, y] of pairs(a.tree, b.tree)) {
    const outcome = x && y ? outcomeOf(x, y, isSame) : "different";
    yield { path, a: x && bearers.found(x), b: y && bearers.found(y), outcome };
  }
}

function sameFile(a: ComparedTree, b: ComparedTree): (x: Inode, y: Inode) => boolean {
  return (x, y) => x.number === y.number && a.layers[x.layer] === b.layers[y.layer];
}

function outcomeOf(x: Name, y: Name, isSame: (x: Inode, y: Inode) => boolean): Compared["outcome"] {
  if (x.kind !== y.kind) return "different";
  if (!x.inode || !y.inode) return x.target === y.target ? "same" : "different";
  if (isSame(x.inode, y.inode)) return "same";
  return x.inode.size === y.inode.size ? "alike" : "different";
}

/** Under which of its names a file of several is told of. */
class Bearers {
  private readonly names = new Map<Inode, Name>();

  /** The same file on both sides. */
  offer(x: Name, y: Name): void {
    if (x.inode!.links < 2 && y.inode!.links < 2) return;
    if (this.names.has(x.inode!) || this.names.has(y.inode!)) return;
    this.names.set(x.inode!, x);
    this.names.set(y.inode!, y);
  }

  found(name: Name): Found {
    const { kind, inode } = name;
    if (!inode) return { name, kind, bytes: 0, inodes: 1 };
    if (inode.links > 1 && !this.names.has(inode)) this.names.set(inode, name);
    const isBearer = inode.links < 2 || this.names.get(inode) === name;
    return { name, kind, bytes: isBearer ? inode.size : 0, inodes: isBearer ? 1 : 0 };
  }
}

type NamePair = readonly [BytePath, Name | null, Name | null];

/** No recursion: depth is up to the layers. */
function* pairs(a: MergedTree, b: MergedTree): Generator<NamePair> {
  const pending: NamePair[] = [[ROOT, a.root, b.root]];
  for (let pair = pending.pop(); pair; pair = pending.pop()) {
    const [path, x, y] = pair;
    if (path !== ROOT) yield pair;
    const names = new Set([...(x?.children?.keys() ?? []), ...(y?.children?.keys() ?? [])]);
    for (const name of [...names].sort().reverse()) {
      const child = joinPath(path, name);
      pending.push([child, x?.children?.get(name) ?? null, y?.children?.get(name) ?? null]);
    }
  }
}
