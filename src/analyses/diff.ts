/** Which files make the difference between two images, or a container and its image: in bytes, and names beside them. */
import { type BytePath, displayPath, parentOf, ROOT } from "../byte-path.ts";
import { Crc64 } from "../bytes/crc64.ts";
import { InterruptedError, messageOf, UllageError } from "../errors.ts";
import type { Change } from "../formats/layer.ts";
import { addSizes, NOTHING, type NodeId, type Size } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import { type Compared, compareTrees, type Found } from "./compare-trees.ts";
import { findPair, type Pair, type Side, type SideLayer } from "./diff-sides.ts";
import type { Holdings } from "./holdings.ts";
import type { ReadableLayer } from "./layer-changes.ts";
import { addLayer, type Inode, MergedTree, pathOf } from "./merged-tree.ts";
import { type OwnChange, OwnChanges } from "./own-changes.ts";

export type FileStatus = "added" | "removed" | "changed" | "same-content";

export interface DiffFile {
  readonly path: BytePath;
  readonly status: FileStatus;
  /** Lengths; a file of several names counts at one of them. */
  readonly bytesA: number;
  readonly bytesB: number;
}

export interface DiffFolder {
  /** The root for files that are in no folder. */
  readonly path: BytePath;
  readonly bytesA: number;
  readonly bytesB: number;
  /** Of names that differ in or below it. */
  readonly count: number;
}

/** What both sides have of something: lengths of files, and inodes. */
export interface Tally {
  readonly count: number;
  readonly a: Size;
  readonly b: Size;
}

export interface LayerSum {
  readonly count: number;
  /** As stored. */
  readonly size: Size;
}

export interface DiffSide {
  readonly node: NodeId | null;
  readonly kind: "image" | "container";
  readonly title: string;
  readonly source: string;
  readonly platform: string | null;
  /** All that is visible in it. */
  readonly files: Size;
}

export interface DiffResult {
  readonly a: DiffSide;
  readonly b: DiffSide;
  readonly isOwn: boolean;
  readonly layers: { readonly common: LayerSum; readonly onlyA: LayerSum; readonly onlyB: LayerSum };
  /** Files of layers that both have, and what else is alike on both sides. */
  readonly same: Tally;
  readonly onlyA: Size;
  readonly onlyB: Size;
  readonly changed: Tally;
  /** At the same path in different layers: the same bytes, kept twice. */
  readonly sameContent: Tally;
  /** B without A. */
  readonly delta: Size;
  /** Files that differ, by what they make larger or smaller; then those of the same content. As many of each as asked for. */
  readonly files: readonly DiffFile[];
  /** How many there are of those that differ. */
  readonly fileCount: number;
  readonly folders: readonly DiffFolder[];
  /** What a container has changed, as `docker diff` tells it, by path; null for any other pair. */
  readonly changes: readonly OwnChange[] | null;
  /** What could not be read, so that the result is short of it. */
  readonly unread: readonly string[];
  readonly remarks: readonly string[];
}

export interface DiffOptions {
  readonly names: readonly string[];
  readonly platform: string | null;
  /** How many files, and folders, to name. */
  readonly top: number;
  /** Components of a folder's path to add up by. */
  readonly depth: number;
}

/** Throws what {@link findPair} throws. */
export async function diff(holdings: Holdings, options: DiffOptions, run: Run): Promise<DiffResult> {
  const pair = findPair(holdings, options.names, options.platform);
  const stacks = await readPair(pair, run);
  const summary = new Summary(pair, stacks, options);
  const [a, b] = [layerNumbers(pair.a, pair), layerNumbers(pair.b, pair)];
  const trees = [stacks.a.tree, stacks.b.tree] as const;
  for (const found of compareTrees({ tree: trees[0], layers: a }, { tree: trees[1], layers: b }))
    await summary.add(found, run.signal);
  return summary.result();
}

/** What a side's layers make together. */
interface Stack {
  readonly side: Side;
  readonly tree: MergedTree;
  /** What the uppermost layer names. */
  readonly named: Set<BytePath>;
}

interface Stacks {
  readonly a: Stack;
  readonly b: Stack;
  readonly unread: string[];
}

