// What all benches share: a temporary folder, the inputs in it, stop watches for child processes, verdicts.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const CLI = fileURLToPath(new URL("../dist/src/cli.js", import.meta.url));
const PROBE = new URL("probe.mjs", import.meta.url).href;

export class Bench {
  /** What `judge` was told, for the table at the end. */
  rows = [];
  folder = mkdtempSync(join(os.tmpdir(), "ullage-bench-"));
  #made = new Map();
  #remove = () => rmSync(this.folder, { recursive: true, force: true });

  constructor() {
    process.on("exit", this.#remove);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));
  }

  /** An input, made by `make(path)` when it is first asked for; the scripts of one run share it. */
  async input(name, make) {
    if (!this.#made.has(name)) this.#made.set(name, await make(join(this.folder, name)));
    return this.#made.get(name);
  }

  /** Room for the inputs of the scripts to come. */
  forget(name) {
    rmSync(join(this.folder, name), { recursive: true, force: true });
    this.#made.delete(name);
  }

  title(text) {
    console.log(`\n${text} (load ${os.loadavg()[0].toFixed(1)})`);
  }

  say(text) {
    console.log(`  ${text}`);
  }

  /** `value` against `limit`: a target that is a least value ("at least") or a greatest one ("at most"). */
  judge(question, value, kind, limit, unit = "") {
    const met = kind === "at least" ? value >= limit : value <= limit;
    const row = { question, measured: `${round(value)}${unit}`, target: `${kind} ${limit}${unit}`, met };
    this.rows.push(row);
    this.say(`${question}: ${row.measured}, target ${row.target}: ${verdict(row)}`);
  }

  table() {
    const cells = [
      ["question", "measured", "target", ""],
      ...this.rows.map((row) => [row.question, row.measured, row.target, verdict(row)]),
    ];
    const widths = [0, 1, 2].map((i) => Math.max(...cells.map((row) => row[i].length)));
    console.log(`\nSummary (load ${os.loadavg()[0].toFixed(1)})`);
    for (const row of cells)
      console.log(`  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd());
  }
}

function verdict(row) {
  return row.met ? "met" : "missed";
}

function round(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function machine() {
  const cpus = os.cpus();
  const memory = `${(os.totalmem() / 1e9).toFixed(0)} GB`;
  return `${cpus[0]?.model.trim() ?? "unknown processor"}, ${cpus.length} cores, ${memory}, ${os.type()} ${os.release()}, Node ${process.version}`;
}

/** Runs a script of one question on its own; `bench/run.mjs` runs them all instead. */
export async function runAlone(url, run) {
  if (process.argv[1] !== fileURLToPath(url)) return;
  console.log(machine());
  const bench = new Bench();
  await run(bench);
  bench.table();
}

/** Whether a peer is installed; says so when it is not. */
export function hasTool(bench, name) {
  const found = spawnSync(name, ["--version"], { stdio: "ignore" }).error === undefined;
  if (!found) bench.say(`${name} is not installed: skipped`);
  return found;
}

/**
 * Seconds of wall time of one child process, its standard output, and its exit code, which must be one of `codes`.
 * Output is dropped unless `keep`.
 */
export function execute(command, args, { keep = false, codes = [0], input = "ignore", extra = [] } = {}) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, {
      stdio: [input, keep ? "pipe" : "ignore", "pipe", ...extra.map(() => "pipe")],
    });
    const texts = [1, 2, ...extra].map((fd) => {
      const parts = [];
      child.stdio[fd]?.on("data", (part) => parts.push(part));
      return parts;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const seconds = (performance.now() - started) / 1000;
      const [output, errors, ...others] = texts.map((parts) => Buffer.concat(parts).toString());
      if (codes.includes(code)) resolve({ seconds, output, code, others });
      else reject(new Error(`${command} ${args.join(" ")}: exit code ${code}\n${errors}`));
    });
  });
}

/** One run of ullage: wall time as it is. */
export function ullage(args, options) {
  return execute(process.execPath, [CLI, ...args], options);
}

/** As `ullage`, with user and system time in seconds and the peak of resident memory in bytes, by the process itself. */
export async function probed(args, options) {
  const run = await execute(process.execPath, ["--import", PROBE, CLI, ...args], { ...options, extra: [3] });
  return { ...run, ...JSON.parse(run.others[0]) };
}

/** Runs the contestants in turn, `times` rounds, and gives the median of the numbers that each returns. */
export async function alternate(times, contestants) {
  const results = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (let i = 0; i < times; i++) {
    for (const [name, run] of Object.entries(contestants)) results[name].push(await run());
  }
  return Object.fromEntries(Object.entries(results).map(([name, values]) => [name, median(values)]));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0)} MB`;
}

export function speed(bytes, seconds) {
  return `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
}
