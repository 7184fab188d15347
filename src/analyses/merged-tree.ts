/**
 * The tree of files that layers make when they lie on each other, as overlayfs shows it. Holds names and lengths, not
 * content.
 */
import type { BytePath } from "../byte-path.ts";
import { FormatError, InterruptedError, messageOf, UllageError } from "../errors.ts";
import type { Change } from "../formats/layer.ts";

/** What became of a copy: `replaced` when a directory it was in gave way to something that is none. */
export type Fate = "overwritten" | "deleted" | "replaced";

export type NameKind = "directory" | "file" | "symlink" | "other";

/** A name in a tree. Only files have an inode: a directory, even an implied one, a link, a device are without data. */
export interface Name {
  /** Null for anything but a directory; made when the first child is. */
  children: Map<string, Name> | null;
  kind: NameKind;
  inode: Inode | null;
  /** Of a symbolic link, one char = one byte, as stored. */
  target: string | null;
  readonly name: string;
  parent: Name | null;
}

export interface Inode {
  readonly size: number;
  /** CRC-64/ISO of its content; null where the layer does not tell. */
  readonly crc: bigint | null;
  /** Position of its layer, base first. */
  readonly layer: number;
  /** Which of the files that the layer brings it is: equal layers count alike. */
  readonly number: number;
  /** Where its data came in the layer; parents stay linked when it leaves the tree, so that its path can be told. */
  name: Name | null;
  /** Names that are still visible. */
  links: number;
}

/** Hears of what happens to files while layers are laid on each other. */
export interface MergeEvents {
  created?(inode: Inode): void;
  /** The layer at position `by` has taken the last visible name of a file. */
  hidden?(inode: Inode, by: number, fate: Fate): void;
}

/** More names than this in one image are refused: some 200 bytes each. */
const NAME_LIMIT = 8_000_000;

/**
 * Two trees: `below`, what the layers so far make visible, and `own`, what the layer at hand puts in place. Markers
 * take from `below` at once, so they never hide what their own layer brings, in whatever order the tar has them;
 * `own` is laid over `below` when the layer ends. Each name enters a tree once and leaves it once, so the time is
 * linear in names. No recursion: depth is up to the tar.
 */
export class MergedTree {
  private readonly below = directory("", null);
  private own = directory("", null);
  private names = 0;
  private layer = -1;
  private files = 0;
  private readonly events: MergeEvents;

  constructor(events: MergeEvents = {}) {
    this.events = events;
  }

  /** All that is visible after the last layer that has ended. */
  get root(): Name {
    return this.below;
  }

  /** What the layers that have ended show at a path. */
  find(path: BytePath): Name | null {
    return find(this.below, path);
  }

  beginLayer(): void {
    this.layer++;
    this.files = 0;
  }

  add(change: Change): void {
    switch (change.kind) {
      case "file":
        this.put(change.path, "file", this.newInode(change.size, change.crc ?? null));
        break;
      case "hardlink":
        this.put(change.path, "file", this.linkTo(change.target) ?? this.newInode(0, 0n));
        break;
      case "whiteout":
        this.whiteout(change.path);
        break;
      case "opaque":
        this.opaque(change.path);
        break;
      case "invalid":
        break;
      case "symlink":
        this.put(change.path, "symlink", null, change.target);
        break;
      default:
        this.put(change.path, change.kind, null);
    }
  }

