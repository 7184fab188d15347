/** Containers, volumes and build cache, each with what it takes and who uses it: `docker system df -v`, and more. */
import {
  type CacheNode,
  type ContainerNode,
  edgesOf,
  NOTHING,
  type NodeId,
  type Size,
  sumSizes,
  type VolumeNode,
} from "../graph/graph.ts";
import type { Holdings } from "./holdings.ts";

export interface ContainerUsage {
  readonly node: NodeId;
  readonly container: ContainerNode;
  readonly source: string;
  /** Of its own changes to files. */
  readonly writable: Size;
  readonly logs: Size;
  /** What removing it frees. */
  readonly exclusive: Size;
}

export interface VolumeUsage {
  readonly node: NodeId;
  readonly volume: VolumeNode;
  readonly source: string;
  /** IDs of containers that mount it. */
  readonly usedBy: readonly string[];
}

export interface CacheUsage {
  readonly node: NodeId;
  readonly record: CacheNode;
  readonly source: string;
  /** What removing this record alone frees. */
  readonly exclusive: Size;
}

export interface EngineUsage {
  readonly containers: readonly ContainerUsage[];
  readonly volumes: readonly VolumeUsage[];
  readonly cache: readonly CacheUsage[];
}

export function engineUsage(holdings: Holdings): EngineUsage {
  const containers: ContainerUsage[] = [];
  const volumes: VolumeUsage[] = [];
  const cache: CacheUsage[] = [];
  for (const id of holdings.units) {
    const node = holdings.node(id);
    const base = { node: id, source: holdings.storeOf(id).source };
    const exclusive = holdings.exclusive[id] ?? NOTHING;
    if (node.kind === "container")
      containers.push({ ...base, container: node, ...containerSizes(holdings, id, node), exclusive });
    else if (node.kind === "volume")
      volumes.push({
        ...base,
        volume: node,
        usedBy: holdings.containersOf(id).map((one) => one.containerId),
      });
    else if (node.kind === "cache") cache.push({ ...base, record: node, exclusive });
  }
  return { containers, volumes, cache };
}

function containerSizes(
  holdings: Holdings,
  id: NodeId,
  { writable }: ContainerNode,
): { writable: Size; logs: Size } {
  const logs = [...edgesOf(holdings.graph.needs, id)]
    .map((needed) => holdings.node(needed))
    .filter((node) => node.heading === "logs")
    .map((node) => node.size);
  return { writable: writable === null ? NOTHING : holdings.node(writable).size, logs: sumSizes(logs) };
}
