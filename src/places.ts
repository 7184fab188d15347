/**
 * Where the stores of a host usually are, and what is there. Paths lead from a root, which may be `/` or where another
 * host's disk is mounted (`/mnt/rescue`): links are followed inside that root, component by component, so that they
 * never lead to the host that runs this.
 */
import { lstat, opendir, readdir, readlink } from "node:fs/promises";
import { readSmallFile } from "./bytes/source.ts";
import { messageOf, NoStoreFound } from "./errors.ts";
import type { SourceKind, StoreKind } from "./stores/store.ts";
import { HostTree } from "./trees/host.ts";

/** A folder that a store lies in. */
export interface Place {
  /** As that host would name it, before links are followed: `/var/lib/docker`. */
  readonly path: string;
  /** Why it was looked at: `/etc/docker/daemon.json: data-root`. */
  readonly why: string;
  /** Where it is on the host that runs this; no component is a link. */
  readonly real: string;
  readonly kind: StoreKind;
}

/** A place that was looked at, or a file that could have named one. */
export interface Attempt {
  readonly path: string;
  readonly why: string;
  /** What was there, in words. */
  readonly was: string;
  /** There may be a store that was not found: the place could not be read, or what names it makes no sense. */
  readonly inDoubt: boolean;
  readonly isDenied: boolean;
}

export interface Places {
  readonly found: readonly Place[];
  /** Everything that was looked at, in order. */
  readonly tried: readonly Attempt[];
}

/** The environment of who asks for the stores of the host that it runs on. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * The usual places, one line each. `~/` is every home; `~data/` and `~config/` are the XDG folders below it
 * (`.local/share`, `.config`), which variables may move for the user who asks.
 */
const USUAL: readonly { kind: SourceKind; path: string; why: string }[] = [
  { kind: "docker", path: "/var/lib/docker", why: "Docker's data-root" },
  { kind: "docker", path: "/var/snap/docker/common/var-lib-docker", why: "Docker's data-root, as a snap" },
  { kind: "docker", path: "~data/docker", why: "rootless Docker's data-root" },
];

/** Files that may name a place, one line each: JSON with one of `keys`, or text with the flags of {@link FLAG}. */
const CONFIGS: readonly { kind: SourceKind; path: string; keys: readonly string[] | null }[] = [
  { kind: "docker", path: "/etc/docker/daemon.json", keys: ["data-root", "graph"] },
  { kind: "docker", path: "/var/snap/docker/current/config/daemon.json", keys: ["data-root", "graph"] },
  { kind: "docker", path: "~config/docker/daemon.json", keys: ["data-root", "graph"] },
  { kind: "docker", path: "/etc/systemd/system/docker.service", keys: null },
  { kind: "docker", path: "/etc/systemd/system/docker.service.d/*.conf", keys: null },
  { kind: "docker", path: "/usr/lib/systemd/system/docker.service", keys: null },
  { kind: "docker", path: "/lib/systemd/system/docker.service", keys: null },
  { kind: "docker", path: "/etc/default/docker", keys: null }, // Debian
  { kind: "docker", path: "/etc/sysconfig/docker", keys: null }, // Red Hat, SUSE
  { kind: "docker", path: "/etc/conf.d/docker", keys: null }, // Alpine, Gentoo
  { kind: "docker", path: "~config/systemd/user/docker.service", keys: null },
  { kind: "docker", path: "~config/systemd/user/docker.service.d/*.conf", keys: null },
];

/** dockerd's flags that say where the data-root or another daemon.json is: `--data-root=/x`, `-g "/x"`. */
const FLAG =
  /(?<=^|[\s"'=])(--data-root|--graph|-g|--config-file)(?:=|[ \t]+)(?:"([^"\n]{1,4096})"|'([^'\n]{1,4096})'|([^\s"']{1,4096}))/gm;

const CONFIG_LIMIT = 1 << 20;
const PASSWD_LIMIT = 16 << 20;
const PATH_LIMIT = 4096; // as Linux: PATH_MAX

