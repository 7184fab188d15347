/**
 * The folder of a layer as the engine saw it when it unpacked the layer there: as the root of all paths. A layer may
 * put `lib` in place as a link to `usr/lib` and then a file into `lib`, so links in the middle of a path are followed,
 * component by component, by name, and never out of the folder. The operating system is handed paths without a link
 * in them: a folder that leads out of itself is harmless.
 */
import { type BytePath, baseName, joinPath, parentOf, ROOT } from "../byte-path.ts";
import type { Folder, FolderEntry, MaybePromise } from "../bytes/folder.ts";
import type { LayerFile, LayerFiles } from "./tarsplit.ts";

const LINK_LIMIT = 40; // as Linux: MAXSYMLINKS
const PATH_LIMIT = 4096; // as Linux: PATH_MAX
/** Folders remembered; a layer has some thousands. */
const KNOWN_LIMIT = 200_000;

export class LayerFolder implements LayerFiles {
  readonly files: Folder;
  /** Where a folder really is; null: it is not there. */
  private readonly places = new Map<BytePath, BytePath | null>([[ROOT, ROOT]]);
  private readonly folders = new Set<BytePath>([ROOT]);

  constructor(files: Folder) {
    this.files = files;
  }

  /** The path without links in its folders, whether or not something is there; null where its folder is not there. */
  place(path: BytePath): MaybePromise<BytePath | null> {
    const folder = parentOf(path);
    const known = this.places.get(folder);
    if (known === undefined) return this.find(folder).then((found) => within(found, path));
    return known === folder ? path : within(known, path);
  }

  async lstat(path: BytePath): Promise<FolderEntry | null> {
    const place = await this.place(path);
    return place === null ? null : this.files.lstat(place);
  }

  async open(path: BytePath): Promise<LayerFile | FolderEntry | null> {
    const place = await this.place(path);
    return place === null ? null : this.files.open(place);
  }

  private async find(folder: BytePath): Promise<BytePath | null> {
    const place = await this.follow(folder);
    if (this.places.size > KNOWN_LIMIT) this.places.clear();
    this.places.set(folder, place);
    return place;
  }

  private async follow(folder: BytePath): Promise<BytePath | null> {
    if (folder.length > PATH_LIMIT) return null;
    const ahead = folder.split("/").reverse();
    let at: BytePath = ROOT;
    let links = 0;
    for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
      if (part === "" || part === ".") continue;
      if (part === "..") {
        at = parentOf(at);
        continue;
      }
      const next = joinPath(at, part);
      if (!this.folders.has(next)) {
        const entry = await this.files.lstat(next);
        if (entry?.kind === "symlink") {
          const target = await this.files.readlink(next);
          if (++links > LINK_LIMIT || target.length > PATH_LIMIT) return null;
          if (target.startsWith("/")) at = ROOT;
          ahead.push(...target.split("/").reverse());
          continue;
        }
        if (entry?.kind !== "directory") return null;
        if (this.folders.size > KNOWN_LIMIT) this.folders.clear();
        this.folders.add(next);
      }
      at = next;
    }
    return at;
  }
}

function within(folder: BytePath | null, path: BytePath): BytePath | null {
  return folder === null ? null : joinPath(folder, baseName(path));
}
