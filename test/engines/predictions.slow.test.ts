/**
 * Predictions against the engine: what ullage says a deletion frees, and what `du` says it did free once a real dockerd
 * has done it. Each deletion is done on a copy of its own. Skipped, with the reason, where no dockerd can be started.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runJson } from "../helpers/cli.ts";
import { type Dockerd, installEngines, startDockerd, whyNoDockerd } from "./dockerd.ts";
import { type Action, type Effect, effectsOf } from "./effects.ts";
import { type Filled, fillStore } from "./fill-store.ts";
import type { Change } from "./usage.ts";

const canInstall = process.getuid?.() === 0 && process.env.CI === "true";
if (canInstall) installEngines();
const why = await whyNoDockerd();
if (why !== null) process.stderr.write(`no engine, so its ring is skipped: ${why}\n`);

interface Prediction {
  readonly bytes: number;
  readonly inodes: number;
}

/** A deletion, and what ullage is asked about it: arguments of `what-if`, none where nothing of them would go. */
interface Deletion {
  readonly action: Action;
  units(store: Listing): readonly string[];
}

// biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever the JSON holds
type Listing = { images: any[]; containers: any[]; volumes: any[]; buildCache: any[] };

async function listing(root: string): Promise<Listing> {
  const { json: images } = await runJson(["images", root]);
  const { json: usage } = await runJson(["df", "-v", root]);
  return { images: images.images, ...usage };
}

const idle = (image: { usedBy: string[] }): boolean => image.usedBy.length === 0;
const stopped = (container: { state: string }): boolean => ["exited", "created"].includes(container.state);

function deletionsOf({ tags, dangling, containers, volumes }: Filled, leaves: readonly string[]): Deletion[] {
  const deletion = (line: string, units: Deletion["units"]): Deletion => ({ action: [line], units });
  const of = (...names: string[]): Deletion["units"] => {
    return ({ images }) =>
      images
        .filter(
          (image) => image.names.length > 0 && image.names.every((name: string) => names.includes(name)),
        )
        .map((image) => image.id);
  };
  return [
    ...tags.map((tag) => deletion(`rmi ${tag}`, of(tag))),
    ...dangling.map((id) => deletion(`rmi ${id}`, () => [id])),
    ...tags.slice(0, -1).map((tag, i) => deletion(`rmi ${tag} ${tags[i + 1]}`, of(tag, tags[i + 1]!))),
    deletion(`rmi ${tags.join(" ")}`, of(...tags)),
    deletion("image prune -f", ({ images }) =>
      images.filter((one) => one.dangling && idle(one)).map((one) => one.id),
    ),
    deletion("image prune -af", ({ images }) => images.filter(idle).map((one) => one.id)),
    deletion("builder prune -af", () => ["build-cache"]),
    ...leaves.map((id) => deletion(`builder prune --all --force --filter id=${id}`, () => [`cache:${id}`])),
    ...containers.map((name) => deletion(`container rm -v=false ${name}`, () => [`container:${name}`])),
    deletion("container prune -f", ({ containers: all }) =>
      all.filter(stopped).map((one) => `container:${one.name}`),
    ),
    ...volumes.map((name) => deletion(`volume rm ${name}`, () => [`volume:${name}`])),
    {
      action: ["image prune -af", "builder prune -af"],
      units: ({ images }) => [...images.filter(idle).map((one) => one.id), "build-cache"],
    },
    {
      action: ["builder prune -af", "image prune -af"],
      units: ({ images }) => [...images.filter(idle).map((one) => one.id), "build-cache"],
    },
    {
      action: ["container prune -f", "image prune -af", "builder prune -af", "volume prune -f"],
      units: ({ images, containers: all, volumes: every }) => [
        ...images.map((one) => one.id),
        "build-cache",
        ...all.map((one) => `container:${one.name}`),
        // A volume with options of its own is not pruned.
        ...every.filter((one) => Object.keys(one.options).length === 0).map((one) => `volume:${one.name}`),
      ],
    },
    { action: [`tag ${tags[0]} fill/more:1`], units: () => [] },
  ];
}

