/**
 * Bytes that an image carries and nobody can see: files that a later layer of it overwrites or deletes. Every
 * copy but the last visible one counts, so a file written once and deleted once is wasted once.
 */
import type { BytePath } from "../byte-path.ts";
import { FormatError, InterruptedError, messageOf, UllageError } from "../errors.ts";
import { type Change, readLayer } from "../formats/layer.ts";

/** What became of a copy: `replaced` when a directory it was in gave way to something that is none. */
export type Fate = "overwritten" | "deleted" | "replaced";

export interface LayerWaste {
  readonly label: string;
  /** Of the files the layer brings; a file of several hard links once. */
  readonly fileBytes: number;
  readonly fileCount: number;
  /** Of those, what cannot be seen in the image. */
  readonly wastedBytes: number;
  readonly wastedCount: number;
  readonly whiteoutCount: number;
  readonly opaqueCount: number;
  /** Members passed over because of their name. */
  readonly invalidCount: number;
  /** Why it could not be read to its end; what came before that is counted. */
  readonly failure: string | null;
}

export interface WastedPath {
  readonly path: BytePath;
  /** Of all wasted copies of it. */
  readonly bytes: number;
  readonly copies: number;
  /** Position of the layer that holds the largest of those copies, and of the one that hides it; may be the same. */
  readonly layer: number;
  readonly hiddenBy: number;
  readonly fate: Fate;
}

export interface WasteResult {
  /** Base first. */
  readonly layers: readonly LayerWaste[];
  readonly fileBytes: number;
  readonly wastedBytes: number;
  /** 1 - wasted / all bytes of files; 1 for an image without any. */
  readonly efficiency: number;
  /** Most wasted bytes first, then by path; none of zero bytes. */
  readonly worst: readonly WastedPath[];
}

/** {@link measureWaste} of layers as they are stored, base first; `onBytes` hears of each piece of them read. */
export function wasteOf(
  layers: readonly { readonly label: string; stream(): AsyncIterable<Uint8Array> }[],
  top: number,
  onBytes: (count: number) => void = () => undefined,
): Promise<WasteResult> {
  async function* counted(layer: { stream(): AsyncIterable<Uint8Array> }): AsyncGenerator<Uint8Array> {
    for await (const chunk of layer.stream()) {
      onBytes(chunk.length);
      yield chunk;
    }
  }
  const changes = layers.map((layer) => ({
    label: layer.label,
    changes: readLayer(counted(layer), layer.label),
  }));
  return measureWaste(changes, top);
}

/** Stacks the layers of one image, base first, and tells what of them is hidden; `top` paths are named. */
export async function measureWaste(
  layers: readonly { readonly label: string; readonly changes: AsyncIterable<Change> }[],
  top: number,
): Promise<WasteResult> {
  const stack = new Stack();
  for (const { label, changes } of layers) {
    const failure = await addLayer(stack, label, changes);
    stack.endLayer(failure);
  }
  return stack.result(top);
}

/** Returns why the layer could not be read to its end, if so. */
async function addLayer(stack: Stack, label: string, changes: AsyncIterable<Change>): Promise<string | null> {
  stack.beginLayer(label);
  try {
    for await (const change of changes) stack.add(change);
    return null;
  } catch (error) {
    const isRead = error instanceof UllageError || (error as NodeJS.ErrnoException).code !== undefined;
    if (!isRead || error instanceof InterruptedError) throw error;
    return messageOf(error);
  }
}

/** A name in a tree. A directory, even an implied one, has no inode; nor have links, devices and other things without data. */
interface Node {
  /** Null for anything but a directory; made when the first child is. */
  children: Map<string, Node> | null;
  isDirectory: boolean;
  inode: Inode | null;
  readonly name: string;
  parent: Node | null;
}

interface Inode {
  readonly size: number;
  readonly layer: number;
  /** Where its data came in the tar; parents stay linked when it leaves the tree, so that its path can be told. */
  node: Node | null;
  /** Names that are still visible. */
  links: number;
}

/** More names than this in one image are refused: some 200 bytes each. */
const NAME_LIMIT = 8_000_000;

/**
 * Two trees: `below`, what the layers so far make visible, and `own`, what the layer at hand puts in place. Markers
 * take from `below` at once, so they never hide what their own layer brings, in whatever order the tar has them;
 * `own` is laid over `below` when the layer ends. Each name enters a tree once and leaves it once, so the time is
 * linear in names. No recursion: depth is up to the tar.
 */
class Stack {
  private below = directory("", null);
  private own = directory("", null);
  private readonly layers: { -readonly [Key in keyof LayerWaste]: LayerWaste[Key] }[] = [];
  private readonly wasted = new Map<BytePath, Wasted>();
  private names = 0;

  beginLayer(label: string): void {
    const counts = { fileBytes: 0, fileCount: 0, wastedBytes: 0, wastedCount: 0 };
    this.layers.push({ label, ...counts, whiteoutCount: 0, opaqueCount: 0, invalidCount: 0, failure: null });
  }

  add(change: Change): void {
    const layer = this.layers[this.layers.length - 1]!;
    switch (change.kind) {
      case "file":
        this.put(change.path, false, this.newInode(change.size));
        break;
      case "hardlink":
        this.put(change.path, false, this.linkTo(change.target) ?? this.newInode(0));
        break;
      case "whiteout":
        layer.whiteoutCount++;
        this.whiteout(change.path);
        break;
      case "opaque":
        layer.opaqueCount++;
        this.opaque(change.path);
        break;
      case "invalid":
        layer.invalidCount++;
        break;
      default:
        this.put(change.path, change.kind === "directory", null);
    }
  }

