/** From what someone types to images: a name, a digest, or an ID or its beginning. */
import { UsageError } from "../errors.ts";
import { familiarName } from "../formats/oci.ts";
import type { NodeId, StoreNode } from "../graph/graph.ts";
import { type Holdings, shortId, titleOf } from "./holdings.ts";

/**
 * The images that `text` names: several where one image is in several sources. Throws UsageError where nothing is
 * named so, or where the beginning of an ID fits different images.
 */
export function findImages(holdings: Holdings, text: string): NodeId[] {
  const wanted = text.toLowerCase();
  const short = familiarName(text);
  // Podman puts localhost/ in front of names without a registry, and takes them without it.
  const spellings = [text, short, `localhost/${text}`].flatMap((name) => [name, `${name}:latest`]);
  const byName = holdings.images.filter((id) =>
    holdings.image(id).names.some((name) => spellings.includes(name)),
  );
  if (byName.length > 0) return byName;
  const exact = holdings.images.filter((id) => idsOf(holdings, id).includes(wanted));
  if (exact.length > 0) return exact;
  const hex = wanted.replace(/^sha256:/, "");
  const begins = /^[0-9a-f]{2,}$/.test(hex)
    ? holdings.images.filter((id) =>
        idsOf(holdings, id).some((one) => one.slice(one.indexOf(":") + 1).startsWith(hex)),
      )
    : [];
  const different = new Set(begins.map((id) => holdings.image(id).imageId));
  if (different.size === 1) return begins;
  if (different.size === 0)
    throw new UsageError(`no image ${text} in the sources; ${suggestion(holdings, text)}`);
  const some = begins
    .slice(0, 4)
    .map((id) => `${titleOf(holdings.image(id))} (${shortId(holdings.image(id).imageId)})`);
  throw new UsageError(
    `${text} is the beginning of ${different.size} image IDs: ${some.join(", ")}; give more of it`,
  );
}

/**
 * What `text` names of all that an engine deletes as one: an image as in {@link findImages}; `build-cache` for all of
 * its records; `container:NAME`, `volume:NAME`, `cache:ID`, also without the word in front where no image is named so.
 */
export function findUnits(holdings: Holdings, text: string): NodeId[] {
  if (text === "build-cache") {
    const records = holdings.units.filter((id) => holdings.node(id).kind === "cache");
    if (records.length > 0) return records;
    throw new UsageError("build-cache: there is none in the sources");
  }
  const [, kind, name] = /^(container|volume|cache):(.+)$/.exec(text) ?? [null, null, text];
  const named = holdings.units.filter((id) => isNamed(holdings.node(id), kind, name!));
  if (kind !== null && named.length === 0) throw new UsageError(`no ${kind} ${name} in the sources`);
  if (kind !== null) return named;
  try {
    return findImages(holdings, text);
  } catch (error) {
    if (named.length > 0) return named;
    throw error;
  }
}

function isNamed(node: StoreNode, kind: string | null, name: string): boolean {
  if (kind !== null && node.kind !== kind) return false;
  const begins = (id: string): boolean => id === name || (name.length >= 4 && id.startsWith(name));
  if (node.kind === "container") return node.name === name || begins(node.containerId);
  if (node.kind === "volume") return node.name === name;
  return node.kind === "cache" && begins(node.recordId);
}

function suggestion(holdings: Holdings, text: string): string {
  const names = holdings.images
    .flatMap((id) => holdings.image(id).names)
    .filter((name) => name.includes(text));
  return names.length > 0 ? `there is ${names.slice(0, 3).join(", ")}` : "ullage images lists them";
}

/** Everything an image is known by, apart from its names. */
function idsOf(holdings: Holdings, id: NodeId): string[] {
  const image = holdings.image(id);
  const configs = image.platforms.flatMap((one) => [one.configDigest, one.manifest]);
  return [image.imageId, ...image.digests, ...configs.filter((one) => one !== null)];
}
