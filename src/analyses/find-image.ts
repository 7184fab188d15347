/** From what someone types to images: a name, a digest, or an ID or its beginning. */
import { UsageError } from "../errors.ts";
import { familiarName } from "../formats/oci.ts";
import type { NodeId } from "../graph/graph.ts";
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