  /** Lays the layer at hand over those below. */
  endLayer(): void {
    const pairs: [Name, Name][] = [[this.below, this.own]];
    for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
      const [below, own] = pair;
      for (const over of own.children?.values() ?? []) {
        const under = below.children?.get(over.name);
        if (under) this.names--; // one of the two goes
        if (under?.kind === "directory" && over.kind === "directory") {
          pairs.push([under, over]);
          continue;
        }
        if (under) this.hide(under, under.kind === "directory" ? "replaced" : "overwritten");
        below.children ??= new Map();
        below.children.set(over.name, over);
        over.parent = below;
      }
    }
    this.own = directory("", null);
  }

  private newInode(size: number, crc: bigint | null): Inode {
    const { layer } = this;
    const inode: Inode = { size, crc, layer, number: this.files++, name: null, links: 0 };
    this.events.created?.(inode);
    return inode;
  }

  /**
   * The inode that a hard link shares. Null where its target is in a lower layer: overlayfs copies that up, and the
   * tar has no data for it.
   */
  private linkTo(target: BytePath | null): Inode | null {
    return (target === null ? null : find(this.own, target))?.inode ?? null;
  }

  /** Puts something in place in the layer at hand, over what it may have there already: the last one wins. */
  private put(path: BytePath, kind: NameKind, inode: Inode | null, target: string | null = null): void {
    if (inode) inode.links++; // first, so that a name put over itself keeps its inode
    const parts = path === "" ? [] : path.split("/");
    let at = this.own;
    for (const name of parts) {
      this.become(at, "directory");
      at = at.children?.get(name) ?? this.newName(name, at);
    }
    if (at.parent === null) return; // the root is a directory, whatever a tar makes of it
    this.become(at, kind);
    at.inode = inode;
    at.target = target === null ? null : ownCopy(target);
    if (inode) inode.name ??= at;
  }

  /** An empty directory for a start. */
  private newName(name: string, parent: Name): Name {
    if (this.names === NAME_LIMIT)
      throw new FormatError("layer", `more than ${NAME_LIMIT} names in an image`);
    this.names++;
    const made = directory(ownCopy(name), parent);
    parent.children ??= new Map();
    parent.children.set(made.name, made);
    return made;
  }

  /** Clears a name of the layer at hand for another thing of the same layer. */
  private become(name: Name, kind: NameKind): void {
    if (name.kind === "directory" && kind === "directory") return;
    this.hide(name, name.kind === "directory" ? "replaced" : "overwritten");
    name.kind = kind;
    name.target = null;
  }

  private whiteout(path: BytePath): void {
    const name = find(this.below, path);
    if (!name?.parent) return;
    name.parent.children!.delete(name.name);
    this.names--;
    this.hide(name, "deleted");
  }

  private opaque(path: BytePath): void {
    const name = find(this.below, path);
    if (name?.kind === "directory") this.hide(name, "deleted");
  }

  /** Empties `top` and takes away all under it; what loses its last visible name by that is hidden. */
  private hide(top: Name, fate: Fate): void {
    const names = [top];
    for (let name = names.pop(); name; name = names.pop()) {
      if (name.inode && --name.inode.links === 0) this.events.hidden?.(name.inode, this.layer, fate);
      if (name.children) for (const child of name.children.values()) names.push(child);
      if (name !== top) this.names--;
      name.inode = null;
      name.children = null;
    }
  }
}

/** Lays one layer on `trees`, the same on each. Returns why it could not be read to its end, if so. */
export async function addLayer(
  trees: readonly MergedTree[],
  changes: AsyncIterable<Change>,
  onChange: (change: Change) => void = () => undefined,
): Promise<string | null> {
  let failure: string | null = null;
  for (const tree of trees) tree.beginLayer();
  try {
    for await (const change of changes) {
      onChange(change);
      for (const tree of trees) tree.add(change);
    }
  } catch (error) {
    const isRead = error instanceof UllageError || (error as NodeJS.ErrnoException).code !== undefined;
    if (!isRead || error instanceof InterruptedError) throw error;
    failure = messageOf(error);
  }
  for (const tree of trees) tree.endLayer();
  return failure;
}

export function pathOf(name: Name): BytePath {
  const parts: string[] = [];
  for (let at = name; at.parent; at = at.parent) parts.push(at.name);
  return parts.reverse().join("/") as BytePath;
}

function directory(name: string, parent: Name | null): Name {
  return { children: null, kind: "directory", inode: null, target: null, name, parent };
}

function find(root: Name, path: BytePath): Name | null {
  let at: Name | undefined = root;
  if (path !== "") for (const name of path.split("/")) at = at?.children?.get(name);
  return at ?? null;
}

/** A part of a string keeps the whole of it in memory; this one does not. */
function ownCopy(name: string): string {
  return Buffer.from(name, "latin1").toString("latin1");
}