/** The layers that both begin with are read once. */
async function readPair({ a, b }: Pair, run: Run): Promise<Stacks> {
  const stackOf = (side: Side): Stack => ({ side, tree: new MergedTree(), named: new Set() });
  const stacks: Stacks = { a: stackOf(a), b: stackOf(b), unread: [] };
  let common = 0;
  while (common < a.layers.length && a.layers[common]!.key === b.layers[common]?.key) common++;
  const reader = new Reader(stacks.unread, run);
  try {
    await reader.open(a.layers);
    await reader.open(b.layers.slice(common));
    reader.begin();
    for (const layer of a.layers.slice(0, common)) await reader.read(layer, [stacks.a, stacks.b]);
    const rest = (stack: Stack): Promise<void> => reader.readAll(stack.side.layers.slice(common), stack);
    await Promise.all([rest(stacks.a), rest(stacks.b)]);
  } finally {
    await reader.close();
  }
  return stacks;
}

class Reader {
  private readonly opened = new Map<SideLayer, ReadableLayer>();
  private readonly unread: string[];
  private readonly run: Run;

  constructor(unread: string[], run: Run) {
    this.unread = unread;
    this.run = run;
  }

  async open(layers: readonly SideLayer[]): Promise<void> {
    for (const layer of layers) {
      try {
        const opened = await layer.open();
        if (opened) this.opened.set(layer, opened);
        else this.unread.push(`${layer.label} is not here`);
      } catch (error) {
        if (!(error instanceof UllageError) || error instanceof InterruptedError) throw error;
        this.unread.push(`${layer.label}: ${messageOf(error)}`);
      }
    }
  }

  begin(): void {
    const bytes = [...this.opened.values()].map(({ stored }) => stored?.source.byteLength ?? 0);
    this.run.progress.begin(
      "reading layers",
      bytes.reduce((sum, one) => sum + one, 0),
    );
  }

  async readAll(layers: readonly SideLayer[], stack: Stack): Promise<void> {
    for (const layer of layers) await this.read(layer, [stack]);
  }

  /** Lays a layer on stacks that are equal so far. */
  async read(layer: SideLayer, stacks: readonly Stack[]): Promise<void> {
    const trees = stacks.map((stack) => stack.tree);
    const tops = stacks.filter(({ side }) => side.layers.at(-1) === layer);
    const note = (change: Change): void => {
      if (!("path" in change) || change.kind === "whiteout" || change.kind === "opaque") return;
      for (const { named } of tops) named.add(change.path);
    };
    const failure = await addLayer(trees, this.changesOf(layer, trees[0]!), note);
    if (failure !== null) this.unread.push(`${layer.label} was not read to its end: ${failure}`);
  }

  private async *changesOf(layer: SideLayer, below: MergedTree): AsyncGenerator<Change> {
    const opened = this.opened.get(layer);
    if (!opened) return;
    const progress = (count: number): void => {
      if (this.run.signal.aborted) throw new InterruptedError("interrupted");
      this.run.progress.advance(count);
    };
    for await (const change of opened.changes({ checksums: true }, progress))
      if (layer.counts(change, below)) yield change;
  }

  async close(): Promise<void> {
    this.run.progress.end();
    await Promise.all([...this.opened.values()].map((layer) => layer.close()));
  }
}

/** A number for each layer of a side: equal for those that are one. */
function layerNumbers(side: Side, { a, b }: Pair): number[] {
  const keys = [...new Set([...a.layers, ...b.layers].map((layer) => layer.key))];
  const numbers = new Map(keys.map((key, i) => [key, i]));
  return side.layers.map((layer) => numbers.get(layer.key)!);
}

/** Adds up what is found path by path. */
class Summary {
  private readonly pair: Pair;
  private readonly stacks: Stacks;
  private readonly options: DiffOptions;
  private readonly tallies = { same: tally(), changed: tally(), "same-content": tally() };
  private readonly only = { a: NONE, b: NONE };
  private readonly differing: Longest;
  private readonly alike: Longest;
  private readonly folders = new Map<BytePath, { bytesA: number; bytesB: number; count: number }>();
  private readonly own: OwnChanges | null;
  private fileCount = 0;
  private uncompared = 0;

  constructor(pair: Pair, stacks: Stacks, options: DiffOptions) {
    this.pair = pair;
    this.stacks = stacks;
    this.options = options;
    this.differing = new Longest(options.top);
    this.alike = new Longest(options.top);
    const isView = pair.b.layers.some((layer) => layer.isView);
    this.own = pair.isOwn ? new OwnChanges(isView ? new Set() : stacks.b.named) : null;
  }

