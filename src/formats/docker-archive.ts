/**
 * The two documents that `docker save` writes beside its layers: `manifest.json` (moby
 * daemon/internal/image/tarexport/save.go, Docker 1.10 and later) and `repositories` (all versions).
 */
import { type Digest, parseDigest } from "../digest.ts";
import { asObject, asString, type Json, stringOrNull, stringsOrEmpty } from "./json.ts";
import { platformOf, timeOrNull } from "./oci.ts";

export interface SavedImage {
  /** Path of the config inside the archive. */
  readonly config: string;
  readonly repoTags: readonly string[];
  /** Paths of the layers inside the archive, base first. */
  readonly layers: readonly string[];
  /** ID of the parent image, when it was saved along. */
  readonly parent: Digest | null;
  /** Written by Docker's graph driver store from 25 on: no other writer tells the layers' sources. */
  readonly hasSources: boolean;
}

export function parseSavedImage(value: Json, what: string): SavedImage {
  const object = asObject(value, what);
  return {
    config: asString(object.Config, `${what}.Config`),
    repoTags: stringsOrEmpty(object.RepoTags, `${what}.RepoTags`),
    layers: stringsOrEmpty(object.Layers, `${what}.Layers`),
    parent: parseDigest(object.Parent),
    hasSources: object.LayerSources != null,
  };
}

/** `{repository: {tag: id}}`; the ID is a v1 layer folder in old archives, a diffID's hex from Docker 25 on. */
export function parseRepositories(json: Json): { name: string; id: string }[] {
  return Object.entries(asObject(json, "repositories")).flatMap(([repository, tags]) =>
    Object.entries(asObject(tags, `repositories.${repository}`)).map(([tag, id]) => ({
      name: `${repository}:${tag}`,
      id: asString(id, `repositories.${repository}.${tag}`),
    })),
  );
}

/** The `json` of a v1 layer folder, and of the records that Docker 25 and later writes among the blobs. */
export interface V1Layer {
  readonly id: string | null;
  readonly parent: string | null;
  /** Of the image that has it as its top. */
  readonly created: string | null;
  readonly platform: string | null;
}

export function parseV1Layer(json: Json, what: string): V1Layer {
  const object = asObject(json, what);
  return {
    id: stringOrNull(object.id),
    parent: stringOrNull(object.parent),
    created: timeOrNull(object.created),
    platform: platformOf(object),
  };
}
