/** What nothing wants any more: where it lies, why, and what shows it. */
import { type BytePath, parentOf, ROOT } from "../byte-path.ts";
import { addSizes, type NodeId, type Size } from "../graph/graph.ts";
import type { Holdings } from "./holdings.ts";

export interface OrphanRow {
  readonly node: NodeId;
  readonly source: string;
  readonly path: BytePath;
  /** What it is, in words. */
  readonly kind: string;
  readonly cause: string;
  readonly evidence: readonly string[];
  readonly size: Size;
  /** Whether deleting it loses nothing that anybody could want. */
  readonly safe: boolean;
}

/** Each place on a line of its own, with all that is below it; in the order of the sources. */
export function orphans(holdings: Holdings): OrphanRow[] {
  const rows = new Map(placesOf(holdings).map((row) => [`${row.source}\0${row.path}`, row]));
  for (const [key, row] of rows) {
    const above = rowAbove(rows, row);
    if (!above) continue;
    rows.set(`${above.source}\0${above.path}`, { ...above, size: addSizes(above.size, row.size) });
    rows.delete(key);
  }
  return [...rows.values()];
}

function rowAbove(rows: ReadonlyMap<string, OrphanRow>, row: OrphanRow): OrphanRow | null {
  for (let at = parentOf(row.path); at !== ROOT; at = parentOf(at)) {
    const above = rows.get(`${row.source}\0${at}`);
    if (above) return above;
  }
  return null;
}

function placesOf(holdings: Holdings): OrphanRow[] {
  const lacking = sourcesLacking(holdings);
  return holdings.graph.nodes.flatMap((node, id): OrphanRow[] => {
    if (holdings.reached[id] || node.path === null) return [];
    const { source } = holdings.storeOf(id);
    const doubt = lacking.get(source);
    const unreferenced = {
      cause: "unreferenced",
      evidence: [
        "no manifest or index of its source refers to it",
        ...(doubt ? [`it may be what ${doubt} lacks, under another name`] : []),
      ],
      safe: doubt === undefined,
    };
    const { cause, evidence, safe } = node.orphan ?? unreferenced;
    const kind =
      node.kind === "files"
        ? node.what
        : node.kind === "blob"
          ? (BLOB_KINDS[node.role] ?? "blob")
          : node.kind;
    return [{ node: id, source, path: node.path, kind, cause, evidence, size: node.size, safe }];
  });
}

const BLOB_KINDS: Readonly<Record<string, string>> = { config: "config of an image" };

/** Sources that lack something an image needs, with the title of one such image. */
export function sourcesLacking(holdings: Holdings): Map<string, string> {
  const lacking = new Map<string, string>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    if (image.absent.some((one) => one.verdict === "missing"))
      lacking.set(holdings.storeOf(id).source, image.names[0] ?? image.imageId);
  }
  return lacking;
}
