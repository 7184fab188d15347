/** Images as nodes: their configs, names, parents, and whether the engine takes them for images at all. */
import { type Digest, hexOf } from "../../digest.ts";
import { chainId } from "../../formats/oci.ts";
import type { Absence, NodeId, Orphan } from "../../graph/graph.ts";
import type { LayerNodes } from "./add-layers.ts";
import { type DataRoot, orphanOf, shown } from "./data-root.ts";
import type { ImageRecord, ImageStore, Reference } from "./image-store.ts";

export interface ImageNodes {
  /** Images that the engine shows, or would with `-a`. */
  readonly byId: ReadonlyMap<Digest, NodeId>;
  /** What the engine does not take for an image any more. */
  readonly damaged: readonly DamagedImage[];
}

export interface DamagedImage {
  readonly title: string;
  /** None where its config does not tell. */
  readonly layers: readonly NodeId[];
  readonly orphan: Orphan;
}

export function addImages(root: DataRoot, store: ImageStore, layers: LayerNodes): ImageNodes {
  const byId = new Map<Digest, NodeId>();
  const damaged: DamagedImage[] = [];
  const parents = new Set([...store.images.values()].map((image) => image.parent));
  const names = namesById(store);
  for (const image of store.images.values()) {
    const found = layersOf(image, layers);
    const broken = image.broken ?? foreignSystem(image) ?? found.broken;
    const references = names.get(image.id) ?? [];
    const orphan = broken === null ? null : restoreOrphan(references, broken);
    const node = addImage(root, image, references, found, store.inRegistry, orphan);
    if (!orphan) byId.set(image.id, node);
    else {
      const title = references[0]?.name ?? `image ${hexOf(image.id).slice(0, 12)}`;
      damaged.push({ title, layers: found.nodes, orphan });
      root.records.damaged(image.path, `the engine does not show ${title}: ${broken}`);
    }
  }
  for (const image of store.images.values()) {
    const node = byId.get(image.id);
    if (node === undefined) continue;
    const parent = image.parent === null ? undefined : byId.get(image.parent);
    if (parent !== undefined) root.places.builder.edge(node, parent);
    for (const { name } of names.get(image.id) ?? []) root.places.builder.root(node, `name ${name}`);
    const isHead = !names.has(image.id) && !parents.has(image.id);
    if (isHead) root.places.builder.root(node, "an image without a name, and without children");
  }
  for (const id of inCircles(store, names)) {
    const node = byId.get(id);
    if (node === undefined) continue;
    root.records.damaged(store.images.get(id)!.path, "its parents go round in a circle");
    root.places.builder.root(node, "an image whose parents go round in a circle");
  }
  return { byId, damaged };
}

/** Images that have children, and yet neither a name nor a descendant that is a head or has one. */
function inCircles(store: ImageStore, names: ReadonlyMap<Digest, unknown>): Digest[] {
  const seen = new Set<Digest>();
  const parents = new Set([...store.images.values()].map((image) => image.parent));
  for (const start of store.images.values()) {
    if (!names.has(start.id) && parents.has(start.id)) continue;
    for (let at: ImageRecord | undefined = start; at && !seen.has(at.id); ) {
      seen.add(at.id);
      at = at.parent === null ? undefined : store.images.get(at.parent);
    }
  }
  return [...store.images.keys()].filter((id) => !seen.has(id));
}

interface FoundLayers {
  /** Base first. */
  readonly nodes: readonly NodeId[];
  readonly absent: readonly Absence[];
  /** Why the engine cannot make the chain; null: it can. */
  readonly broken: string | null;
}

function layersOf({ config }: ImageRecord, layers: LayerNodes): FoundLayers {
  const nodes: NodeId[] = [];
  const absent: Absence[] = [];
  let chain: Digest | null = null;
  let broken: string | null = null;
  for (const diffId of config?.diffIds ?? []) {
    chain = chainId(chain, diffId);
    const node = layers.byChain.get(chain);
    const path = `image layerdb/sha256/${hexOf(chain)}`;
    const base = { what: "layer", digest: diffId, name: diffId, path, verdict: "missing" } as const;
    if (node === undefined) {
      broken ??= `its layer ${hexOf(chain).slice(0, 12)} has no record`;
      absent.push({ ...base, because: "it has no record in layerdb" });
      continue;
    }
    nodes.push(node);
    const record = layers.store.layers.get(chain)!;
    if (record.broken !== null)
      broken ??= `its layer ${hexOf(chain).slice(0, 12)} cannot be loaded: ${record.broken}`;
    if (layers.missing.has(node)) absent.push({ ...base, because: "its folder is not there" });
  }
  return { nodes, absent, broken };
}

