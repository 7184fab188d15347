/**
 * Where the stores of a host usually are. Paths lead from a root, which may be `/` or where another host's disk is
 * mounted (`/mnt/rescue`): links are followed inside that root, so that they never lead to the host that runs this.
 */
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

export interface Place {
  /** Below the root, without a slash in front. */
  readonly path: string;
  /** Why it is looked at: `daemon.json: data-root`. */
  readonly why: string;
}

/** Configuration that names a data-root, each from the root or, with `~`, from every home. */
const DAEMON_CONFIGS = [
  "etc/docker/daemon.json",
  "var/snap/docker/current/config/daemon.json",
  "~/.config/docker/daemon.json",
];

/** One line a kind of store and place. */
const USUAL: readonly Place[] = [
  { path: "var/lib/docker", why: "Docker's data-root" },
  { path: "var/snap/docker/common/var-lib-docker", why: "Docker's data-root, as a snap" },
  { path: "~/.local/share/docker", why: "rootless Docker's data-root" },
];

/** All places to look at below `root`, those that configuration names first; `home` is that of who asks, or null. */
export async function placesBelow(root: string, home: string | null): Promise<Place[]> {
  const homes = await homesBelow(root, home);
  const expand = (path: string): string[] =>
    path.startsWith("~/") ? homes.map((one) => join(one, path.slice(2))) : [path];
  const places: Place[] = [];
  for (const config of DAEMON_CONFIGS.flatMap(expand)) {
    const named = await dataRootIn(root, config);
    if (named !== null) places.push({ path: named, why: `/${config}: data-root` });
  }
  for (const { path, why } of USUAL) for (const one of expand(path)) places.push({ path: one, why });
  const seen = new Set<string>();
  return places.filter(({ path }) => !seen.has(path) && seen.add(path));
}

async function homesBelow(root: string, home: string | null): Promise<string[]> {
  const homes = new Set<string>(home === null ? [] : [home.replace(/^\/+/, "")]);
  for (const name of await readdir(join(root, "home")).catch(() => [])) homes.add(`home/${name}`);
  homes.add("root");
  return [...homes];
}

const CONFIG_LIMIT = 1 << 20;

/** The data-root that a daemon.json names; null where there is none, or it makes no sense. */
async function dataRootIn(root: string, config: string): Promise<string | null> {
  const file = await insideRoot(root, config);
  if (file === null) return null;
  try {
    if ((await lstat(file)).size > CONFIG_LIMIT) return null;
    const json = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
    const named = json["data-root"] ?? json.graph;
    return typeof named === "string" && named.startsWith("/") && !named.includes("\0")
      ? named.replace(/^\/+|\/+$/g, "")
      : null;
  } catch {
    return null; // an engine would not start with it; the usual place is looked at all the same
  }
}

const LINK_LIMIT = 40; // as Linux: MAXSYMLINKS

/** The real path of `path` below `root`, where absolute links start at the root; null where it leads nowhere. */
export async function insideRoot(root: string, path: string): Promise<string | null> {
  const pending = path.split("/").filter((part) => part !== "" && part !== ".");
  const done: string[] = [];
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift()!;
    if (part === "..") {
      done.pop(); // as the kernel does at its root
      continue;
    }
    const at = join(root, ...done, part);
    const stat = await lstat(at).catch(() => null);
    if (!stat) return null;
    if (!stat.isSymbolicLink()) {
      done.push(part);
      continue;
    }
    if (++links > LINK_LIMIT) return null;
    const target = await readlink(at);
    if (target.startsWith("/")) done.length = 0;
    pending.unshift(...target.split("/").filter((one) => one !== "" && one !== "."));
  }
  return join(root, ...done);
}

/** Whether a folder is the root of a system: then it is not searched as a folder of archives is. */
export async function isHostRoot(folder: string): Promise<boolean> {
  for (const name of ["etc", "var/lib", "usr"]) {
    const stat = await lstat(join(folder, name)).catch(() => null);
    if (!stat?.isDirectory()) return false;
  }
  return true;
}
