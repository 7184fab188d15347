/** The kinds of store, in the order in which they are asked: one line each. */
import { docker } from "./docker/index.ts";
import { dockerArchive } from "./docker-archive.ts";
import { fragment } from "./fragment.ts";
import { ociLayout } from "./oci-layout.ts";
import { skopeoDir } from "./skopeo-dir.ts";
import type { StoreKind } from "./store.ts";

export const STORE_KINDS: readonly StoreKind[] = [docker, skopeoDir, dockerArchive, ociLayout, fragment];
