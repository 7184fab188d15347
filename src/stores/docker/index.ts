/**
 * Docker's data-root (`/var/lib/docker`) with a graph driver's image store, of a stopped engine or a running one.
 *
 * Follows moby daemon/internal/{layer,image,refstore}, daemon/graphdriver and daemon/builder (v20.10 to v29).
 */
import { type BytePath, joinPath } from "../../byte-path.ts";
import type { ReadOnlyTree } from "../../trees/tree.ts";
import type { StoreKind } from "../store.ts";
import { driverNamed } from "./drivers.ts";
import { readDataRoot } from "./read.ts";

const IMAGE = "image" as BytePath;

/** What dockerd makes on its first start, whatever the driver. */
const TELLTALE = ["buildkit", "containers", "volumes", "plugins", "runtimes", "swarm", "network", "tmp"];
/** As many of those make a data-root, also where `image` is gone. */
const ENOUGH = 5;

export const docker: StoreKind = {
  kind: "docker",
  async detect(tree) {
    for (const name of await namesIn(tree, IMAGE)) {
      if (driverNamed(name) && (await isFolder(tree, joinPath(IMAGE, name, "layerdb"))))
        return { saw: `image/${name}/layerdb` };
    }
    const found: string[] = [];
    for (const name of TELLTALE) if (await isFolder(tree, name as BytePath)) found.push(name);
    return found.length >= ENOUGH ? { saw: found.join(", ") } : null;
  },
  read: readDataRoot,
};

async function isFolder(tree: ReadOnlyTree, path: BytePath): Promise<boolean> {
  return (await tree.lstat(path))?.type === "directory";
}

async function namesIn(tree: ReadOnlyTree, path: BytePath): Promise<readonly string[]> {
  return (await isFolder(tree, path)) ? tree.names(path) : [];
}
