/** Volumes as nodes: the folders under `volumes`, with what `metadata.db` says of them. */
import { type BytePath, joinPath } from "../../byte-path.ts";
import type { NodeId } from "../../graph/graph.ts";
import type { DataRoot } from "./data-root.ts";
import { readVolumeRecords } from "./volume-list.ts";

const VOLUMES = "volumes" as BytePath;
const ANONYMOUS = "com.docker.volume.anonymous";

export interface VolumeNodes {
  readonly byName: ReadonlyMap<string, NodeId>;
}

export async function addVolumes({ places, records, tree }: DataRoot): Promise<VolumeNodes> {
  const byName = new Map<string, NodeId>();
  const known = await readVolumeRecords(records, VOLUMES);
  for (const { path, type } of await records.list(VOLUMES)) {
    if (type !== "directory") continue;
    const name = path.slice(VOLUMES.length + 1);
    const record = known.get(name);
    const hasOptions = (await tree.lstat(joinPath(path, "opts.json")))?.type === "file";
    const node = places.add(path, {
      kind: "volume",
      name: Buffer.from(name, "latin1").toString("utf8"),
      driver: record?.driver || "local",
      labels: record?.labels ?? {},
      options: record?.options ?? {},
      // Before 23.0 only the shape of the name tells.
      anonymous: record?.labels[ANONYMOUS] !== undefined || /^[0-9a-f]{64}$/.test(name),
      mountBacked: hasOptions && record?.options.device !== undefined,
      heading: "volumes",
    });
    places.builder.root(node, `volume ${name}`);
    byName.set(name, node);
  }
  return { byName };
}