/**
 * Looks at all places below `root` of which `readers` can read the kind, those that configuration names first. `env`
 * is null for the root of another host.
 */
export async function findPlaces(
  root: string,
  env: Env | null,
  readers: readonly StoreKind[],
): Promise<Places> {
  const search = new Search(root, readers);
  const homes = await homesOf(search, env);
  const kinds = new Set(readers.map(({ kind }) => kind));
  for (const { kind, path, keys } of CONFIGS) {
    if (!kinds.has(kind)) continue;
    for (const { at } of expand(path, homes)) await search.config(kind, at, keys);
  }
  for (const { kind, path, why } of USUAL) {
    if (!kinds.has(kind)) continue;
    for (const { at, isTold } of expand(path, homes))
      await search.place(kind, at, why, { isNamed: false, isTold });
  }
  return search;
}

interface Home {
  readonly path: string;
  readonly data: string;
  readonly config: string;
  /** Told also where nothing is there: false for the many accounts that no person uses. */
  readonly isTold: boolean;
}

function expand(path: string, homes: readonly Home[]): { at: string; isTold: boolean }[] {
  const [start, rest] = [path.slice(0, path.indexOf("/")), path.slice(path.indexOf("/"))];
  if (start === "") return [{ at: path, isTold: true }];
  return homes.map((home) => {
    const base = start === "~data" ? home.data : start === "~config" ? home.config : home.path;
    return { at: `${base}${rest}`, isTold: home.isTold };
  });
}

/** The home of who asks, and where that is root, or nobody of this host, those of all users. */
async function homesOf(search: Search, env: Env | null): Promise<Home[]> {
  const homes = new Map<string, Home>();
  const add = (path: string, isTold: boolean, own: Env = {}): void => {
    const home = trimmed(path);
    if (home === null || homes.has(home)) return;
    const data = trimmed(own.XDG_DATA_HOME ?? "") ?? `${home}/.local/share`;
    const config = trimmed(own.XDG_CONFIG_HOME ?? "") ?? `${home}/.config`;
    homes.set(home, { path: home, data, config, isTold });
  };
  if (env?.HOME) add(env.HOME, true, env);
  if (env && !isRoot()) return [...homes.values()];
  add("/root", true);
  for (const name of await search.names("/home", "the homes of users")) add(`/home/${name}`, true);
  const accounts = await search.text("/etc/passwd", "the homes of users", PASSWD_LIMIT);
  for (const line of accounts?.split("\n") ?? []) add(line.split(":")[5] ?? "", false);
  return [...homes.values()];
}

/** An absolute path without slashes at its end; null for any other text. */
function trimmed(path: string): string | null {
  if (!path.startsWith("/") || path.includes("\0") || path.length > PATH_LIMIT) return null;
  return path.replace(/\/+$/, "");
}

class Search implements Places {
  readonly found: Place[] = [];
  readonly tried: Attempt[] = [];
  private readonly root: string;
  private readonly readers: readonly StoreKind[];
  private readonly asked = new Set<string>();
  /** Folders by device and inode: one that several paths lead to is one place. */
  private readonly folders = new Map<string, string>();

  constructor(root: string, readers: readonly StoreKind[]) {
    this.root = root;
    this.readers = readers;
  }

  /** Looks at the places that a file names; where its name ends in `*.conf`, at all files in its folder that do. */
  async config(kind: SourceKind, path: string, keys: readonly string[] | null): Promise<void> {
    if (path.endsWith("/*.conf")) {
      const folder = path.slice(0, path.lastIndexOf("/"));
      const names = (await this.names(folder, "drop-ins")).filter((name) => name.endsWith(".conf"));
      for (const name of names) await this.config(kind, `${folder}/${name}`, keys);
      return;
    }
    if (this.asked.has(path)) return;
    this.asked.add(path);
    const text = await this.text(path, "may name a data-root", CONFIG_LIMIT);
    if (text === null) return;
    if (keys === null) await this.flags(kind, path, text);
    else await this.json(kind, path, text, keys);
  }

