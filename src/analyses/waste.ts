/**
 * Bytes that an image carries and nobody can see: files that a later layer of it overwrites or deletes. Every
 * copy but the last visible one counts, so a file written once and deleted once is wasted once.
 */
import type { BytePath } from "../byte-path.ts";
import { type Change, type LayerForm, readLayer } from "../formats/layer.ts";
import { addLayer, type Fate, type Inode, MergedTree, pathOf } from "./merged-tree.ts";

export interface LayerWaste {
  readonly label: string;
  /** Of the files the layer brings; a file of several hard links once. */
  readonly fileBytes: number;
  readonly fileCount: number;
  /** Of those, what cannot be seen in the image. */
  readonly wastedBytes: number;
  readonly wastedCount: number;
  readonly whiteoutCount: number;
  readonly opaqueCount: number;
  /** Members passed over because of their name. */
  readonly invalidCount: number;
  /** Why it could not be read to its end; what came before that is counted. */
  readonly failure: string | null;
}

export interface WastedPath {
  readonly path: BytePath;
  /** Of all wasted copies of it. */
  readonly bytes: number;
  readonly copies: number;
  /** Position of the layer that holds the largest of those copies, and of the one that hides it; may be the same. */
  readonly layer: number;
  readonly hiddenBy: number;
  readonly fate: Fate;
}

export interface WasteResult {
  /** Base first. */
  readonly layers: readonly LayerWaste[];
  readonly fileBytes: number;
  readonly wastedBytes: number;
  /** 1 - wasted / all bytes of files; 1 for an image without any. */
  readonly efficiency: number;
  /** Most wasted bytes first, then by path; none of zero bytes. */
  readonly worst: readonly WastedPath[];
}

/** The bytes of a layer as they are stored. */
export interface StoredLayer {
  readonly label: string;
  readonly form: LayerForm;
  stream(): AsyncIterable<Uint8Array>;
}

/** A layer, whichever way it is kept. */
export interface LayerChanges {
  readonly label: string;
  readonly changes: AsyncIterable<Change>;
}

/** {@link measureWaste} of layers as they are stored, base first; `onBytes` hears of each piece of them read. */
export function wasteOf(
  layers: readonly StoredLayer[],
  top: number,
  onBytes: (count: number) => void = () => undefined,
): Promise<WasteResult> {
  async function* counted(layer: StoredLayer): AsyncGenerator<Uint8Array> {
    for await (const chunk of layer.stream()) {
      onBytes(chunk.length);
      yield chunk;
    }
  }
  const changes = layers.map((layer) => ({
    label: layer.label,
    changes: readLayer(counted(layer), layer.label, layer.form),
  }));
  return measureWaste(changes, top);
}

/** Stacks the layers of one image, base first, and tells what of them is hidden; `top` paths are named. */
export async function measureWaste(layers: readonly LayerChanges[], top: number): Promise<WasteResult> {
  const waste = new Waste();
  const tree = new MergedTree({
    created: (inode) => waste.created(inode),
    hidden: (inode, by, fate) => waste.hidden(inode, by, fate),
  });
  for (const { label, changes } of layers) {
    waste.beginLayer(label);
    waste.endLayer(await addLayer([tree], changes, (change) => waste.count(change)));
  }
  return waste.result(top);
}

class Waste {
  private readonly layers: { -readonly [Key in keyof LayerWaste]: LayerWaste[Key] }[] = [];
  private readonly wasted = new Map<BytePath, Wasted>();

  beginLayer(label: string): void {
    const counts = { fileBytes: 0, fileCount: 0, wastedBytes: 0, wastedCount: 0 };
    this.layers.push({ label, ...counts, whiteoutCount: 0, opaqueCount: 0, invalidCount: 0, failure: null });
  }

  count({ kind }: Change): void {
    const layer = this.layers[this.layers.length - 1]!;
    if (kind === "whiteout") layer.whiteoutCount++;
    else if (kind === "opaque") layer.opaqueCount++;
    else if (kind === "invalid") layer.invalidCount++;
  }

  created({ size }: Inode): void {
    const layer = this.layers[this.layers.length - 1]!;
    layer.fileBytes += size;
    layer.fileCount++;
  }

  hidden({ size, layer, name }: Inode, by: number, fate: Fate): void {
    this.layers[layer]!.wastedBytes += size;
    this.layers[layer]!.wastedCount++;
    const path = pathOf(name!);
    const before = this.wasted.get(path);
    const copies = (before?.copies ?? 0) + 1;
    const bytes = (before?.bytes ?? 0) + size;
    if (before && before.largest >= size) Object.assign(before, { copies, bytes });
    else this.wasted.set(path, { bytes, copies, layer, hiddenBy: by, fate, largest: size });
  }

  endLayer(failure: string | null): void {
    this.layers[this.layers.length - 1]!.failure = failure;
  }

  result(top: number): WasteResult {
    const fileBytes = sum(this.layers, (layer) => layer.fileBytes);
    const wastedBytes = sum(this.layers, (layer) => layer.wastedBytes);
    const paths = [...this.wasted].filter(([, { bytes }]) => bytes > 0);
    paths.sort(([a, x], [b, y]) => y.bytes - x.bytes || (a < b ? -1 : 1));
    return {
      layers: this.layers,
      fileBytes,
      wastedBytes,
      efficiency: fileBytes === 0 ? 1 : 1 - wastedBytes / fileBytes,
      worst: paths.slice(0, top).map(([path, { largest: _, ...rest }]) => ({ path, ...rest })),
    };
  }
}

interface Wasted extends Omit<WastedPath, "path"> {
  readonly largest: number;
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
