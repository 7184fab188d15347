/** One image in full: its config, what each step of its history left, where its layers live, and what is wasted. */
import { displayPath } from "../byte-path.ts";
import { readAll } from "../bytes/source.ts";
import type { Digest } from "../digest.ts";
import { messageOf, UllageError } from "../errors.ts";
import { JSON_LIMIT, type JsonObject, parseJson } from "../formats/json.ts";
import { type HistoryStep, parseHistory, parseImageConfig } from "../formats/oci.ts";
import type { NodeId, PlatformImage } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import { noDoubts } from "../stores/folder-changes.ts";
import type { Holdings } from "./holdings.ts";
import { type ImageRow, imageRows, type LayerRow } from "./images.ts";
import { openLayer, type ReadableLayer } from "./layer-changes.ts";
import { type LayerChanges, measureWaste, type WasteResult } from "./waste.ts";

export interface InspectedStep extends HistoryStep {
  /** Number of the layer that it made, base first; null where it made none. */
  readonly layer: number | null;
}

export interface InspectedLayer extends LayerRow {
  /** Where it lives in its source; null where it is not there. */
  readonly path: string | null;
  /** Kept as files: its apparent size is what the engine counts, the allocated one what its folder takes. */
  readonly isFolder: boolean;
}

export interface InspectedPlatform {
  readonly platform: string;
  readonly manifest: Digest | null;
  readonly configDigest: Digest | null;
  readonly present: boolean;
  /** The container settings; empty where the config could not be read. */
  readonly config: JsonObject;
  readonly history: readonly InspectedStep[];
  readonly layers: readonly InspectedLayer[];
  /** Null where it was not asked for, or no layer could be read; `unread` says why. */
  readonly waste: WasteResult | null;
  readonly unread: string | null;
}

export interface InspectResult {
  readonly row: ImageRow;
  readonly platforms: readonly InspectedPlatform[];
}

export interface InspectOptions {
  /** How many wasted paths to name; 0: do not read the layers. */
  readonly top: number;
}

export async function inspect(
  holdings: Holdings,
  images: readonly NodeId[],
  options: InspectOptions,
  run: Run,
): Promise<InspectResult[]> {
  const wanted = new Set(images);
  const rows = imageRows(holdings, wanted);
  return Promise.all(
    rows.map(async (row) => {
      const places = new Map(row.image.layers.map((id, i) => [id, i]));
      const platforms = await Promise.all(
        row.image.platforms.map((one) => inspectPlatform(holdings, row, one, places, options, run)),
      );
      return { row, platforms };
    }),
  );
}

async function inspectPlatform(
  holdings: Holdings,
  row: ImageRow,
  platform: PlatformImage,
  places: ReadonlyMap<NodeId, number>,
  options: InspectOptions,
  run: Run,
): Promise<InspectedPlatform> {
  const { config, history } = await readConfig(holdings, platform);
  const rows = row.layers();
  const layers = platform.layers.map((id) => {
    const { blob } = holdings.layer(id);
    const isFolder = blob === null && holdings.storeOf(id).unpacked(holdings.ownId(id)) !== null;
    const { path } = holdings.node(blob ?? id);
    return { ...rows[places.get(id)!]!, path: path === null ? null : displayPath(path), isFolder };
  });
  const base = {
    platform: platform.platform,
    manifest: platform.manifest,
    configDigest: platform.configDigest,
  };
  const { waste, unread } = options.top > 0 ? await wasteIn(holdings, platform, options, run) : NOT_READ;
  return { ...base, present: platform.present, config, history, layers, waste, unread };
}

async function readConfig(
  holdings: Holdings,
  platform: PlatformImage,
): Promise<{ config: JsonObject; history: InspectedStep[] }> {
  if (platform.config === null) return { config: {}, history: [] };
  try {
    const source = await holdings.storeOf(platform.config).open(holdings.ownId(platform.config));
    try {
      const json = parseJson(await readAll(source, JSON_LIMIT), source.label);
      const { config } = parseImageConfig(json, source.label);
      let layer = 0;
      const history = parseHistory(json, source.label);
      return {
        config,
        history: history.map((step) => ({ ...step, layer: step.emptyLayer ? null : layer++ })),
      };
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!(error instanceof UllageError)) throw error;
    return { config: {}, history: [] }; // reading the store has warned of it
  }
}

const NOT_READ = { waste: null, unread: null };

/** Stacks the layers: in a thread where files hold them, right here where only memory or a folder does. */
async function wasteIn(
  holdings: Holdings,
  platform: PlatformImage,
  options: InspectOptions,
  run: Run,
): Promise<Pick<InspectedPlatform, "waste" | "unread">> {
  const layers: ReadableLayer[] = [];
  try {
    for (const id of platform.layers) {
      const layer = await openLayer(holdings, id, noDoubts());
      if (layer === null) return { waste: null, unread: "not all of its layers are here" };
      layers.push(layer);
    }
    const jobs = layers.flatMap(({ label, stored }) =>
      stored?.source.range ? [{ label, form: stored.form, range: stored.source.range }] : [],
    );
    const here = (): LayerChanges[] =>
      layers.map((layer) => ({ label: layer.label, changes: layer.changes({ checksums: false }) }));
    const waste =
      jobs.length === layers.length
        ? await run.pool.run("waste", { layers: jobs, top: options.top, counter: null })
        : await measureWaste(here(), options.top);
    return { waste, unread: null };
  } catch (error) {
    if (!(error instanceof UllageError)) throw error;
    return { waste: null, unread: messageOf(error) };
  } finally {
    await Promise.all(layers.map((layer) => layer.close()));
  }
}
