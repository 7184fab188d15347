/** Whose is this? From a path, an ID or a digest to what it is, and to everything that keeps it. */
import { type BytePath, bytePathFromText, displayPath, parentOf, parseBytePath, ROOT } from "../byte-path.ts";
import type { NodeId, Orphan, Size, StoreNode } from "../graph/graph.ts";
import type { Store } from "../stores/store.ts";
import { type Holdings, shortId, titleOf, unitTitle, unitTitles } from "./holdings.ts";

export interface Owner {
  readonly node: NodeId;
  readonly source: string;
  /** Its own place; null where it has none. */
  readonly path: BytePath | null;
  /** What was asked for is below that place, here. */
  readonly below: BytePath | null;
  /** What it is, in words. */
  readonly what: string;
  readonly size: Size;
  /** What an engine would have to delete, all of it, before this goes. */
  readonly holders: readonly NodeId[];
  /** Why it is there though none of those holds it. */
  readonly because: readonly string[];
  readonly orphan: Orphan | null;
}

/** The owners of what `text` names; several where it is in several sources, none where it is in no source. */
export function whoOwns(holdings: Holdings, text: string, hostPath: string | null): Owner[] {
  const found = new Map<NodeId, BytePath | null>();
  for (const store of holdings.stores) {
    const path = pathIn(store, text, hostPath);
    const place = path === null ? null : placeAbove(holdings, store, path);
    if (place) found.set(place.node, place.path === path ? null : path);
  }
  if (found.size === 0) for (const node of named(holdings, text)) found.set(node, null);
  return [...found].map(([node, below]) => ownerOf(holdings, node, below));
}

/** What is asked for as a path inside a store: a path of the host, or of the store. */
function pathIn(store: Store, text: string, hostPath: string | null): BytePath | null {
  const root = store.tree.hostPath(ROOT);
  if (hostPath !== null && root !== null) {
    if (hostPath === root) return ROOT;
    if (hostPath.startsWith(`${root}/`)) return parseBytePath(hostPath.slice(root.length + 1));
  }
  return text.startsWith("/") ? null : bytePathFromText(text.replace(/\/+$/, ""));
}

/** The place that a path is in or is; the store's own top only where that was asked for. */
function placeAbove(
  holdings: Holdings,
  store: Store,
  path: BytePath,
): { node: NodeId; path: BytePath } | null {
  const places = placesOf(holdings, store);
  for (let at = path; ; at = parentOf(at)) {
    const node = places.get(at);
    if (node !== undefined && (at !== ROOT || path === ROOT)) return { node, path: at };
    if (at === ROOT) return null;
  }
}

function placesOf(holdings: Holdings, store: Store): Map<BytePath, NodeId> {
  const places = new Map<BytePath, NodeId>();
  holdings.graph.nodes.forEach((node, id) => {
    if (node.path !== null && holdings.storeOf(id) === store) places.set(node.path, id);
  });
  return places;
}

/** Beginnings of IDs and digests are taken from this many digits on. */
const LEAST_DIGITS = 6;

function named(holdings: Holdings, text: string): NodeId[] {
  const wanted = text.toLowerCase().replace(/^[a-z0-9]+:/, "");
  const isId = /^[0-9a-z]+(-init)?$/.test(wanted) && wanted.length >= LEAST_DIGITS;
  const matches = (id: string | null | undefined): boolean =>
    id != null &&
    isId &&
    id
      .slice(id.indexOf(":") + 1)
      .toLowerCase()
      .startsWith(wanted);
  const exact: NodeId[] = [];
  const begun: NodeId[] = [];
  holdings.graph.nodes.forEach((node, id) => {
    const [ids, names] = idsOf(node);
    const place = node.path === null ? null : node.path.slice(node.path.lastIndexOf("/") + 1);
    if (names.includes(text) || ids.includes(text) || place === text) exact.push(id);
    else if (ids.some(matches) || (node.path !== null && matches(place))) begun.push(id);
  });
  const found = exact.length > 0 ? exact : begun;
  const things = found.filter((id) => holdings.node(id).kind !== "files");
  return things.length > 0 ? things : found; // and not their records as well
}

/** IDs and digests, which may be shortened; names, which may not. */
function idsOf(node: StoreNode): [readonly string[], readonly string[]] {
  const some = (values: readonly (string | null | undefined)[]): string[] =>
    values.filter((one) => one != null) as string[];
  switch (node.kind) {
    case "image":
      return [
        some([node.imageId, ...node.digests, ...node.platforms.map((one) => one.manifest)]),
        node.names,
      ];
    case "layer":
      return [some([node.chainId, node.diffId]), []];
    case "blob":
      return [some([node.digest]), []];
    case "container":
      return [[node.containerId], [node.name]];
    case "volume":
      return [[], [node.name]];
    case "cache":
      return [[node.recordId], []];
    case "files":
      return [[], []];
  }
}

function ownerOf(holdings: Holdings, id: NodeId, below: BytePath | null): Owner {
  const node = holdings.node(id);
  const holders = holdings.holdersOf(id).filter((one) => one !== id);
  const reasons = holdings.graph.roots.filter((root) => root.node === id).map((root) => root.because);
  return {
    node: id,
    source: holdings.storeOf(id).source,
    path: node.path,
    below,
    what: describe(holdings, id, node),
    size: node.size,
    holders,
    because: reasons,
    orphan: node.orphan ?? null,
  };
}

function describe(holdings: Holdings, id: NodeId, node: StoreNode): string {
  switch (node.kind) {
    case "image":
      return `image ${titleOf(node)}`;
    case "layer": {
      const name = node.diffId ?? node.chainId;
      return `layer ${name ? shortId(name) : ""}`;
    }
    case "blob":
      return node.role === "config"
        ? "config of an image"
        : `${node.role} ${node.digest ? shortId(node.digest) : ""}`;
    case "container":
      return `container ${node.name} (${node.state ?? "state unknown"})`;
    case "files": {
      const owners = [...holdings.neededBy(id)].map((one) => holdings.node(one));
      const of = owners.length > 0 && node.heading !== "metadata" ? ` of ${ownTitles(owners)}` : "";
      return node.what + (/ of /.test(node.what) && of !== "" ? `: ${ownTitles(owners)}` : of);
    }
    default:
      return unitTitle(node);
  }
}

function ownTitles(owners: readonly StoreNode[]): string {
  const titles = unitTitles(owners.filter((one) => one.kind !== "layer" && one.kind !== "files"));
  const layers = owners.flatMap((one) =>
    one.kind === "layer" ? [`layer ${one.diffId ? shortId(one.diffId) : ""}`] : [],
  );
  const files = owners.flatMap((one) => (one.kind === "files" && one.path ? [displayPath(one.path)] : []));
  return [...titles, ...layers, ...files].slice(0, 3).join(", ");
}
