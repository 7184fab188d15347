/**
 * Where Docker's graph drivers keep their folders, after moby daemon/graphdriver/<driver>/<driver>.go. An ID here is
 * a cache-id, a mount-id or a BuildKit ID: 64 hex digits (with `-init` behind it for an init layer) or 25 letters and
 * digits, never a chainID.
 */
import { type BytePath, joinPath } from "../../byte-path.ts";

export interface Driver {
  readonly name: string;
  /** The folders whose entries are named by IDs. */
  readonly idFolders: readonly BytePath[];
  /** Entries of those that are no IDs. */
  readonly others: readonly string[];
  /** The files of a layer, from the data-root. Null: they are in no folder that can be read while unmounted. */
  content(id: string): BytePath | null;
  /** Whether `content` holds one layer alone, with whiteouts; else it shows all layers below as well. */
  readonly isDiff: boolean;
  /** Short names of layers, each a link to the folder of one; null where the driver has none. */
  readonly links: BytePath | null;
  /** Whether the blocks of its folders are the bytes that it takes: not where they are a view of something else. */
  readonly isMeasurable: boolean;
}

const QUOTA_DEVICE = "backingFsBlockDev";

function overlay(name: string): Driver {
  const folder = name as BytePath;
  return {
    name,
    idFolders: [folder],
    others: ["l", QUOTA_DEVICE],
    content: (id) => joinPath(folder, id, "diff"),
    isDiff: true,
    links: joinPath(folder, "l"),
    isMeasurable: true,
  };
}

function folders(
  name: string,
  idFolders: readonly string[],
  content: ((id: string) => BytePath) | null,
  rest: Partial<Driver> = {},
): Driver {
  return {
    name,
    idFolders: idFolders.map((folder) => joinPath(name, folder)),
    others: [QUOTA_DEVICE],
    content: content ?? (() => null),
    isDiff: false,
    links: null,
    isMeasurable: true,
    ...rest,
  };
}

/**
 * In the order in which dockerd looks for what was used before. Of the last five only metadata is read: their folders
 * are views (btrfs, zfs), or laid out in ways that no engine of today writes.
 */
const DRIVERS: readonly Driver[] = [
  overlay("overlay2"),
  overlay("fuse-overlayfs"),
  folders("vfs", ["dir"], (id) => joinPath("vfs/dir", id)),
  folders("btrfs", ["subvolumes", "quotas"], (id) => joinPath("btrfs/subvolumes", id), {
    isMeasurable: false,
  }),
  folders("zfs", ["graph"], null, { isMeasurable: false }),
  folders("aufs", ["diff", "layers", "mnt"], (id) => joinPath("aufs/diff", id), { isDiff: true }),
  folders("overlay", [""], null),
  folders("devicemapper", ["mnt", "metadata"], null, {
    others: ["deviceset-metadata", "transaction-metadata"],
  }),
];

export function driverNamed(name: string): Driver | null {
  return DRIVERS.find((driver) => driver.name === name) ?? null;
}

/** An ID that names a folder of its own: no separator, and none of the names that are no folder. */
export function isFolderId(id: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/.test(id);
}
