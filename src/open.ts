/**
 * From a SOURCE to the stores in it: what it is is found by content, never by name.
 */
import { lstat, readdir, realpath, stat, statfs } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { type BytePath, bytePathFromText, escapeControls, ROOT } from "./byte-path.ts";
import { type Compression, decompress, sniffCompression } from "./bytes/decompress.ts";
import { type ByteSource, openFile } from "./bytes/source.ts";
import { peek, spool, watched } from "./bytes/spool.ts";
import {
  InterruptedError,
  messageOf,
  NoImages,
  NoStoreFound,
  SourceError,
  UllageError,
  UsageError,
} from "./errors.ts";
import {
  doubtOf,
  type Env,
  findPlaces,
  isHostRoot,
  noStoreFound,
  type Place,
  resolveInside,
} from "./places.ts";
import type { Run, Warn } from "./run.ts";
import { STORE_KINDS } from "./stores/index.ts";
import type { FileSystemUse, SourceKind, Store, StoreKind } from "./stores/store.ts";
import { HostTree } from "./trees/host.ts";
import { findLive } from "./trees/live.ts";
import { type Need, openTarTree, readTarTree, type TarTree } from "./trees/tar.ts";
import { type ReadOnlyTree, subTree } from "./trees/tree.ts";

export interface OpenOptions {
  /** What the command will ask of members of archives that can be read only once. */
  readonly need: Need;
  readonly as: SourceKind | null;
  /** A folder inside the source to look at instead of its top. */
  readonly at: string | null;
  /** A folder to unpack compressed archives in. */
  readonly tmp: string | null;
  readonly stdin: AsyncIterable<Uint8Array>;
  /** As in `Reading`. */
  readonly recorded: boolean;
  readonly largest: number;
}

/**
 * The stores of the host whose root is at `root` (`/`, but in tests), looked for in their usual places; throws
 * `NoStoreFound` where there is none.
 */
export async function openUsual(root: string, env: Env, options: OpenOptions, run: Run): Promise<Store[]> {
  if (options.at !== null) return openSources([root], options, run);
  const real = await realpath(root).catch(() => root); // with no root, all is absent
  return openPlaces({ path: null, at: "", env }, real, options, run, new Set());
}

/** How stores that are found below the root of a host are called. */
interface HostLabel {
  /** The SOURCE; null where none was given, so that places are their own names. */
  readonly path: string | null;
  /** Where in the SOURCE the root is. */
  readonly at: string;
  readonly env: Env | null;
}

/** Each store in the usual places below `root`, a real path. */
async function openPlaces(
  { path, at, env }: HostLabel,
  root: string,
  options: OpenOptions,
  run: Run,
  seen: Set<string>,
): Promise<Store[]> {
  const readers = STORE_KINDS.filter((kind) => options.as === null || kind.kind === options.as);
  const { found, tried } = await findPlaces(root, env, readers);
  if (found.length === 0) throw noStoreFound(path, tried);
  for (const one of tried.filter(({ inDoubt }) => inDoubt)) {
    const place = path === null ? { source: one.path, path: null } : { source: path, path: one.path };
    run.warnings.add({ code: "place-unread", ...place, message: doubtOf(one), incomplete: true });
  }
  const stores: Store[] = [];
  let failed: unknown = null;
  for (const place of found) {
    const inside = `${at}${at === "" ? "" : "/"}${escapeControls(place.path.slice(1))}`;
    const label = path === null ? escapeControls(place.path) : `${path}: ${inside}`;
    const own = { ...options, at: path === null ? null : inside };
    try {
      stores.push(...(await openPlace(label, place, own, run, seen)));
    } catch (error) {
      failed = error;
      if (isOver(error)) break;
      const message = messageOf(error).replace(`cannot read ${label}: `, "");
      run.warnings.add({ code: "unreadable", source: label, path: null, message, incomplete: true });
    }
  }
  if (failed === null || (stores.length > 0 && !isOver(failed))) return stores;
  await Promise.all(stores.map((store) => store.close()));
  throw failed;
}

/** Nothing that another source could make up for. */
function isOver(error: unknown): boolean {
  return error instanceof UsageError || error instanceof InterruptedError;
}

