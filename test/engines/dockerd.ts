/**
 * A real dockerd on a scratch data-root, for the tests that compare ullage with the engine. Needs root, Debian's
 * docker.io, and the right to mount; `whyNoDockerd()` says what is missing, so that a test can skip with that reason.
 * The daemon has no network, its own sockets, and starts its own containerd, which it stops again.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The client that belongs to the daemon; another, newer one may be first on the PATH. */
const DOCKER = "/usr/bin/docker";
const PATH = `/usr/local/sbin:/usr/sbin:/sbin:${process.env.PATH ?? "/usr/bin:/bin"}`;
/** What Debian 12 needs beside the base system: docker.io brings containerd, runc and iptables along. */
const PACKAGES: Readonly<Record<string, string>> = {
  "docker.io": "/usr/sbin/dockerd",
  "busybox-static": "/bin/busybox",
};

const READY_MS = 30_000;
const STOP_MS = 30_000;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}
export interface Dockerd {
  /** The data-root. */
  readonly root: string;
  readonly version: string;
  /** Standard output of `docker ARGS...`; throws with what it said when it fails. */
  docker(...args: readonly string[]): Promise<string>;
  /** The same, where failing is an answer. */
  run(args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** GET of the engine's API: `/system/df`, `/images/json?all=1`. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever the JSON holds
  api(path: string): Promise<any>;
  /** SIGTERM, as an init system does: running containers are stopped, the root is as after a clean shutdown. */
  stop(): Promise<void>;
  /** SIGKILL, then its containerd: the root is as after a crash of the daemon. */
  kill(): Promise<void>;
  /** Stops, and deletes the root if `startDockerd` made it. */
  dispose(): Promise<void>;
}
export interface StartOptions {
  /** An existing data-root, or one to make; a scratch folder without it. */
  readonly root?: string;
  readonly driver?: string;
  /** Further flags for dockerd. */
  readonly flags?: readonly string[];
}

/** Installs what is missing, with apt; returns what was installed. CI calls it once, before the tests. */
export function installEngines(): string[] {
  const missing = Object.keys(PACKAGES).filter((name) => !existsSync(PACKAGES[name]!));
  if (missing.length === 0) return [];
  const env = { ...process.env, PATH, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]) =>
    execFileSync("apt-get", ["-qq", ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  apt("update");
  apt("install", "-y", "--no-install-recommends", ...missing);
  return missing;
}

let cachedReason: string | null | undefined;

/** Why no dockerd can run here, or null: tries one on an empty root, with a container in it, once a process. */
export async function whyNoDockerd(): Promise<string | null> {
  if (cachedReason === undefined) cachedReason = await findReason();
  return cachedReason;
}

async function findReason(): Promise<string | null> {
  if (process.platform !== "linux") return "dockerd runs on Linux only";
  if (process.getuid?.() !== 0) return "dockerd needs root";
  const missing = Object.keys(PACKAGES).filter((name) => !existsSync(PACKAGES[name]!));
  if (missing.length > 0)
    return `not installed: ${missing.join(", ")} (apt-get install --no-install-recommends)`;
  let engine: Dockerd | null = null;
  try {
    engine = await startDockerd();
    const tar = execFileSync("tar", ["-C", "/bin", "-c", "busybox"], { maxBuffer: 2 ** 26 });
    const imported = await engine.run(["import", "-", "probe:1"], { stdin: tar });
    if (imported.code !== 0) return `dockerd cannot unpack a layer here: ${lastLine(imported.stderr)}`;
    const ran = await engine.run(["run", "--rm", "--network", "none", "probe:1", "/busybox", "true"]);
    return ran.code === 0 ? null : `dockerd cannot run a container here: ${lastLine(ran.stderr)}`;
  } catch (error) {
    return String(error instanceof Error ? error.message : error);
  } finally {
    await engine?.dispose();
  }
}

/** Starts a daemon and waits until it answers; throws with the last line of its log when it does not. */
export async function startDockerd(options: StartOptions = {}): Promise<Dockerd> {
  const at = mkdtempSync(join(tmpdir(), "ullage-engine-"));
  const root = options.root ?? join(at, "docker");
  mkdirSync(root, { recursive: true, mode: 0o711 });
  mkdirSync(join(at, "config"));
  const socket = join(at, "d.sock");
  const log = join(at, "dockerd.log");
  const flags = ["--data-root", root, "--exec-root", join(at, "exec"), "-H", `unix://${socket}`];
  flags.push("--pidfile", join(at, "d.pid"), "--storage-driver", options.driver ?? "overlay2");
  flags.push("--iptables=false", "--ip6tables=false", "--bridge=none", ...(options.flags ?? []));
  const out = openSync(log, "a");
  const child = spawn("dockerd", flags, { env: { PATH }, stdio: ["ignore", out, out] });
  const gone = exitOf(child);
  const onExit = () => void child.kill();
  process.once("exit", onExit);

  const finish = async (signal: NodeJS.Signals) => {
    // A daemon that is killed leaves its containerd behind; so does one that does not stop in time.
    const containerd = pidIn(join(at, "exec/containerd/containerd.pid"));
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    if (!(await within(gone, STOP_MS))) child.kill("SIGKILL");
    await gone;
    if (containerd !== null) await endProcess(containerd);
    unmountBelow(root);
    unmountBelow(at);
    process.removeListener("exit", onExit);
  };
  const run = (args: readonly string[], runOptions: RunOptions = {}) =>
    runProcess(DOCKER, ["-H", `unix://${socket}`, ...args], {
      ...runOptions,
      env: { PATH, HOME: at, DOCKER_CONFIG: join(at, "config"), ...runOptions.env },
    });
  const api = (path: string) => getJson(socket, `/v1.41${path}`);

  for (const deadline = Date.now() + READY_MS; ; ) {
    const answer = await api("/version").catch(() => null);
    if (answer !== null) {
      let stopped = false;
      const end = async (signal: NodeJS.Signals) => {
        if (!stopped) await finish(signal);
        stopped = true;
      };
      return {
        root,
        version: answer.Version,
        run,
        api,
        docker: async (...args) => {
          const { code, stdout, stderr } = await run(args);
          if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr.trim() || `exit ${code}`}`);
          return stdout;
        },
        stop: () => end("SIGTERM"),
        kill: () => end("SIGKILL"),
        dispose: async () => {
          await end("SIGTERM");
          rmSync(at, { recursive: true, force: true });
        },
      };
    }
    if (child.exitCode !== null || Date.now() > deadline) {
      await finish("SIGTERM");
      const said = existsSync(log) ? lastLine(readFileSync(log, "utf8")) : "";
      rmSync(at, { recursive: true, force: true });
      throw new Error(`dockerd does not start here: ${said || "no answer"}`);
    }
    await sleep(50);
  }
}

/** Runs a program to its end; a failure is a code, never an exception. */
export function runProcess(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { PATH, ...options.env }, stdio: "pipe" });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on("error", () => {}); // it may end before it has read everything
    child.stdin.end(options.stdin ?? "");
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      }),
    );
  });
}

// biome-ignore lint/suspicious/noExplicitAny: see `Dockerd.api`
function getJson(socketPath: string, path: string): Promise<any> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, headers: { Host: "docker" } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`GET ${path}: ${response.statusCode} ${text.trim()}`));
      });
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}

/** The daemon binds its root and its driver's folder onto themselves; a killed one leaves that. */
function unmountBelow(folder: string): void {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point === folder || point.startsWith(`${folder}/`));
  for (const point of points.reverse()) execFileSync("umount", [point], { env: { PATH } });
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on("error", () => resolve());
    child.on("exit", () => resolve());
  });
}

async function within(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const result = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return result;
}

function pidIn(file: string): number | null {
  try {
    return Number.parseInt(readFileSync(file, "utf8"), 10) || null;
  } catch {
    return null;
  }
}

async function endProcess(pid: number): Promise<void> {
  for (const [signal, tries] of [
    ["SIGTERM", 100],
    ["SIGKILL", 20],
  ] as const) {
    try {
      process.kill(pid, signal);
      for (let i = 0; i < tries; i++) {
        process.kill(pid, 0);
        await sleep(50);
      }
    } catch {
      return;
    }
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