/** dockerd on Linux does not restore images of another system (image/store.go, restore). */
function foreignSystem({ config }: ImageRecord): string | null {
  const system = config?.platform?.split("/", 1)[0] ?? "linux";
  return system === "linux" || system === "unknown" ? null : `it is for ${shown(system)}`;
}

function addImage(
  root: DataRoot,
  image: ImageRecord,
  references: readonly Reference[],
  layers: FoundLayers,
  inRegistry: ReadonlySet<Digest>,
  orphan: Orphan | null,
): NodeId {
  const { places } = root;
  const names = shownNames(references);
  const fate = orphan ? ({ heading: "orphans", orphan } as const) : ({ heading: "images" } as const);
  const config = places.add(image.path, {
    kind: "blob",
    role: "config",
    digest: image.id,
    expectedLength: null,
    byteLength: 0,
    cutShort: 0,
    compressed: false,
    ...fate,
  });
  const what = "parent and dates of an image";
  const metadata = image.metadata && places.add(image.metadata, { kind: "files", what, count: 1, ...fate });
  const parsed = image.config;
  const created = parsed?.created ?? null;
  const top = layers.nodes[layers.nodes.length - 1];
  const digests = [...new Set(references.flatMap((one) => one.digest ?? []))];
  const node = places.addBare({
    kind: "image",
    imageId: image.id,
    names,
    digests,
    digestOf: digestsByName(names, references),
    created,
    platform: parsed?.platform ?? null,
    layers: layers.nodes,
    platforms: [
      {
        platform: parsed?.platform ?? "unknown",
        manifest: null,
        config,
        configDigest: image.id,
        layers: layers.nodes,
        present: true,
      },
    ],
    labels: parsed?.labels ?? {},
    lastUsed: later(image.lastUpdated, created) ? { at: image.lastUpdated!, from: "tagged or built" } : null,
    pullable: pullable(parsed?.diffIds ?? [], digests, inRegistry),
    state: layers.absent.length > 0 || orphan ? "damaged" : "complete",
    absent: layers.absent,
    ...fate,
  });
  for (const needed of [config, metadata ?? config, ...(top === undefined ? [] : [top])])
    places.builder.edge(node, needed);
  return node;
}

function later(a: string | null, b: string | null): boolean {
  return a !== null && (b === null || Date.parse(a) > Date.parse(b));
}

/**
 * A digest on record says where a registry has the image. Without one, but with all layers on record, it may be a
 * pulled image under another name. Anything else was built, loaded or imported here.
 */
function pullable(
  diffIds: readonly Digest[],
  digests: readonly Digest[],
  inRegistry: ReadonlySet<Digest>,
): boolean | null {
  if (digests.length > 0) return true;
  return diffIds.length > 0 && diffIds.every((diffId) => inRegistry.has(diffId)) ? null : false;
}

/** As `docker images` lists them: tags, and digests of repositories that have no tag. */
function shownNames(references: readonly Reference[]): string[] {
  const tagged = new Set(references.filter((one) => one.digest === null).map((one) => one.repository));
  return references
    .filter((one) => one.digest === null || !tagged.has(one.repository))
    .map((one) => one.name)
    .sort();
}

function digestsByName(
  names: readonly string[],
  references: readonly Reference[],
): Readonly<Record<string, Digest | null>> {
  const byRepository = new Map(
    references.flatMap((one) => (one.digest ? [[one.repository, one.digest]] : [])),
  );
  const repositoryOf = new Map(references.map((one) => [one.name, one.repository]));
  return Object.fromEntries(names.map((name) => [name, byRepository.get(repositoryOf.get(name)!) ?? null]));
}

function namesById(store: ImageStore): Map<Digest, Reference[]> {
  const names = new Map<Digest, Reference[]>();
  for (const reference of store.references) {
    const known = names.get(reference.id);
    if (known) known.push(reference);
    else names.set(reference.id, [reference]);
  }
  return names;
}

function restoreOrphan(references: readonly Reference[], broken: string): Orphan {
  const named = references.map((one) => `repositories.json has it as ${one.name}`);
  const evidence = [`the engine does not take it for an image any more: ${broken}`, ...named];
  return orphanOf("image-not-restorable", false, ...evidence);
}