async function openPlace(
  label: string,
  { real, kind }: Place,
  options: OpenOptions,
  run: Run,
  seen: Set<string>,
): Promise<Store[]> {
  const { dev, ino } = await stat(real, { bigint: true });
  const inode = `${dev}:${ino}`;
  if (seen.has(inode)) return []; // given as a SOURCE before
  seen.add(inode);
  const warn: Warn = (warning) => run.warnings.add({ ...warning, source: label });
  const tree = new HostTree(label, real, warn);
  return [await storeOf(label, { ...AS_IT_STANDS, tree, used: null }, options, run, warn, kind)];
}

/** Opens every source; throws SourceError when one cannot be read at all. */
export async function openSources(
  paths: readonly string[],
  options: OpenOptions,
  run: Run,
): Promise<Store[]> {
  const stores: Store[] = [];
  const seen = new Set<string>();
  try {
    for (const path of paths) {
      for (const store of await openSource(path, options, run, seen)) stores.push(store);
    }
    return stores;
  } catch (error) {
    await Promise.all(stores.map((store) => store.close()));
    throw error;
  }
}

/** Folders nested deeper than this below a SOURCE are not searched. */
const SEARCH_DEPTH = 6;

async function openSource(
  path: string,
  options: OpenOptions,
  run: Run,
  seen: Set<string>,
  depth = 0,
): Promise<Store[]> {
  const warn: Warn = (warning) => run.warnings.add({ ...warning, source: path });
  if (path === "-") return [await storeOf(path, await fromStdin(options, run, warn), options, run, warn)];
  let real: string;
  let isFolder: boolean;
  try {
    real = await realpath(path);
    const found = await stat(real, { bigint: true });
    const inode = `${found.dev}:${found.ino}`;
    if (seen.has(inode)) return []; // one file given twice is one source
    seen.add(inode);
    isFolder = found.isDirectory();
    if (!isFolder && !found.isFile())
      throw new SourceError(`cannot read ${path}: neither a file nor a folder`);
  } catch (error) {
    if (error instanceof UllageError) throw error;
    throw new SourceError(`cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  }
  return isFolder
    ? openFolder(path, real, options, run, seen, depth)
    : [await openArchive(path, real, options, run, warn)];
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file or folder (and no command; ullage --help lists them)";
  if (code === "EACCES") return "permission denied; run as root to read it";
  return messageOf(error);
}

/** A store's folder, or a folder that holds archives and stores: then each one found. */
async function openFolder(
  path: string,
  real: string,
  options: OpenOptions,
  run: Run,
  seen: Set<string>,
  depth: number,
): Promise<Store[]> {
  const warn: Warn = (warning) => run.warnings.add({ ...warning, source: path });
  const top = options.at ? await folderAt(path, real, options.at) : real;
  const tree = new HostTree(path, top, warn);
  // A kind of archive is asked of the files in the folder.
  const kind = options.as?.endsWith("-archive") ? null : await kindOf(tree, options.as);
  if (kind) return [await storeOf(path, { ...AS_IT_STANDS, tree, used: null }, options, run, warn, kind)];
  if (await isHostRoot(top)) {
    const host = { path, at: options.at ?? "", env: null };
    return openPlaces(host, top, options, run, seen).catch((error: unknown) => {
      if (depth > 0 && error instanceof NoStoreFound) {
        const message = "the root of a system, with no store in its usual places: not searched";
        warn({ code: "passed-over", path: null, message, incomplete: false });
      }
      throw error;
    });
  }
  const names = await readdir(top).catch((error: unknown) => {
    throw new SourceError(`cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  });
  const stores: Store[] = [];
  const device = (await stat(top)).dev;
  let found = false;
  for (const name of names.sort()) {
    const inside = join(path, relative(real, top), name);
    try {
      const look = await lookAt(join(top, name), device, depth);
      if (look.passed !== null)
        warn({ code: "passed-over", path: name, message: look.passed, incomplete: look.incomplete });
      if (!look.open) continue;
      for (const store of await openSource(inside, { ...options, at: null }, run, seen, depth + 1))
        stores.push(store);
      found = true; // also where it was given before, and is counted there
    } catch (error) {
      if (isOver(error)) {
        await Promise.all(stores.map((store) => store.close()));
        throw error;
      }
      // One file that is no image archive does not make a folder of CI artifacts unreadable; a broken one is told.
      if (error instanceof NoImages) continue;
      const message = error instanceof UllageError ? messageOf(error) : reasonOf(error);
      warn({ code: "unreadable", path: name, message, incomplete: true });
    }
  }
  if (found) return stores;
  throw new NoImages(`cannot read ${path}: no image archive, layout or store in it`);
}

