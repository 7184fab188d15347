/**
 * Whether what lies in a layer's folder is what its tar has put there: types, targets of links, whiteouts, permissions
 * and owners, of which no checksum is kept, since the tar's headers are rebuilt from tar-split and not from the files.
 *
 * Follows what Docker does when it unpacks: moby pkg/archive (`createTarFile`, `overlayWhiteoutConverter`) for
 * overlay2, `UnpackLayer` for drivers whose folders show all layers below as well. Not looked at: times (those of
 * folders change with what is put into them), extended attributes but for overlayfs's own, and whatever of a layer's
 * devices is missing counts as metadata only, since an engine without privileges does not make them.
 */
import { type BytePath, baseName, joinPath, parentOf, parseBytePath, ROOT } from "../byte-path.ts";
import { Crc64 } from "../bytes/crc64.ts";
import { type FileKind, type FolderEntry, isOpen } from "../bytes/folder.ts";
import type { LayerFolder } from "./layer-folder.ts";
import type { TarEntry } from "./tar.ts";
import {
  type ContentFinding,
  type FileName,
  reasonOf,
  type TarSplitEntry,
  type TarSplitFile,
} from "./tarsplit.ts";

/**
 * What is not as it was put there. `elsewhere` explains the others of its file: overlayfs keeps it, or what is in it,
 * in a layer below. `device`, `mode`, `owner` and `extra` change nothing of a layer's content.
 */
export type FolderFinding = FileName &
  (
    | { readonly kind: "target"; readonly expected: string; readonly found: string }
    /** Another name of `target` holds other bytes than that. */
    | { readonly kind: "link"; readonly target: string }
    /** Nothing hides what layers below have under this name. */
    | { readonly kind: "whiteout"; readonly found: FileKind | null }
    | { readonly kind: "opaque" }
    | { readonly kind: "elsewhere"; readonly attribute: string }
    | { readonly kind: "device"; readonly expected: string; readonly found: string | null }
    | { readonly kind: "mode"; readonly expected: number; readonly found: number }
    | { readonly kind: "owner"; readonly expected: number; readonly found: number }
    /** Not of this layer. */
    | { readonly kind: "extra" }
  );

export type LayerFinding = ContentFinding | FolderFinding;

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** AUFS's own: `.wh..wh.plnk` and the like. */
const AUFS_OWN = ".wh..wh.";

/** More folders than that: what is there beside is not told. */
const FOLDER_LIMIT = 1_000_000;

export class MemberCheck {
  /** Members that put something into the folder, and those of which something is there. */
  expected = 0;
  there = 0;
  private readonly folder: LayerFolder;
  private readonly isDiff: boolean;
  private readonly report: (finding: LayerFinding) => void;
  /** How many entries of each folder the tar tells of; null where that is not wanted or they are too many. */
  private counts: Map<BytePath, number> | null;
  /** Hidden names under which there is something: right where the tar puts it there later. */
  private readonly unhidden = new Map<BytePath, LayerFinding>();
  private readonly owners = { uid: new OwnerWatch(), gid: new OwnerWatch() };

  constructor(folder: LayerFolder, isDiff: boolean, report: (finding: LayerFinding) => void) {
    this.folder = folder;
    this.isDiff = isDiff;
    this.report = report;
    this.counts = isDiff ? new Map([[ROOT, 0]]) : null;
  }

  /** Of each member in the order of the tar; `opened` where it was looked at already. */
  async member(file: TarSplitFile, header: TarEntry | null, opened: FolderEntry | null): Promise<void> {
    const { path } = file;
    if (header === null || path === null || header.type === "other") return;
    const base = baseName(path);
    if (base.startsWith(WHITEOUT)) return this.hiding(file, path, base);
    if (this.unhidden.size > 0) this.unhide(path);
    if (path !== ROOT) this.expected++;
    try {
      const place = await this.folder.place(path);
      if (place !== null) this.count(place, header.type === "directory");
      const isContent = header.type === "file" && file.size > 0;
      const found = opened ?? (isContent || place === null ? null : await this.folder.files.lstat(place));
      if (found !== null) await this.compare(file, header, place!, found);
      else if (!isContent) this.absent(file, header); // of content it was told what is the matter
    } catch (error) {
      this.tell(file, { kind: "unreadable", message: reasonOf(error) });
    }
  }

  /** What can be told at the end only; the folder is not asked for more where `isDamaged`. */
  async finish(entries: () => AsyncIterable<TarSplitEntry>, isDamaged: boolean): Promise<void> {
    for (const finding of this.unhidden.values()) this.report(finding);
    this.owners.uid.tell(this.report);
    this.owners.gid.tell(this.report);
    if (!isDamaged && this.unhidden.size === 0) await this.beside(entries);
  }