  async add(found: Compared, signal: AbortSignal): Promise<void> {
    const { path, a, b } = found;
    const status = found.outcome === "alike" ? await this.alikeStatus(found, signal) : statusOf(found);
    this.own?.add(found, status);
    if (status === "removed") this.only.a = addSizes(this.only.a, sizeOf(a!));
    else if (status === "added") this.only.b = addSizes(this.only.b, sizeOf(b!));
    else this.tallies[status].add(a!, b!);
    const isFolder = (a ?? b)!.kind === "directory" && status !== "changed";
    if (status === "same" || isFolder) return;
    const file = { path, status, bytesA: a?.bytes ?? 0, bytesB: b?.bytes ?? 0 } as DiffFile;
    if (status === "same-content") return this.alike.add(file);
    this.fileCount++;
    this.differing.add(file);
    this.addToFolder(file);
  }

  /** Of two files of one length: their bytes are compared by checksum, read for it where no list has it. */
  private async alikeStatus(found: Compared, signal: AbortSignal): Promise<FileStatus | "same"> {
    const [x, y] = [found.a!.name.inode!, found.b!.name.inode!];
    if (x.size === 0) return "same";
    const sums = [await this.checksum(this.pair.a, x, signal), await this.checksum(this.pair.b, y, signal)];
    if (sums.includes(null)) this.uncompared++;
    if (sums[0] === null || sums[0] !== sums[1]) return "changed";
    return this.pair.b.layers[y.layer]!.isView || this.pair.a.layers[x.layer]!.isView
      ? "same"
      : "same-content";
  }

  private async checksum(side: Side, inode: Inode, signal: AbortSignal): Promise<bigint | null> {
    if (inode.crc !== null) return inode.crc;
    try {
      const source = await side.layers[inode.layer]!.content(pathOf(inode.name!));
      if (source === null) return null;
      try {
        const crc = new Crc64();
        for await (const chunk of source.stream()) {
          if (signal.aborted) throw new InterruptedError("interrupted");
          crc.update(chunk);
        }
        return crc.digest();
      } finally {
        await source.close();
      }
    } catch (error) {
      if (error instanceof InterruptedError) throw error;
      this.stacks.unread.push(messageOf(error));
      return null;
    }
  }

  private addToFolder({ path, bytesA, bytesB }: DiffFile): void {
    const folder = parentOf(path).split("/").slice(0, this.options.depth).join("/") as BytePath;
    const sum = this.folders.get(folder);
    if (!sum) this.folders.set(folder, { bytesA, bytesB, count: 1 });
    else {
      sum.bytesA += bytesA;
      sum.bytesB += bytesB;
      sum.count++;
    }
  }

  result(): DiffResult {
    const { pair, stacks, only, options } = this;
    const { same, changed, "same-content": sameContent } = this.tallies;
    const shared = [same, changed, sameContent];
    const total = (own: Size, of: (one: TallySum) => Size): Size =>
      shared.reduce((sum, one) => addSizes(sum, of(one)), own);
    const [a, b] = [total(only.a, (one) => one.a), total(only.b, (one) => one.b)];
    const folders = [...this.folders].map(([path, sum]) => ({ path, ...sum })).sort(byDifference);
    return {
      a: sideResult(pair.a, a),
      b: sideResult(pair.b, b),
      isOwn: pair.isOwn,
      layers: layerSums(pair),
      same: same.result(),
      onlyA: only.a,
      onlyB: only.b,
      changed: changed.result(),
      sameContent: sameContent.result(),
      delta: { apparent: b.apparent - a.apparent, allocated: null, inodes: b.inodes! - a.inodes! },
      files: [...this.differing.sorted(), ...this.alike.sorted()],
      fileCount: this.fileCount,
      folders: folders.slice(0, options.top),
      changes: this.own?.result() ?? null,
      unread: stacks.unread,
      remarks: [...doubtsOf(stacks.a), ...doubtsOf(stacks.b), ...this.remarks()],
    };
  }

  private remarks(): string[] {
    const remarks: string[] = [];
    if (this.uncompared > 0)
      remarks.push(`${this.uncompared} files of equal length could not be compared, and count as changed`);
    if (this.pair.isOwn && this.pair.b.layers.some((layer) => layer.isView))
      remarks.push("changes of mode or owner alone are not seen: the driver keeps whole copies");
    return remarks;
  }
}

/** Files have lengths; what they take on disk depends on who holds them. */
const NONE: Size = { apparent: 0, allocated: null, inodes: 0 };

