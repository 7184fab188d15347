/** Where the space went: every byte of the sources under one heading. */

import { displayPath } from "../byte-path.ts";
import {
  addSizes,
  HEADINGS,
  type Heading,
  NOTHING,
  type NodeId,
  type Size,
  type StoreNode,
  sumSizes,
} from "../graph/graph.ts";
import { reachable } from "../graph/sharing.ts";
import type { FileSystemUse, Store } from "../stores/store.ts";
import { type Holdings, isStopped } from "./holdings.ts";

export interface Category {
  readonly name: Heading;
  /** Images, or else the files behind the heading. */
  readonly count: number;
  readonly size: Size;
  /** What could go without taking from anything that is in use. */
  readonly reclaimable: Size;
}

export interface DfEntry {
  readonly heading: Heading;
  readonly source: string;
  /** Path inside the source, or what the files are. */
  readonly what: string;
  readonly size: Size;
  /** Images that need it. */
  readonly users: number;
}

export interface DfResult {
  readonly categories: readonly Category[];
  readonly total: Size;
  /** Of the file system that the only source lies on; null for archives and where there are several sources. */
  readonly filesystem: FileSystemUse | null;
  /** Allocated bytes that the sources take and no heading accounts for; null where nothing tells what they take. */
  readonly residual: number | null;
  readonly entries: readonly DfEntry[];
  readonly images: number;
  /** What the files of archives take that are compressed as a whole; null where none is. */
  readonly compressedBytes: number | null;
}

export interface DfOptions {
  /** All entries, or only the largest. */
  readonly list: boolean;
  readonly top: number | null;
}

export function df(holdings: Holdings, options: DfOptions): DfResult {
  const { graph } = holdings;
  const heading = graph.nodes.map((node, id) => headingOf(holdings, id, node.heading));
  const sizes = new Map<Heading, Size>();
  const counts = new Map<Heading, number>();
  const free = new Map<Heading, Size>();
  const idle = idleNodes(holdings, heading);
  graph.nodes.forEach((node, id) => {
    const name = heading[id]!;
    sizes.set(name, addSizes(sizes.get(name) ?? NOTHING, node.size));
    counts.set(name, (counts.get(name) ?? 0) + countOf(holdings, id, name));
    if (idle[id]) free.set(name, addSizes(free.get(name) ?? NOTHING, node.size));
  });
  const categories = HEADINGS.filter((name) => sizes.has(name)).map((name) => ({
    name,
    count: counts.get(name) ?? 0,
    size: sizes.get(name)!,
    reclaimable: free.get(name) ?? { ...NOTHING, inodes: sizes.get(name)!.inodes === null ? null : 0 },
  }));
  const total = sumSizes(categories.map((category) => category.size));
  return {
    categories,
    total,
    filesystem: onlyFileSystem(holdings),
    residual: residualOf(holdings, total),
    entries: options.list || options.top !== null ? entriesOf(holdings, heading, options.top) : [],
    images: holdings.images.length,
    compressedBytes: compressedBytes(holdings),
  };
}

/** What no root reaches is an orphan, whatever it once was. */
function headingOf(holdings: Holdings, id: NodeId, own: Heading): Heading {
  return holdings.reached[id] ? own : "orphans";
}

function countOf(holdings: Holdings, id: NodeId, heading: Heading): number {
  const node = holdings.node(id);
  const counted = COUNTED[heading];
  if (counted === "image") return holdings.listed.has(id) ? 1 : 0;
  if (counted !== undefined) return node.kind === counted ? 1 : 0;
  if (node.kind === "files") return node.count;
  return node.kind === "blob" || node.kind === "layer" ? 1 : 0;
}

/** What is counted under a heading that has things of its own. */
const COUNTED: Partial<Record<Heading, StoreNode["kind"]>> = {
  images: "image",
  containers: "container",
  volumes: "volume",
  "build-cache": "cache",
};

/** What the engine keeps no longer than it runs, what it writes for people only, and what nothing wants. */
const ALWAYS_IDLE: ReadonlySet<Heading> = new Set(["temporary", "logs", "orphans"]);

/** Nodes that would go if all of their kind went that nothing else uses: all images, or all containers that are not running. */
function idleNodes(holdings: Holdings, heading: readonly Heading[]): Uint8Array {
  const idle = Uint8Array.from(heading, (name) => (ALWAYS_IDLE.has(name) ? 1 : 0));
  const before = reachable(holdings.graph);
  for (const kind of Object.values(COUNTED)) {
    const goes = (id: NodeId): boolean => {
      const node = holdings.node(id);
      return node.kind === kind && (node.kind !== "container" || isStopped(node));
    };
    const after = reachable(holdings.graph, goes);
    for (let id = 0; id < idle.length; id++) if (before[id] && !after[id]) idle[id] = 1;
  }
  return idle;
}

function residualOf(holdings: Holdings, total: Size): number | null {
  let used = 0;
  for (const store of holdings.stores) {
    if (store.used === null) return null;
    used += store.used;
  }
  return total.allocated === null ? null : used - total.allocated;
}

function compressedBytes(holdings: Holdings): number | null {
  const lengths = holdings.stores.flatMap((store) => store.fileBytes ?? []);
  return lengths.length > 0 ? lengths.reduce((sum, length) => sum + length, 0) : null;
}

function onlyFileSystem(holdings: Holdings): FileSystemUse | null {
  return holdings.stores.length === 1 ? holdings.stores[0]!.filesystem : null;
}

function entriesOf(holdings: Holdings, heading: readonly Heading[], top: number | null): DfEntry[] {
  const entries = top === null ? [] : largestFiles(holdings, heading);
  const stores = new Set(top === null ? [] : holdings.stores.filter((store) => store.largest !== null));
  entries.push(...placesOf(holdings, heading).filter((entry) => !stores.has(entry.store)));
  entries.sort((a, b) => held(b.size) - held(a.size) || (a.what < b.what ? -1 : 1));
  const shown = top === null ? entries : entries.slice(0, top);
  return shown.map(({ store: _, ...entry }) => entry);
}

interface Entry extends DfEntry {
  readonly store: Store;
}

function largestFiles(holdings: Holdings, heading: readonly Heading[]): Entry[] {
  return holdings.stores.flatMap((store) =>
    (store.largest ?? []).map(({ node, path, size }): Entry => {
      const id = holdings.idIn(store, node);
      const users = holdings.usersOf(id).length;
      return { heading: heading[id]!, source: store.source, what: displayPath(path), size, users, store };
    }),
  );
}

function placesOf(holdings: Holdings, heading: readonly Heading[]): Entry[] {
  return holdings.graph.nodes.flatMap((node, id): Entry[] => {
    if (node.size.apparent === 0 && node.size.allocated === 0) return [];
    const parts = [node.path && displayPath(node.path), node.kind === "files" ? node.what : null];
    const what = parts.filter((part) => part !== null).join(": ");
    const users = holdings.usersOf(id).length;
    const store = holdings.storeOf(id);
    return [{ heading: heading[id]!, source: store.source, what, size: node.size, users, store }];
  });
}

/** What a size counts as when things are put in order: allocated where known. */
export function held(size: Size): number {
  return size.allocated ?? size.apparent;
}