  private async json(kind: SourceKind, path: string, text: string, keys: readonly string[]): Promise<void> {
    let json: unknown;
    try {
      json = JSON.parse(text.replace(/^\ufeff/, "")); // dockerd takes a byte order mark as well
    } catch (error) {
      this.doubt(path, "may name a data-root", `no JSON: ${messageOf(error).slice(0, 120)}`);
      return;
    }
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      this.doubt(path, "may name a data-root", "no JSON object");
      return;
    }
    for (const key of keys) {
      const value = (json as Record<string, unknown>)[key];
      if (value != null && value !== "") await this.named(kind, path, key, value);
    }
  }

  private async flags(kind: SourceKind, path: string, text: string): Promise<void> {
    const active = text.replace(/^[ \t]*[#;].*$/gm, "");
    for (const [, flag, double, single, plain] of active.matchAll(FLAG)) {
      const value = double ?? single ?? plain ?? "";
      if (flag === "-g" && !value.startsWith("/")) continue; // of some other program
      if (flag === "--config-file" && trimmed(value)) await this.config(kind, value, ["data-root", "graph"]);
      else await this.named(kind, path, flag!, value);
    }
  }

  private async named(kind: SourceKind, file: string, key: string, value: unknown): Promise<void> {
    const path = typeof value === "string" ? trimmed(value) : null;
    if (path !== null)
      await this.place(kind, path || "/", `${file}: ${key}`, { isNamed: true, isTold: true });
    else this.doubt(file, key, `no absolute path: ${shorten(value)}`);
  }

  /** Looks whether a store of `kind` is at `path`. `isNamed`: configuration says so, and nothing there is odd. */
  async place(
    kind: SourceKind,
    path: string,
    why: string,
    { isNamed, isTold }: { isNamed: boolean; isTold: boolean },
  ): Promise<void> {
    if (this.asked.has(path)) return;
    this.asked.add(path);
    try {
      const real = await resolveInside(this.root, path);
      const reader = this.readers.find((one) => one.kind === kind);
      const was = await this.look(real, path, reader!);
      if (was === null) this.found.push({ path, why, real, kind: reader! });
      this.tell(path, why, was ?? "found");
    } catch (error) {
      if (!isAbsent(error)) this.failed(path, why, error);
      else if (isNamed) this.doubt(path, why, "nothing there: is its disk mounted?");
      else if (isTold) this.tell(path, why, "nothing there");
    }
  }

  /** Null where there is a store; else what is there. Throws where that cannot be told. */
  private async look(real: string, path: string, reader: StoreKind): Promise<string | null> {
    const stat = await lstat(real, { bigint: true });
    if (!stat.isDirectory()) return "no folder";
    const inode = `${stat.dev}:${stat.ino}`;
    const before = this.folders.get(inode);
    if (before !== undefined) return `the same folder as ${before}`;
    this.folders.set(inode, path);
    await (await opendir(real)).close();
    let trouble: string | null = null;
    const tree = new HostTree(path, real, ({ message }) => {
      trouble ??= message;
    });
    const evidence = await reader.detect(tree);
    if (!evidence && trouble !== null) throw failure(trouble);
    return evidence ? null : "no store in it";
  }

  /** A small text file; null where there is none, or it cannot be read, which is noted. */
  async text(path: string, why: string, limit: number): Promise<string | null> {
    try {
      const real = await resolveInside(this.root, path);
      const bytes = readSmallFile(Buffer.from(real), path, limit);
      if (bytes !== null) return Buffer.from(bytes).toString("utf8");
      this.tell(path, why, "no regular file"); // as of a unit that is masked
    } catch (error) {
      if (!isAbsent(error)) this.failed(path, why, error);
    }
    return null;
  }

  /** What is in a folder, by name; nothing where there is none, or it cannot be read, which is noted. */
  async names(path: string, why: string): Promise<string[]> {
    try {
      return (await readdir(await resolveInside(this.root, path))).sort();
    } catch (error) {
      if (!isAbsent(error)) this.failed(path, why, error);
      return [];
    }
  }

  private tell(path: string, why: string, was: string): void {
    this.tried.push({ path, why, was, inDoubt: false, isDenied: false });
  }

  private doubt(path: string, why: string, was: string): void {
    this.tried.push({ path, why, was, inDoubt: true, isDenied: false });
  }

  private failed(path: string, why: string, error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code;
    const isDenied = code === "EACCES" || code === "EPERM";
    const was = isDenied ? "permission denied" : messageOf(error);
    this.tried.push({ path, why, was, inDoubt: true, isDenied });
  }
}

/** What must be told of a place that could hold a store beside those found. */
export function doubtOf({ why, was, isDenied }: Attempt): string {
  const advice = isDenied && !isRoot() ? "; run as root to read it" : "";
  return `${why}: ${was}${advice}; a store that may be there is not counted`;
}

/** Says where a store was looked for, in the SOURCE `path`, or on this host where that is null. */
export function noStoreFound(path: string | null, tried: readonly Attempt[]): NoStoreFound {
  const where = path === null ? "no SOURCE given" : `cannot read ${path}: the root of a system`;
  const isHidden = !isRoot() && tried.some(({ isDenied }) => isDenied);
  const denied = isHidden ? " that may be read: run as root" : "";
  const next = path === null ? "name a SOURCE; ullage --help tells how" : "name its folder with --at PATH";
  return new NoStoreFound(
    `${where}, and no store in its usual places${denied}; ${next}; tried:`,
    tried.map((one) => `${one.path} (${one.why}): ${one.was}`),
  );
}

/** Whether this process may read everything, and so looks after all users. */
function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** What the system said, as a tree tells it: `EACCES: permission denied, ...`. */
function failure(message: string): Error {
  return Object.assign(new Error(message), { code: /^E[A-Z]+/.exec(message)?.[0] });
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR";
}

function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

const LINK_LIMIT = 40; // as Linux: MAXSYMLINKS

/**
 * The real path of `path` below `root`, itself a real path: absolute links start at the root, and `..` stops there, as
 * in a chroot. Throws with the code of the system: ENOENT, ENOTDIR, EACCES, ELOOP.
 */
export async function resolveInside(root: string, path: string): Promise<string> {
  const base = root === "/" ? "" : root;
  const pending = partsOf(path).reverse();
  const done: string[] = [];
  for (let links = 0; pending.length > 0; ) {
    const part = pending.pop()!;
    if (part === "..") {
      done.pop();
      continue;
    }
    const at = [base, ...done, part].join("/");
    const isLink = (await lstat(at)).isSymbolicLink();
    if (!isLink) {
      done.push(part);
      continue;
    }
    if (++links > LINK_LIMIT)
      throw Object.assign(new Error("its links lead in a circle, or are too many"), { code: "ELOOP" });
    const target = await readlink(at);
    if (target.startsWith("/")) done.length = 0;
    pending.push(...partsOf(target).reverse());
  }
  return [base, ...done].join("/") || "/";
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Whether a folder is the root of a system, which is never searched as a folder of archives is: it has `etc` and
 * `var/lib`, which all have, and one of the folders that only a root has beside them.
 */
export async function isHostRoot(folder: string): Promise<boolean> {
  const isFolder = async (path: string): Promise<boolean> => {
    try {
      return (await lstat(await resolveInside(folder, path))).isDirectory();
    } catch {
      return false;
    }
  };
  if (!(await isFolder("etc")) || !(await isFolder("var/lib"))) return false;
  for (const name of ["usr", "proc", "root", "home", "boot"]) if (await isFolder(name)) return true;
  return false;
}
