/**
 * Whether an engine has a store open now, as far as Linux's /proc tells; nothing is locked or asked here.
 *
 * - Locks (proc(5), /proc/locks: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`, device in hex): bbolt locks
 *   a database (flock) as long as it has it open.
 * - Mounts (/proc/self/mountinfo): overlays below the folder are the file systems of containers.
 * - The pid file of a daemon that keeps its store in the usual place, if the process lives.
 * - Where processes of the host cannot be seen (a pid namespace of one's own): whether something listens at its socket.
 */
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { hostPath } from "./walk.ts";

/** Files that engines keep locked, below the root of a store; one line a kind. */
const LOCKED: readonly string[] = [
  ...["snapshots.db", "metadata_v2.db", "cache.db", "history.db"].map((name) => `buildkit/${name}`),
  ...["volumes/metadata.db", "network/files/local-kv.db"],
];

interface Daemon {
  readonly name: string;
  /** End of the path of its usual data-root. */
  readonly root: string;
  readonly pidFiles: readonly string[];
  readonly socket: string;
}

/** `%u` is the owner of the folder. */
const DAEMONS: readonly Daemon[] = [
  {
    name: "dockerd",
    root: "/var/lib/docker",
    pidFiles: ["/run/docker.pid", "/var/run/docker.pid"],
    socket: "/run/docker.sock",
  },
  {
    name: "dockerd",
    root: "/var/snap/docker/common/var-lib-docker",
    pidFiles: ["/run/snap.docker/docker.pid"],
    socket: "/run/docker.sock",
  },
  {
    name: "dockerd",
    root: "/.local/share/docker",
    pidFiles: ["/run/user/%u/docker.pid"],
    socket: "/run/user/%u/docker.sock",
  },
];

/** What is looked at; tests have their own. */
export interface System {
  /** Where procfs is mounted. */
  readonly proc: string;
  /** Put before the paths of pid files. */
  readonly run: string;
}

/**
 * The evidence that an engine has the store below `root` open, in words; null where there is none, or nothing tells.
 * `root` is a real path, one char a byte.
 */
export function findLive(root: string, system: System = { proc: "/proc", run: "" }): string | null {
  try {
    return lockedBy(root, system) ?? runningAt(root, system) ?? mountedIn(root, system);
  } catch {
    return null; // whether it is live is a remark, never worth a failure
  }
}

function lockedBy(root: string, { proc }: System): string | null {
  const text = textOf(`${proc}/locks`);
  if (text === null) return null;
  const files = new Map(
    LOCKED.flatMap((name) => {
      const path = `${root}/${name}`;
      const stat = statOf(path);
      return stat ? [[String(stat.ino), { path, device: deviceText(stat.dev) }] as const] : [];
    }),
  );
  for (const [, pid, device, inode] of text.matchAll(LOCK)) {
    const file = files.get(inode!);
    if (!file) continue;
    // Btrfs and overlayfs tell stat another device than they lock on: then the process must have the file open.
    if (device === file.device || isOpenIn(proc, pid!, (path) => path === file.path))
      return `${processName(proc, pid!)} has it open`;
  }
  return null;
}

const LOCK = /^\d+:\s+(?:->\s+)?\S+\s+\S+\s+\S+\s+(-?\d+)\s+([0-9a-f]+:[0-9a-f]+):(\d+)\s/gm;

/** `fe:00`, from a device number as glibc's makedev puts it together. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `${major.toString(16).padStart(2, "0")}:${minor.toString(16).padStart(2, "0")}`;
}

/** A daemon whose pid file or socket belongs to this place. A pid file alone may be of one that has moved elsewhere. */
function runningAt(root: string, system: System): string | null {
  const owner = String(statOf(root)?.uid ?? "");
  for (const daemon of DAEMONS) {
    if (!root.endsWith(daemon.root)) continue;
    for (const file of daemon.pidFiles) {
      const pid = /^\s*(\d{1,10})\s*$/.exec(textOf(system.run + file.replace("%u", owner)) ?? "")?.[1];
      if (pid === undefined || commandOf(system.proc, pid) !== daemon.name) continue;
      if (isOpenIn(system.proc, pid, (path) => path.startsWith(`${root}/`)) !== false)
        return `${processName(system.proc, pid)} runs on it`;
    }
    const socket = daemon.socket.replace("%u", owner);
    // Elsewhere the locks have told; and there systemd may hold the socket of a daemon that does not run.
    if (!seesAllProcesses(system.proc) && isListening(system.proc, socket))
      return `an engine listens at ${socket}`;
  }
  return null;
}

/** PROC_PID_INIT_INO of Linux's include/linux/proc_ns.h: the pid namespace of the host. */
const INITIAL_PIDS = "pid:[4026531836]";

function seesAllProcesses(proc: string): boolean {
  try {
    return readlinkSync(`${proc}/self/ns/pid`) === INITIAL_PIDS;
  } catch {
    return true; // no namespaces
  }
}

/** Of /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`; the flag 0x10000 is of sockets that listen. */
function isListening(proc: string, socket: string): boolean {
  const lines = textOf(`${proc}/net/unix`)?.split("\n") ?? [];
  return lines.some((line) => {
    const [, , , flags, , , , path] = line.trim().split(/\s+/);
    return flags === "00010000" && (path === socket || path === `/var${socket}`);
  });
}

function mountedIn(root: string, { proc }: System): string | null {
  let count = 0;
  for (const line of textOf(`${proc}/self/mountinfo`)?.split("\n") ?? []) {
    const point = unescapeOctal(line.split(" ")[4] ?? "");
    const type = line.split(" - ")[1]?.split(" ")[0] ?? "";
    if (point.startsWith(`${root}/`) && /overlay/.test(type)) count++;
  }
  if (count === 0) return null;
  return `the file ${count === 1 ? "system of a container is" : `systems of ${count} containers are`} mounted in it`;
}

/** Blanks, backslashes and line ends in mount points are `\040` and the like. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Whether a process has a file open whose path is so; null where its files cannot be listed. */
function isOpenIn(proc: string, pid: string, isSo: (path: string) => boolean): boolean | null {
  try {
    return readdirSync(`${proc}/${pid}/fd`).some((name) => {
      try {
        return isSo(readlinkSync(`${proc}/${pid}/fd/${name}`, { encoding: "latin1" }));
      } catch {
        return false; // closed since
      }
    });
  } catch {
    return null;
  }
}

function processName(proc: string, pid: string): string {
  const command = commandOf(proc, pid);
  return command === null ? "a process" : `${command} (pid ${pid})`;
}

function commandOf(proc: string, pid: string): string | null {
  return textOf(`${proc}/${pid}/comm`)?.trim() || null;
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return null;
  }
}

function statOf(path: string): BigIntStats | null {
  try {
    return lstatSync(hostPath(path), { bigint: true, throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}
