/** Tables of containers, volumes and build cache: those of `docker system df -v`, with what removing each frees. */
import type { CacheUsage, ContainerUsage, EngineUsage, VolumeUsage } from "../analyses/engine-usage.ts";
import { shortId } from "../analyses/holdings.ts";
import { formatApparent, formatSize, type TextStyle } from "../views/style.ts";
import { ellipsis, renderTable } from "../views/table.ts";
import { formatAge, formatBytes } from "../views/units.ts";
import { type JsonObject, sizeJson } from "./command.ts";

export function engineTables({ containers, volumes, cache }: EngineUsage, style: TextStyle): string[] {
  const lines: string[] = [];
  if (containers.length > 0) lines.push("", containerTable(containers, style));
  if (volumes.length > 0) lines.push("", volumeTable(volumes, style));
  if (cache.length > 0) lines.push("", cacheTable(cache, style));
  return lines;
}

function containerTable(rows: readonly ContainerUsage[], style: TextStyle): string {
  return renderTable<ContainerUsage>(
    [
      { title: "CONTAINER ID", cell: ({ container }) => shortId(container.containerId) },
      { title: "IMAGE", cell: ({ container }) => imageOf(container.image) },
      { title: "COMMAND", cell: ({ container }) => ellipsis(container.command.replace(/\s+/g, " "), 20) },
      { title: "LOCAL VOLUMES", right: true, cell: ({ container }) => String(container.volumes.length) },
      { title: "SIZE", right: true, cell: (row) => formatApparent(row.writable, style) },
      { title: "LOGS", right: true, cell: (row) => formatSize(row.logs, style) },
      { title: "FREES", right: true, cell: (row) => formatSize(row.exclusive, style) },
      { title: "CREATED", cell: ({ container }) => since(container.created, style) },
      { title: "STATUS", cell: ({ container }) => statusOf(container.state, container.exitCode) },
      { title: "NAMES", cell: ({ container }) => container.name },
    ],
    rows,
  );
}

function imageOf(image: string): string {
  return /^sha256:[0-9a-f]{64}$/.test(image) ? shortId(image) : image;
}

function statusOf(state: string | null, exitCode: number | null): string {
  return state === "exited" && exitCode !== null ? `exited (${exitCode})` : (state ?? "unknown");
}

function volumeTable(rows: readonly VolumeUsage[], style: TextStyle): string {
  return renderTable<VolumeUsage>(
    [
      { title: "VOLUME NAME", cell: ({ volume }) => volume.name },
      { title: "LINKS", right: true, cell: (row) => String(row.usedBy.length) },
      { title: "SIZE", right: true, cell: ({ volume }) => formatApparent(volume.size, style) },
      { title: "FREES", right: true, cell: ({ volume }) => formatSize(volume.size, style) },
      { title: "", cell: ({ volume }) => (volume.mountBacked ? "its data are elsewhere" : "") },
    ],
    rows,
  );
}

function cacheTable(rows: readonly CacheUsage[], style: TextStyle): string {
  return renderTable<CacheUsage>(
    [
      { title: "CACHE ID", cell: ({ record }) => shortId(record.recordId) },
      { title: "CACHE TYPE", cell: ({ record }) => record.type },
      { title: "SIZE", right: true, cell: ({ record }) => recorded(record.recorded, style) },
      { title: "FREES", right: true, cell: (row) => formatSize(row.exclusive, style) },
      { title: "CREATED", cell: ({ record }) => since(record.created, style) },
      { title: "LAST USED", cell: ({ record }) => since(record.lastUsed, style) },
      { title: "USAGE", right: true, cell: ({ record }) => String(record.usageCount) },
      { title: "SHARED", cell: ({ record }) => String(record.shared) },
      { title: "WHAT", cell: ({ record }) => ellipsis(record.description, 50) },
    ],
    rows,
  );
}

function recorded(bytes: number | null, style: TextStyle): string {
  return bytes === null ? "?" : formatBytes(bytes, style.units);
}

function since(time: string | null, style: TextStyle): string {
  return time === null ? "" : `${formatAge(style.now.getTime() - Date.parse(time))} ago`;
}

export function engineJson({ containers, volumes, cache }: EngineUsage): JsonObject {
  return {
    containers: containers.map(({ container, source, writable, logs, exclusive }) => ({
      id: container.containerId,
      name: container.name,
      image: container.image,
      imageId: container.imageId,
      command: container.command,
      created: container.created,
      lastUsed: container.lastUsed,
      state: container.state,
      exitCode: container.exitCode,
      volumes: container.volumes,
      source,
      writable: sizeJson(writable),
      logs: sizeJson(logs),
      exclusive: sizeJson(exclusive),
    })),
    volumes: volumes.map(({ volume, source, usedBy }) => ({
      name: volume.name,
      driver: volume.driver,
      labels: { ...volume.labels },
      options: { ...volume.options },
      anonymous: volume.anonymous,
      mountBacked: volume.mountBacked,
      usedBy,
      source,
      size: sizeJson(volume.size),
    })),
    buildCache: cache.map(({ record, source, exclusive }) => ({
      id: record.recordId,
      type: record.type,
      description: record.description,
      created: record.created,
      lastUsed: record.lastUsed,
      usageCount: record.usageCount,
      parents: record.parents,
      shared: record.shared,
      recorded: record.recorded,
      source,
      exclusive: sizeJson(exclusive),
    })),
  };
}
