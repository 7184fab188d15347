import type { LayerNodes } from "./add-layers.ts";
import { readBuildCache } from "./build-cache.ts";
import type { DataRoot } from "./data-root.ts";
export async function addBuildCache(_root: DataRoot, _layers: LayerNodes): Promise<void> {
  await readBuildCache();
}