  private absent(file: TarSplitFile, header: TarEntry): void {
    if (header.type === "char" || header.type === "block") {
      this.tell(file, { kind: "device", expected: deviceOf(header), found: null });
    } else this.tell(file, { kind: "missing" });
  }

  private async compare(
    file: TarSplitFile,
    header: TarEntry,
    place: BytePath,
    found: FolderEntry,
  ): Promise<void> {
    if (file.path !== ROOT) this.there++;
    if (header.type === "hardlink") return this.compareLink(file, header, place, found);
    const expected = header.type as FileKind;
    if (!isKind(found, expected)) return this.tell(file, { kind: "type", expected, found: found.kind });
    if (expected === "symlink") await this.compareTarget(file, header, place);
    if (found.device !== null && found.device !== deviceOf(header)) {
      this.tell(file, { kind: "device", expected: deviceOf(header), found: found.device });
    }
    if (file.size === 0 && found.size > 0) {
      this.tell(file, { kind: "size", expected: 0, found: found.size });
    }
    this.compareRights(file, header, found);
  }

  private compareRights(file: TarSplitFile, header: TarEntry, found: FolderEntry): void {
    // The header of each name sets the rights of all of them.
    if (found.names !== null && found.names > 1 && found.kind !== "directory") return;
    const { mode, uid, gid } = found;
    if (mode !== null && mode !== header.mode && found.kind !== "symlink") {
      this.tell(file, { kind: "mode", expected: header.mode, found: mode });
    }
    if (uid !== null && header.uid !== null) this.owners.uid.saw(header.uid, uid, file);
    if (gid !== null && header.gid !== null) this.owners.gid.saw(header.gid, gid, file);
  }

  private async compareTarget(file: TarSplitFile, header: TarEntry, place: BytePath): Promise<void> {
    const found = await this.folder.files.readlink(place);
    if (found !== header.linkName) {
      this.tell(file, { kind: "target", expected: header.linkName, found });
    }
  }

  /** One file of two names, or a copy of it, as programs leave it that do not know of such names. */
  private async compareLink(
    file: TarSplitFile,
    header: TarEntry,
    place: BytePath,
    found: FolderEntry,
  ): Promise<void> {
    const name = parseBytePath(header.linkName);
    const target = name === null ? null : await this.folder.place(name);
    if (target === null) return; // to nowhere: that its target is missing is told of the target
    if (await this.folder.files.isSame(place, target)) return;
    const other = await this.folder.files.lstat(target);
    if (other === null) return;
    const isEqual =
      found.kind === other.kind &&
      found.size === other.size &&
      (found.kind !== "file" || (await this.crc(place)) === (await this.crc(target)));
    if (!isEqual) this.tell(file, { kind: "link", target: header.linkName });
  }

  private async crc(place: BytePath): Promise<bigint | null> {
    const file = await this.folder.files.open(place);
    if (file === null || !isOpen(file)) return null;
    try {
      const crc = new Crc64();
      for await (const chunk of file.stream()) crc.update(chunk);
      return crc.digest();
    } finally {
      await file.close();
    }
  }

  /** A member that stands for what is not there: `.wh.x` hides `x`, `.wh..wh..opq` all that layers below have. */
  private async hiding(file: TarSplitFile, path: BytePath, base: string): Promise<void> {
    try {
      if (base === OPAQUE) return await this.checkOpaque(file, parentOf(path));
      if (base.startsWith(AUFS_OWN) && !this.isDiff) return;
      const hidden = joinPath(parentOf(path), base.slice(WHITEOUT.length));
      const place = await this.folder.place(hidden);
      if (place !== null) this.count(place, false);
      const found = place === null ? null : await this.folder.files.lstat(place);
      const isHidden = this.isDiff ? found?.isWhiteout === true : found === null;
      // Where no device can be made, fuse-overlayfs leaves a file of the member's own name.
      if (isHidden || (this.isDiff && (await this.folder.lstat(path)) !== null)) return;
      this.unhidden.set(hidden, { ...nameOf(file), kind: "whiteout", found: found?.kind ?? null });
    } catch (error) {
      this.tell(file, { kind: "unreadable", message: reasonOf(error) });
    }
  }

  private async checkOpaque(file: TarSplitFile, folder: BytePath): Promise<void> {
    if (!this.isDiff) return;
    const place = await this.folder.place(folder);
    const attributes = place === null ? null : await this.folder.files.attributes(place);
    // None at all: it may well be that whatever copied the store has left them out.
    if (attributes === null || attributes.size === 0 || OPAQUES.some((name) => attributes.has(name))) return;
    if ((await this.folder.lstat(joinPath(folder, ".wh..opq"))) === null) this.tell(file, { kind: "opaque" });
  }