  endLayer(failure: string | null): void {
    this.layers[this.layers.length - 1]!.failure = failure;
    this.merge();
  }

  result(top: number): WasteResult {
    const fileBytes = sum(this.layers, (layer) => layer.fileBytes);
    const wastedBytes = sum(this.layers, (layer) => layer.wastedBytes);
    const paths = [...this.wasted].filter(([, { bytes }]) => bytes > 0);
    paths.sort(([a, x], [b, y]) => y.bytes - x.bytes || (a < b ? -1 : 1));
    return {
      layers: this.layers,
      fileBytes,
      wastedBytes,
      efficiency: fileBytes === 0 ? 1 : 1 - wastedBytes / fileBytes,
      worst: paths.slice(0, top).map(([path, { largest: _, ...rest }]) => ({ path, ...rest })),
    };
  }

  private newInode(size: number): Inode {
    const index = this.layers.length - 1;
    const layer = this.layers[index]!;
    layer.fileBytes += size;
    layer.fileCount++;
    return { size, layer: index, node: null, links: 0 };
  }

  /**
   * The inode that a hard link shares. Null where its target is in a lower layer: overlayfs copies that up, and the
   * tar has no data for it.
   */
  private linkTo(target: BytePath | null): Inode | null {
    return (target === null ? null : find(this.own, target))?.inode ?? null;
  }

  /** Puts something in place in the layer at hand, over what it may have there already: the last one wins. */
  private put(path: BytePath, isDirectory: boolean, inode: Inode | null): void {
    if (inode) inode.links++; // first, so that a name put over itself keeps its inode
    const parts = path === "" ? [] : path.split("/");
    let at = this.own;
    for (const name of parts) {
      this.become(at, true);
      at = at.children?.get(name) ?? this.newName(name, at);
    }
    if (at.parent === null) return; // the root is a directory, whatever a tar makes of it
    this.become(at, isDirectory);
    at.inode = inode;
    if (inode) inode.node ??= at;
  }

  /** An empty directory for a start. */
  private newName(name: string, parent: Node): Node {
    if (this.names === NAME_LIMIT)
      throw new FormatError("layer", `more than ${NAME_LIMIT} names in an image`);
    this.names++;
    const node = directory(ownCopy(name), parent);
    parent.children ??= new Map();
    parent.children.set(node.name, node);
    return node;
  }

  /** Clears a node of the layer at hand for another thing of the same layer. */
  private become(node: Node, isDirectory: boolean): void {
    if (node.isDirectory && isDirectory) return;
    this.hide(node, this.layers.length - 1, node.isDirectory ? "replaced" : "overwritten");
    node.isDirectory = isDirectory;
  }

  private whiteout(path: BytePath): void {
    const node = find(this.below, path);
    if (!node?.parent) return;
    node.parent.children!.delete(node.name);
    this.names--;
    this.hide(node, this.layers.length - 1, "deleted");
  }

  private opaque(path: BytePath): void {
    const node = find(this.below, path);
    if (node?.isDirectory) this.hide(node, this.layers.length - 1, "deleted");
  }

  /** Lays the layer at hand over those below. */
  private merge(): void {
    const pairs: [Node, Node][] = [[this.below, this.own]];
    for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
      const [below, own] = pair;
      for (const over of own.children?.values() ?? []) {
        const under = below.children?.get(over.name);
        if (under) this.names--; // one of the two goes
        if (under?.isDirectory && over.isDirectory) {
          pairs.push([under, over]);
          continue;
        }
        if (under) this.hide(under, this.layers.length - 1, under.isDirectory ? "replaced" : "overwritten");
        below.children ??= new Map();
        below.children.set(over.name, over);
        over.parent = below;
      }
    }
    this.own = directory("", null);
  }

  /** Empties `top` and takes away all under it; what loses its last visible name by that is wasted. */
  private hide(top: Node, by: number, fate: Fate): void {
    const nodes = [top];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      if (node.inode && --node.inode.links === 0) this.waste(node.inode, by, fate);
      if (node.children) for (const child of node.children.values()) nodes.push(child);
      if (node !== top) this.names--;
      node.inode = null;
      node.children = null;
    }
  }

  private waste({ size, layer, node }: Inode, by: number, fate: Fate): void {
    this.layers[layer]!.wastedBytes += size;
    this.layers[layer]!.wastedCount++;
    const path = pathOf(node!);
    const before = this.wasted.get(path);
    const copies = (before?.copies ?? 0) + 1;
    const bytes = (before?.bytes ?? 0) + size;
    if (before && before.largest >= size) Object.assign(before, { copies, bytes });
    else this.wasted.set(path, { bytes, copies, layer, hiddenBy: by, fate, largest: size });
  }
}

interface Wasted extends Omit<WastedPath, "path"> {
  readonly largest: number;
}

function directory(name: string, parent: Node | null): Node {
  return { children: null, isDirectory: true, inode: null, name, parent };
}

function find(root: Node, path: BytePath): Node | null {
  let at: Node | undefined = root;
  if (path !== "") for (const name of path.split("/")) at = at?.children?.get(name);
  return at ?? null;
}

/** A part of a string keeps the whole of it in memory; this one does not. */
function ownCopy(name: string): string {
  return Buffer.from(name, "latin1").toString("latin1");
}

function pathOf(node: Node): BytePath {
  const parts: string[] = [];
  for (let at = node; at.parent; at = at.parent) parts.push(at.name);
  return parts.reverse().join("/") as BytePath;
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
