/** Containers as nodes, with their writable layers, logs and volumes; and mounts that have lost theirs. */
import type { BytePath } from "../../byte-path.ts";
import type { NodeId } from "../../graph/graph.ts";
import type { ImageNodes } from "./add-images.ts";
import { addMount, type LayerNodes, type MountNodes } from "./add-layers.ts";
import type { VolumeNodes } from "./add-volumes.ts";
import type { ContainerRecord } from "./containers.ts";
import { type DataRoot, orphanOf } from "./data-root.ts";

export function addContainers(
  root: DataRoot,
  containers: readonly ContainerRecord[],
  images: ImageNodes,
  layers: LayerNodes,
  volumes: VolumeNodes,
): void {
  const ids = new Set(containers.map((container) => container.id));
  const mounts = new Map<string, MountNodes>();
  for (const mount of layers.store.mounts) {
    const nodes = addMount(root, mount, layers, !ids.has(mount.name));
    mounts.set(mount.name, nodes);
    if (!ids.has(mount.name)) root.places.builder.root(nodes.record, "a mount without a container", true);
  }
  for (const container of containers) {
    const driver = container.config?.driver ?? null;
    if (driver !== null && root.driver !== null && driver !== root.driver.name)
      addStranger(root, container, driver);
    else addContainer(root, container, mounts.get(container.id) ?? null, images, volumes);
  }
}

function addContainer(
  { places }: DataRoot,
  { id, path, logs, config }: ContainerRecord,
  mount: MountNodes | null,
  images: ImageNodes,
  volumes: VolumeNodes,
): void {
  const node = places.add(path, {
    kind: "container",
    containerId: id,
    name: config?.name || id.slice(0, 12),
    state: config?.state ?? null,
    exitCode: config?.exitCode ?? null,
    image: config?.image ?? "",
    imageId: config?.imageId ?? null,
    command: config?.command ?? "",
    created: config?.created ?? null,
    lastUsed: latest([config?.finishedAt, config?.startedAt, config?.created]),
    labels: config?.labels ?? {},
    volumes: [...new Set(config?.volumes ?? [])],
    writable: mount?.writable ?? null,
    heading: "containers",
  });
  const needs: (NodeId | undefined)[] = [
    mount?.record,
    config?.imageId ? images.byId.get(config.imageId) : undefined,
  ];
  for (const log of logs) needs.push(addLog(places, log));
  for (const name of config?.volumes ?? []) needs.push(volumes.byName.get(name));
  for (const needed of needs) if (needed !== undefined) places.builder.edge(node, needed);
  places.builder.root(node, `container ${config?.name || id.slice(0, 12)}`);
}

function addLog(places: DataRoot["places"], path: BytePath): NodeId {
  return places.add(path, { kind: "files", what: "log of a container", count: 1, heading: "logs" });
}

function latest(times: readonly (string | null | undefined)[]): string | null {
  let last: string | null = null;
  for (const time of times) if (time && (last === null || Date.parse(time) > Date.parse(last))) last = time;
  return last;
}

/** A container whose files are with another driver than the engine uses now: it is not shown, and cannot be started. */
function addStranger({ places }: DataRoot, { path, config }: ContainerRecord, driver: string): void {
  const evidence = `its config.v2.json says driver ${driver}, which the engine does not use now`;
  const orphan = orphanOf("other-driver", false, evidence, `it was called ${config?.name ?? ""}`);
  const what = "container of another driver";
  places.add(path, { kind: "files", what, count: 1, heading: "orphans", orphan });
}
