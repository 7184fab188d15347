/** Reads what else is needed to tell whether the records of a data-root agree, and compares them. */
import { type BytePath, joinPath } from "../../byte-path.ts";
import type { Digest } from "../../digest.ts";
import type { StructureCheck } from "../store.ts";
import type { ImageNodes } from "./add-images.ts";
import type { LayerNodes } from "./add-layers.ts";
import {
  checkChains,
  checkImageLayers,
  checkLinks,
  checkLowers,
  checkNames,
  checkParents,
  type OverlayRecord,
} from "./checks.ts";
import type { DataRoot } from "./data-root.ts";
import type { ImageStore } from "./image-store.ts";

export async function checkStructure(
  root: DataRoot,
  base: BytePath,
  images: ImageStore,
  imageNodes: ImageNodes,
  layers: LayerNodes,
): Promise<StructureCheck[]> {
  const nodeOf = (id: Digest) => {
    const node = imageNodes.byId.get(id);
    return node === undefined ? {} : { node };
  };
  const records = [...layers.store.layers.values()];
  const known = [...images.images.values()];
  const overlays = await overlayRecords(root, layers);
  return [
    ...checkChains(records.map((layer) => ({ ...layer, node: layers.byChain.get(layer.chainId)! }))),
    ...checkImageLayers(
      known.map(({ id, path, config }) => ({ id, path, diffIds: config?.diffIds ?? [], ...nodeOf(id) })),
      layers.store.layers,
    ),
    ...checkNames(
      images.references.map(({ name, id }) => ({ name, id, ...nodeOf(id) })),
      images.images,
      joinPath(base, "repositories.json"),
    ),
    ...checkParents(
      known.flatMap(({ id, parent, metadata, path }) =>
        parent === null ? [] : [{ id, parent, path: metadata ?? path, ...nodeOf(id) }],
      ),
      images.images,
    ),
    ...checkLinks(overlays),
    ...checkLowers(overlays),
  ];
}

/** The overlay2 folders of layers, with what they and `l/` say of each other; none for other drivers. */
async function overlayRecords(root: DataRoot, layers: LayerNodes): Promise<OverlayRecord[]> {
  const { driver, folders, records } = root;
  if (!driver?.links) return [];
  const overlays: OverlayRecord[] = [];
  for (const layer of layers.store.layers.values()) {
    if (layer.cacheId === null || !folders.has(layer.cacheId)) continue;
    const path = joinPath(driver.idFolders[0]!, layer.cacheId);
    const link = await records.value(path, "link");
    const target = link === null ? null : folders.linkTarget(link);
    const lower = await records.value(path, "lower");
    overlays.push({
      id: layer.cacheId,
      path,
      link,
      target,
      lower,
      below: foldersBelow(layers, layer.parent),
      node: layers.byChain.get(layer.chainId)!,
    });
  }
  return overlays;
}

/** Folders of a layer and all below it, nearest first; null where one does not say. */
function foldersBelow(layers: LayerNodes, parent: Digest | null): string[] | null {
  const below: string[] = [];
  const seen = new Set<Digest>();
  for (let at = parent; at !== null; ) {
    const layer = layers.store.layers.get(at);
    if (!layer || layer.cacheId === null || seen.has(at)) return null;
    seen.add(at);
    below.push(layer.cacheId);
    at = layer.parent;
  }
  return below;
}