function sizeOf({ bytes, inodes }: Found): Size {
  return { apparent: bytes, allocated: null, inodes };
}

function statusOf({ a, b, outcome }: Compared): "same" | "added" | "removed" | "changed" {
  if (outcome === "same") return "same";
  if (a === null) return "added";
  return b === null ? "removed" : "changed";
}

function sideResult({ node, kind, title, source, platform }: Side, files: Size): DiffSide {
  return { node, kind, title, source, platform, files };
}

interface TallySum {
  readonly a: Size;
  readonly b: Size;
  add(a: Found, b: Found): void;
  result(): Tally;
}

function tally(): TallySum {
  let [count, a, b] = [0, NONE, NONE];
  return {
    get a() {
      return a;
    },
    get b() {
      return b;
    },
    add(x, y) {
      count++;
      a = addSizes(a, sizeOf(x));
      b = addSizes(b, sizeOf(y));
    },
    result: () => ({ count, a, b }),
  };
}

/** Keeps the files of the largest difference; never more than a multiple of what is asked for. */
class Longest {
  private readonly files: DiffFile[] = [];
  private readonly count: number;

  constructor(count: number) {
    this.count = count;
  }

  add(file: DiffFile): void {
    if (this.count === 0) return;
    this.files.push(file);
    if (this.files.length >= 2 * this.count + 1000) this.cut();
  }

  sorted(): readonly DiffFile[] {
    this.cut();
    return this.files;
  }

  private cut(): void {
    this.files.sort(byDifference);
    this.files.length = Math.min(this.files.length, this.count);
  }
}

type Bytes = Pick<DiffFile, "path" | "bytesA" | "bytesB">;

/** What grows or shrinks most comes first; of those that do alike, the largest. */
function byDifference(x: Bytes, y: Bytes): number {
  const difference = (one: Bytes): number => Math.abs(one.bytesB - one.bytesA);
  const larger = (one: Bytes): number => Math.max(one.bytesA, one.bytesB);
  return difference(y) - difference(x) || larger(y) - larger(x) || (x.path < y.path ? -1 : 1);
}

function layerSums({ a, b }: Pair): DiffResult["layers"] {
  const keysOf = (side: Side): Map<string, Size> =>
    new Map(side.layers.filter((one) => one.role !== "init").map((layer) => [layer.key, layer.size]));
  const [inA, inB] = [keysOf(a), keysOf(b)];
  const sum = (from: ReadonlyMap<string, Size>, fits: (key: string) => boolean): LayerSum => {
    const sizes = [...from].flatMap(([key, size]) => (fits(key) ? [size] : []));
    return { count: sizes.length, size: sizes.reduce(addSizes, NOTHING) };
  };
  return {
    common: sum(inA, (key) => inB.has(key)),
    onlyA: sum(inA, (key) => !inB.has(key)),
    onlyB: sum(inB, (key) => !inA.has(key)),
  };
}

/** Folders of which it could not be seen what they hide, where it makes a difference. */
function doubtsOf({ side, tree, named }: Stack): string[] {
  return side.layers.flatMap((layer) => {
    const { maybeOpaque, redirected } = layer.doubts;
    if (layer.role === "init") return []; // the engine makes it anew, of plain folders
    const isTop = layer === side.layers.at(-1);
    const doubtful = [...maybeOpaque].filter((path) => !isTop || showsLower(tree, path, named));
    const remarks: string[] = [];
    if (doubtful.length > 0)
      remarks.push(
        `${side.title}: ${listed(doubtful)} may hide more of what is below than is told here: extended attributes cannot be read from a folder; a tar of it made with --xattrs tells`,
      );
    if (redirected.size > 0)
      remarks.push(`${side.title}: ${listed([...redirected])} was renamed in place, which is not followed`);
    return remarks;
  });
}

/** Whether a folder of the uppermost layer shows anything that this layer does not bring. */
function showsLower(tree: MergedTree, path: BytePath, named: ReadonlySet<BytePath>): boolean {
  const names = [...(tree.find(path)?.children?.keys() ?? [])];
  return names.some(
    (name) => !named.has(path === ROOT ? (name as BytePath) : (`${path}/${name}` as BytePath)),
  );
}

const LISTED = 3;

function listed(paths: readonly BytePath[]): string {
  const shown = paths.slice(0, LISTED).map((path) => displayPath(path));
  const more = paths.length - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more} more` : shown.join(", ");
}
