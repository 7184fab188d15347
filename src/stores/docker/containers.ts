/**
 * `containers/<id>`: `config.v2.json`, logs (json-file: `<id>-json.log` and rotations; local: `local-logs/`), and
 * small files that are made anew on every start.
 *
 * Follows moby daemon/container/container.go (v20.10 to v29).
 */
import { type BytePath, joinPath } from "../../byte-path.ts";
import { type Digest, parseDigest } from "../../digest.ts";
import { messageOf } from "../../errors.ts";
import {
  asObject,
  type Json,
  type JsonObject,
  stringMap,
  stringOrNull,
  stringsOrEmpty,
} from "../../formats/json.ts";
import type { Records } from "./records.ts";

export interface ContainerRecord {
  readonly id: string;
  readonly path: BytePath;
  readonly logs: readonly BytePath[];
  /** Null where its config could not be read or makes no sense. */
  readonly config: ContainerConfig | null;
}

export interface ContainerConfig {
  readonly name: string;
  readonly state: string;
  readonly exitCode: number | null;
  /** As typed, and the image that it was. */
  readonly image: string;
  readonly imageId: Digest | null;
  readonly command: string;
  readonly created: string | null;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly driver: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Volumes by name. */
  readonly volumes: readonly string[];
}

export async function readContainers(records: Records, folder: BytePath): Promise<ContainerRecord[]> {
  const containers: ContainerRecord[] = [];
  for (const id of await records.names(folder)) {
    const path = joinPath(folder, id);
    const names = await records.names(path);
    const logs = names.filter((name) => name === "local-logs" || name.includes("-json.log"));
    const config = names.length === 0 ? null : await readConfig(records, joinPath(path, "config.v2.json"));
    containers.push({ id, path, logs: logs.map((name) => joinPath(path, name)), config });
  }
  return containers;
}

async function readConfig(records: Records, path: BytePath): Promise<ContainerConfig | null> {
  try {
    const found = await records.document(path);
    return found && parseConfig(found.json);
  } catch (error) {
    // Whatever image or volume it used, it may still: nobody can tell.
    records.cannotRead(path, messageOf(error));
    return null;
  }
}

function parseConfig(json: Json): ContainerConfig {
  const object = asObject(json, "config.v2.json");
  const state = objectOr(object.State);
  const config = objectOr(object.Config);
  const mounts = Object.values(objectOr(object.MountPoints)).map(objectOr);
  const words = [stringOrNull(object.Path) ?? "", ...stringsOrEmpty(object.Args, "Args")];
  return {
    name: (stringOrNull(object.Name) ?? "").replace(/^\//, ""),
    state: stateOf(state),
    exitCode: typeof state.ExitCode === "number" ? state.ExitCode : null,
    image: stringOrNull(config.Image) ?? stringOrNull(object.Image) ?? "",
    imageId: parseDigest(object.Image),
    command: words.filter((word) => word !== "").join(" "),
    created: timeOf(object.Created),
    startedAt: timeOf(state.StartedAt),
    finishedAt: timeOf(state.FinishedAt),
    driver: stringOrNull(object.Driver),
    labels: stringMap(config.Labels),
    volumes: mounts
      .filter((mount) => mount.Type === "volume" || (mount.Type === undefined && mount.Driver !== undefined))
      .flatMap((mount) => stringOrNull(mount.Name) || []),
  };
}

function objectOr(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** moby container/state.go StateString. */
function stateOf(state: JsonObject): string {
  if (state.Running === true)
    return state.Paused === true ? "paused" : state.Restarting === true ? "restarting" : "running";
  if (state.RemovalInProgress === true) return "removing";
  if (state.Dead === true) return "dead";
  return timeOf(state.StartedAt) === null ? "created" : "exited";
}

/** Go's zero time stands for never. */
function timeOf(value: Json | undefined): string | null {
  const text = stringOrNull(value);
  return text === null || text.startsWith("0001-") || Number.isNaN(Date.parse(text)) ? null : text;
}