/** The folder that --at names inside a SOURCE: links lead nowhere else, such as to the host that a mounted one is not. */
async function folderAt(path: string, real: string, at: string): Promise<string> {
  try {
    return await resolveInside(real, folderIn(at));
  } catch (error) {
    if (error instanceof UllageError) throw error;
    const isAbsent = ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
    throw new SourceError(
      `cannot read ${path}: --at ${at}: ${isAbsent ? "no such folder in it" : reasonOf(error)}`,
    );
  }
}

/**
 * Which of `texts` are paths of this host, as real paths (but for a link that is the last part of one) in bytes, one
 * char each; and the store above each where `search` is set and there is one.
 */
export async function findHostPaths(
  texts: readonly string[],
  search: boolean,
): Promise<{ text: string; path: string; store: string | null }[]> {
  const found: { text: string; path: string; store: string | null }[] = [];
  for (const text of texts) {
    if (!text.includes("/")) continue;
    try {
      const path = join(await realpath(dirname(text)), basename(text));
      await lstat(path);
      const bytes = Buffer.from(path).toString("latin1");
      found.push({ text, path: bytes, store: search ? await storeAbove(path) : null });
    } catch {
      // No path of this host: an ID, or a path inside a source.
    }
  }
  return found;
}

/** The outermost folder above a path that is a store of a kind. */
async function storeAbove(path: string): Promise<string | null> {
  let store: string | null = null;
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const tree = new HostTree(at, at, () => undefined);
    if ((await stat(at)).isDirectory() && (await kindOf(tree, null))) store = at;
  }
  return store;
}

interface Look {
  readonly open: boolean;
  /** Why it is not opened, where that should be said. */
  readonly passed: string | null;
  readonly incomplete: boolean;
}

/** A folder of the same file system, or a file that begins as an archive does, is opened; links are not followed. */
async function lookAt(path: string, device: number, depth: number): Promise<Look> {
  const found = await lstat(path);
  const look = { open: false, passed: null, incomplete: false };
  if (found.isDirectory()) return { ...look, open: found.dev === device && depth < SEARCH_DEPTH };
  const isNamedSo = /\.(tar|tgz|tar\.(gz|zst|xz|bz2))$/.test(path);
  if (found.isSymbolicLink() && isNamedSo) {
    return { ...look, passed: "a link, which is not followed: name it as a SOURCE of its own" };
  }
  if (!found.isFile()) return look;
  if (await mayBeArchive(path)) return { ...look, open: true };
  // What a save leaves that failed, most of all on a full disk.
  const passed = isNamedSo ? `no archive, though its name says so: ${found.size} bytes` : null;
  return { open: false, passed, incomplete: passed !== null };
}

async function mayBeArchive(path: string): Promise<boolean> {
  const head = await headOf(path);
  return sniffCompression(head) !== null || head.subarray(257, 262).toString("latin1") === "ustar";
}

async function headOf(path: string): Promise<Buffer> {
  const source = await openFile(path);
  try {
    return Buffer.from(await source.read(0, Math.min(512, source.byteLength)));
  } finally {
    await source.close();
  }
}

interface Opened {
  readonly tree: ReadOnlyTree;
  /** Bytes that the source takes, to compare the sum of its parts with. */
  readonly used: number | null;
  readonly remarks: readonly string[];
  /** Length of the file, where it is compressed as a whole. */
  readonly fileBytes: number | null;
  readonly passSeconds: number | null;
}

/** A source that is read when asked, as it stands. */
const AS_IT_STANDS = { remarks: [], fileBytes: null, passSeconds: null };