/** What the engine writes anew when anything changes: its databases grow or fill holes, its lists grow or shrink. */
function isBookkeeping({ path }: Change): boolean {
  return /^(buildkit|volumes|network|containerd)\/.*\.db$|\/repositories\.json$|\/meta\.db$/.test(path);
}

async function predict(root: string, deletion: Deletion): Promise<Prediction> {
  const units = deletion.units(await listing(root));
  if (units.length === 0) return { bytes: 0, inodes: 0 };
  const { json, err } = await runJson(["what-if", ...units, "-s", root]);
  if (!json) throw new Error(`${deletion.action.join()}: ${err}`);
  return { bytes: json.reclaimable.allocated, inodes: json.reclaimable.inodes };
}

describe.skipIf(why !== null)("deletions", () => {
  let engine: Dockerd;
  let effects: Effect<Prediction>[];

  beforeAll(async () => {
    engine = await startDockerd();
    const { json: live } = await runJson(["df", engine.root]);
    expect(live.warnings).toMatchObject([
      { code: "live", message: expect.stringMatching(/dockerd \(pid \d+\)/) },
    ]);
    const filled = await fillStore(engine, { seed: Number(process.env.ULLAGE_SEED ?? 4), images: 8 });
    const { BuildCache: records } = await engine.api("/system/df");
    await engine.stop();
    const parents = new Set(records.map((one: { Parent: string }) => one.Parent));
    const leaves = records.map((one: { ID: string }) => one.ID).filter((id: string) => !parents.has(id));
    const deletions = deletionsOf(filled, leaves.slice(0, 4));
    const byAction = new Map(deletions.map((one) => [one.action, one]));
    effects = await effectsOf(
      engine.root,
      deletions.map((one) => one.action),
      { denseDatabases: true, predict: (copy, action) => predict(copy, byAction.get(action)!) },
    );
  }, 600_000);

  afterAll(() => engine?.dispose());

  test("free what was predicted, to the byte and the inode", () => {
    const rows = effects.map(rowOf);
    process.stderr.write(`${tableOf(rows)}\n`);
    if (process.env.ULLAGE_TABLE) {
      mkdirSync(process.env.ULLAGE_TABLE, { recursive: true });
      writeFileSync(`${process.env.ULLAGE_TABLE}/predictions.json`, JSON.stringify(effects, null, 1));
    }
    expect(rows.length).toBeGreaterThan(24);
    expect(rows.filter((row) => row.unexplained !== 0 || row.inodes !== 0)).toEqual([]);
  });
});

interface Row {
  readonly action: string;
  readonly predicted: number;
  readonly freed: number;
  /** Of the difference, what the engine's own databases and lists took or gave. */
  readonly bookkeeping: number;
  readonly unexplained: number;
  readonly inodes: number;
  readonly changed: readonly string[];
}

function rowOf({ action, code, predicted, freedBytes, freedInodes, changed }: Effect<Prediction>): Row {
  const lists = changed.filter(isBookkeeping);
  const bookkeeping = lists.reduce((sum, one) => sum + (one.before ?? 0) - (one.after ?? 0), 0);
  const unexplained = freedBytes - predicted.bytes - bookkeeping;
  const off = unexplained !== 0 || freedInodes !== predicted.inodes;
  return {
    action: code === 0 ? action : `${action} (refused)`,
    predicted: predicted.bytes,
    freed: freedBytes,
    bookkeeping,
    unexplained,
    inodes: freedInodes - predicted.inodes,
    changed: off ? changed.map((one) => `${one.path}: ${one.before} -> ${one.after}`) : [],
  };
}

function tableOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const shown = row.action.length > 60 ? `${row.action.slice(0, 59)}…` : row.action;
    const numbers = [row.predicted, row.freed, row.bookkeeping, row.unexplained, row.inodes];
    return `${shown.padEnd(62)}${numbers.map((number) => String(number).padStart(12)).join("")}`;
  });
  const titles = ["predicted", "freed", "lists", "unexplained", "inodes"]
    .map((one) => one.padStart(12))
    .join("");
  return [`${"deletion".padEnd(62)}${titles}`, ...lines].join("\n");
}