  /** Something is put in place of what was hidden, or into it. */
  private unhide(path: BytePath): void {
    for (let at = path; at !== ROOT; at = parentOf(at)) this.unhidden.delete(at);
  }

  private count(place: BytePath, isFolder: boolean): void {
    const { counts } = this;
    if (counts === null || counts.has(place)) return; // a folder counts with the first thing in it
    if (isFolder) counts.set(place, 0);
    for (let at = place; at !== ROOT; ) {
      const folder = parentOf(at);
      const before = counts.get(folder);
      counts.set(folder, (before ?? 0) + 1);
      if (before !== undefined) break;
      at = folder;
    }
    if (counts.size > FOLDER_LIMIT) this.counts = null;
  }

  /** Files that the tar does not have: their folders hold more names than it tells of. */
  private async beside(entries: () => AsyncIterable<TarSplitEntry>): Promise<void> {
    const { counts, folder } = this;
    const more = new Map<BytePath, Set<string>>();
    for (const [place, count] of counts ?? []) {
      if ((await folder.files.lstat(place))?.kind !== "directory") continue;
      const names = await folder.files.names(place);
      if (names.length > count) more.set(place, new Set(names));
    }
    if (more.size === 0) return;
    // Which ones they are is rarely asked: the names of a layer are not kept, but read once more.
    for await (const entry of entries()) {
      const place = entry.kind === "file" && entry.path !== null ? await folder.place(entry.path) : null;
      for (let at = place ?? ROOT; at !== ROOT; at = parentOf(at)) {
        const base = baseName(at);
        more.get(parentOf(at))?.delete(base.startsWith(WHITEOUT) ? base.slice(WHITEOUT.length) : base);
      }
    }
    for (const [place, names] of more) {
      for (const name of [...names].sort()) await this.tellExtra(joinPath(place, name), name);
    }
  }

  /** Sockets are left out of tars, and names of whiteouts are no files of a layer. */
  private async tellExtra(path: BytePath, name: string): Promise<void> {
    if (name.startsWith(WHITEOUT) || (await this.folder.files.lstat(path))?.kind === "socket") return;
    this.report({ kind: "extra", path, rawName: path });
  }

  private tell(file: TarSplitFile, finding: Bare<LayerFinding>): void {
    this.report({ ...nameOf(file), ...finding } as LayerFinding);
  }
}

type Bare<Finding> = Finding extends unknown ? Omit<Finding, keyof FileName> : never;

const OPAQUES = ["trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque"];

function nameOf({ path, rawName }: FileName): FileName {
  return { path, rawName };
}

function deviceOf({ deviceMajor, deviceMinor }: TarEntry): string {
  return `${deviceMajor}:${deviceMinor}`;
}

function isKind(found: FolderEntry, expected: FileKind): boolean {
  if (found.kind === expected) return true;
  return found.kind === "other" && (expected === "char" || expected === "block" || expected === "fifo");
}

const PAIR_LIMIT = 1000;

/**
 * Owners that differ. An engine in a user namespace (`userns-remap`, rootless) gives files to other users than their
 * tar says, each user to another: what holds for most files of a user is no finding.
 */
class OwnerWatch {
  /** By owner in the tar and owner in the folder, where they differ; and how often they do not. */
  private readonly differing = new Map<string, { expected: number; found: number; files: FileName[] }>();
  private readonly equal = new Map<number, number>();
  private readonly counts = new Map<string, number>();

  saw(expected: number, found: number, file: FileName): void {
    if (expected === found) {
      this.equal.set(expected, (this.equal.get(expected) ?? 0) + 1);
      return;
    }
    const pair = `${expected}:${found}`;
    this.counts.set(pair, (this.counts.get(pair) ?? 0) + 1);
    const known = this.differing.get(pair);
    if (known && known.files.length < PAIR_LIMIT) known.files.push(nameOf(file));
    else if (!known && this.differing.size < PAIR_LIMIT) {
      this.differing.set(pair, { expected, found, files: [nameOf(file)] });
    }
  }

  tell(report: (finding: LayerFinding) => void): void {
    for (const [pair, { expected, found, files }] of this.differing) {
      const isMapping =
        mayBeMapped(expected, found) && this.counts.get(pair)! > (this.equal.get(expected) ?? 0);
      if (isMapping) continue;
      for (const file of files) report({ ...file, kind: "owner", expected, found });
    }
  }
}

/** Subordinate IDs begin at 65536 or above; rootless, the one who runs the engine is its root. */
function mayBeMapped(expected: number, found: number): boolean {
  return found >= 65_536 || (expected === 0 && found >= 500);
}