async function openArchive(
  path: string,
  real: string,
  options: OpenOptions,
  run: Run,
  warn: Warn,
): Promise<Store> {
  const source = await openFile(real, path);
  try {
    const head = await source.read(0, Math.min(16, source.byteLength));
    const compression = sniffCompression(head);
    const opened = compression
      ? await unpackArchive(path, source, compression, options, run, warn)
      : { ...AS_IT_STANDS, tree: await plainTree(path, source, warn), used: source.byteLength };
    return await storeOf(path, opened, options, run, warn);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Closes the source where it is no archive. */
async function plainTree(path: string, source: ByteSource, warn: Warn): Promise<TarTree> {
  try {
    const tree = await openTarTree(source, warn);
    if (!tree) throw new NoImages(`cannot read ${path}: ${await whyNoArchive(source)}`);
    return tree;
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function whyNoArchive(source: ByteSource): Promise<string> {
  if (source.byteLength === 0) return "it is empty (0 bytes)";
  const head = await source.read(0, Math.min(512, source.byteLength));
  const isTar = Buffer.from(head.subarray(257, 262)).toString("latin1") === "ustar";
  return isTar ? "a tar whose first header is damaged" : "neither an image archive nor a compressed one";
}

/** A compressed archive: into a file below --tmp when there is one, else read once in a single pass. */
async function unpackArchive(
  path: string,
  source: ByteSource,
  compression: Compression,
  options: OpenOptions,
  run: Run,
  warn: Warn,
): Promise<Opened> {
  const started = performance.now();
  const unpacking = watched(decompress(compression, source.stream(), path));
  const { chunks } = unpacking;
  const opened = (tree: TarTree, passSeconds: number | null): Opened => ({
    tree,
    used: tree.byteLength,
    remarks: [
      `${path} is compressed as a whole (${compression}): ${source.byteLength} bytes hold a tar of ${tree.byteLength}; sizes are those inside the tar`,
    ],
    fileBytes: source.byteLength,
    passSeconds,
  });
  if (options.tmp !== null) {
    const unpacked = await spool(path, chunks, options.tmp, run.signal, broken(warn));
    const tree = await plainTree(path, unpacked, warn);
    await source.close();
    return opened(tree, null);
  }
  const tree = await readTarTree(path, chunks, options.need, warn);
  await source.close();
  if (!tree && unpacking.failure()) throw new SourceError(`cannot read ${path}: ${unpacking.failure()}`);
  if (!tree) throw new NoImages(`cannot read ${path}: a ${compression} file, but no archive in it`);
  return opened(tree, secondsSince(started));
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}

function broken(warn: Warn): (message: string) => void {
  return (message) => warn({ code: "archive-broken", path: null, message, incomplete: true });
}

async function fromStdin(options: OpenOptions, run: Run, warn: Warn): Promise<Opened> {
  const [head, chunks] = await peek(options.stdin);
  const compression = sniffCompression(head);
  const plain = compression ? decompress(compression, chunks, "-") : chunks;
  const name = "standard input";
  const started = performance.now();
  if (options.tmp !== null) {
    const tree = await plainTree(name, await spool(name, plain, options.tmp, run.signal, broken(warn)), warn);
    return { ...AS_IT_STANDS, tree, used: tree.byteLength };
  }
  const tree = await readTarTree(name, plain, options.need, warn);
  if (!tree) throw new SourceError("cannot read standard input: no image archive");
  return { ...AS_IT_STANDS, tree, used: tree.byteLength, passSeconds: secondsSince(started) };
}

async function kindOf(tree: ReadOnlyTree, as: SourceKind | null): Promise<StoreKind | null> {
  if (as !== null) {
    const forced = STORE_KINDS.find(
      (kind) => kind.kind === as || (as === "oci-archive" && kind.kind === "oci-layout"),
    );
    if (!forced) throw new UsageError(`--as ${as}: no such kind`);
    return forced;
  }
  for (const kind of STORE_KINDS) if (await kind.detect(tree)) return kind;
  return null;
}

/** The store in an opened source; closes the source where there is none in it. */
async function storeOf(
  path: string,
  opened: Opened,
  options: OpenOptions,
  run: Run,
  warn: Warn,
  known: StoreKind | null = null,
): Promise<Store> {
  try {
    const { tree, kind, root } = await placeOfStore(path, opened.tree, options, known);
    const { recorded, largest } = options;
    warnIfLive(tree, warn);
    const reading = { warn, pool: run.pool, signal: run.signal, recorded, largest };
    const contents = await kind.read(tree, reading);
    const { graph, kind: found, engine } = contents;
    return {
      kind: found,
      source: path,
      engine,
      root,
      graph,
      used: opened.used ?? tree.walked(),
      filesystem: found.endsWith("-archive") ? null : await fileSystemOf(tree.hostPath(ROOT)),
      fileBytes: opened.fileBytes,
      passSeconds: opened.passSeconds,
      remarks: [...opened.remarks, ...(contents.remarks ?? [])],
      checks: async () => (await contents.checks?.()) ?? [],
      tree,
      largest: contents.largest ?? null,
      unpacked: (node) => contents.unpacked?.get(node) ?? null,
      open(node) {
        const { path: place } = graph.nodes[node]!;
        if (place === null) throw new SourceError(`${path}: node ${node} has no bytes of its own`);
        return tree.open(place);
      },
      facts(node) {
        const { path: place } = graph.nodes[node]!;
        return place === null ? null : tree.facts(place);
      },
      close: () => tree.close(),
    };
  } catch (error) {
    await opened.tree.close();
    throw error;
  }
}

function warnIfLive(tree: ReadOnlyTree, warn: Warn): void {
  const root = tree.hostPath(ROOT);
  const evidence = root === null ? null : findLive(root);
  if (evidence === null) return;
  const message = `${evidence}: this is a snapshot of something moving; stop the engine for exact figures`;
  warn({ code: "live", path: null, message, incomplete: false });
}

/** Where in a source its store is: at --at, at the top, or one folder down, as in a tar of a folder. */
async function placeOfStore(
  path: string,
  whole: ReadOnlyTree,
  options: OpenOptions,
  known: StoreKind | null,
): Promise<{ tree: ReadOnlyTree; kind: StoreKind; root: string }> {
  const isArchive = whole.holder === "archive";
  const at = isArchive && options.at ? folderIn(options.at) : null; // a folder was opened there
  const tree = at === null ? whole : await subTree(whole, at);
  const kind = known ?? (await kindOf(tree, options.as));
  if (kind) return { tree, kind, root: options.at ?? "" };
  const folder = isArchive && at === null ? await onlyFolder(tree) : null;
  if (folder !== null) {
    const inner = await subTree(tree, folder);
    const found = await kindOf(inner, options.as);
    if (found) return { tree: inner, kind: found, root: folder };
  }
  throw noStore(path, whole);
}

function noStore(path: string, tree: ReadOnlyTree): SourceError {
  if (tree.incomplete)
    return new SourceError(
      `cannot read ${path}: ${tree.incomplete}, and no image index was seen before that`,
    );
  return new NoImages(
    `cannot read ${path}: an archive, but not one of images: no manifest.json, index.json or repositories in it`,
  );
}

function folderIn(text: string): BytePath {
  const path = bytePathFromText(text);
  if (!path) throw new UsageError(`--at ${text}: not a folder inside the source`);
  return path;
}

/** The one folder that all entries are in. */
async function onlyFolder(tree: ReadOnlyTree): Promise<BytePath | null> {
  let folder: string | null = null;
  for await (const entry of tree.walk()) {
    const top = entry.path.split("/", 1)[0]!;
    if (folder !== null && top !== folder) return null;
    if (top === entry.path && entry.type !== "directory") return null;
    folder = top;
  }
  return folder as BytePath | null;
}

/** How full the file system below a folder is; null where it cannot be told. */
async function fileSystemOf(root: string | null): Promise<FileSystemUse | null> {
  if (root === null) return null;
  try {
    const { bsize, blocks, bfree, bavail } = await statfs(Buffer.from(root, "latin1"));
    return { size: blocks * bsize, used: (blocks - bfree) * bsize, free: bavail * bsize };
  } catch {
    return null;
  }
}
