#!/usr/bin/env node
/**
 * The process: arguments, streams, signals, the one place that catches errors, and exit codes.
 */
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { CommanderError, Command as Flags, Option } from "commander";
import { escapeControls } from "./byte-path.ts";
import {
  type Command,
  type JsonObject,
  type JsonValue,
  type RawOptions,
  sourcesJson,
} from "./commands/command.ts";
import { COMMANDS, type CommandEntry, OVERVIEW } from "./commands/index.ts";
import { InterruptedError, messageOf, NoStoreFound, UllageError, UsageError } from "./errors.ts";
import type { Run } from "./run.ts";
import { parseBytes } from "./views/units.ts";

export interface Streams {
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Below which the stores of this host are looked for, when no SOURCE is given: `/`, but in tests. */
  readonly root?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: each command has options and results of its own
type AnyCommand = Command<any, any>;

/** Runs one command line and returns the exit code; never throws for what users or sources do. */
export async function main(argv: readonly string[], streams: Streams): Promise<number> {
  const debug = argv.includes("--debug");
  try {
    return await dispatch(argv, streams);
  } catch (error) {
    const code = exitCodeOf(error);
    if (code !== 0) report(error, streams, debug);
    return code;
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError) return 2;
  if (error instanceof InterruptedError) return 130;
  return 3;
}

function report(error: unknown, streams: Streams, debug: boolean): void {
  if (error instanceof CommanderError) return; // commander has printed it
  if (error instanceof InterruptedError) {
    streams.stderr.write("ullage: interrupted\n");
    return;
  }
  const known = error instanceof UllageError;
  const advice = known ? "" : " (a bug in ullage; --debug shows where)";
  streams.stderr.write(`ullage: ${escapeControls(messageOf(error))}${advice}\n`);
  if (error instanceof NoStoreFound)
    for (const line of shownOf(error.tried)) streams.stderr.write(`  ${escapeControls(line)}\n`);
  if (debug && error instanceof Error) streams.stderr.write(`${error.stack}\n`);
}

/** A host with many users has many places. */
function shownOf(tried: readonly string[]): readonly string[] {
  const more = tried.length - SHOWN_PLACES;
  return more > 0 ? [...tried.slice(0, SHOWN_PLACES), `and ${more} more`] : tried;
}
const SHOWN_PLACES = 40;

async function dispatch(argv: readonly string[], streams: Streams): Promise<number> {
  const at = commandIndex(argv);
  const entry = COMMANDS.find((one) => one.name === argv[at]) ?? OVERVIEW;
  const rest = entry === OVERVIEW ? [...argv] : [...argv.slice(0, at), ...argv.slice(at + 1)];
  if (entry === OVERVIEW && rest.some((one) => one === "--help" || one === "-h")) {
    streams.stdout.write(`${await topHelp()}\n`);
    return 0;
  }
  if (rest.includes("--version") && !rest.includes("--")) {
    streams.stdout.write(`${version()}\n`);
    return 0;
  }
  const { command } = await entry.load();
  const { raw, args } = parse(entry, command, rest, streams);
  return run(entry, command, raw, args, streams);
}

/** Options that take the next word, so that it is not looked at as a command. */
const WITH_VALUE = new Set([
  "-s",
  "--source",
  "--as",
  "--at",
  "--format",
  "--sort",
  "--workers",
  "--units",
  "--tmp",
  "--now",
  "--fail-over",
]);

/** Where the command's name stands: the first word that is no option; -1 when it names no command. */
function commandIndex(argv: readonly string[]): number {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === "--") return -1;
    if (WITH_VALUE.has(word)) i++;
    else if (!word.startsWith("-") || word === "-") return COMMANDS.some((one) => one.name === word) ? i : -1;
  }
  return -1;
}

function version(): string {
  const require = createRequire(import.meta.url);
  const inSource = import.meta.url.endsWith(".ts");
  return (require(inSource ? "../package.json" : "../../package.json") as { version: string }).version;
}

async function topHelp(): Promise<string> {
  const width = Math.max(...COMMANDS.map((one) => one.name.length)) + 2;
  const list = COMMANDS.map((one) => `  ${one.name.padEnd(width)}${one.summary}`);
  const { command } = await OVERVIEW.load();
  const flags = flagsOf(OVERVIEW, command);
  return [
    "ullage: where did the disk go, and what to let go of? Reads image archives and stores with no daemon running.",
    "",
    "Usage: ullage [COMMAND] [SOURCE...] [options]",
    "",
    "A SOURCE is an image archive (docker save, podman save, OCI; plain or compressed; - for standard input),",
    "an OCI layout, a skopeo dir:, Docker's data-root (/var/lib/docker), the root of a mounted host (/mnt/rescue),",
    "or a folder of these. Without one: the stores of this host, in their usual places. Without a COMMAND: the overview.",
    "",
    "Commands:",
    ...list,
    "",
    flags
      .helpInformation()
      .replace(/^Usage:.*\n+/, "")
      .replace(/^Arguments:\n(?: .*\n)+\n/m, "")
      .trimEnd(),
    "",
    "ullage COMMAND --help tells more. Exit codes: 0 done, 1 something is wrong, 2 wrong command line,",
    "3 a source cannot be read, 4 done in part, 130 interrupted.",
  ].join("\n");
}

function flagsOf(entry: CommandEntry, command: AnyCommand): Flags {
  const flags = new Flags(entry === OVERVIEW ? "ullage" : `ullage ${entry.name}`);
  flags.exitOverride().helpOption("-h, --help", "show this help").allowExcessArguments(false);
  if (entry !== OVERVIEW) flags.description(entry.summary);
  if (command.takes === "images") flags.argument("<image...>", "a name, a digest, or the beginning of an ID");
  else if (command.takes === "places")
    flags.argument("<path...>", "a path, an ID or its beginning, or a digest");
  else
    flags.argument(
      "[source...]",
      "archives, layouts, stores, folders of them, or - for standard input (default: the stores of this host)",
    );
  command.flags(flags);
  const collectValues = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  return flags
    .option("-s, --source <path>", "a source; may be repeated", collectValues)
    .option("--as <kind>", "take the source for this kind of store")
    .option("--at <path>", "look at this folder inside the source, such as a mounted host")
    .option("--json", "one JSON object on standard output")
    .option("--format <template>", "a Go template, `table TEMPLATE`, or json")
    .option("--sort <field>", "order by this field of the JSON; -FIELD turns it round")
    .option("-q, --quiet", "only IDs, or nothing but the exit code")
    .option("--no-color", "no colour (also: NO_COLOR)")
    .option("--no-progress", "no progress bar")
    .option(
      "--workers <n>",
      "threads to hash with (default: one a core, up to 4); 0 hashes in the main thread",
    )
    .addOption(new Option("--units <units>", "units of sizes").choices(["si", "iec", "bytes"]).default("si"))
    .option("--tmp <dir>", "where compressed archives may be unpacked")
    .option("--now <time>", "the time that ages are counted from")
    .option(
      "--fail-over <field=value>",
      "exit 1 when the number at that place of the JSON is larger",
      collectValues,
    )
    .option("--debug", "show where an error comes from")
    .option("--version", "show the version");
}

function parse(
  entry: CommandEntry,
  command: AnyCommand,
  argv: readonly string[],
  streams: Streams,
): { raw: RawOptions; args: readonly string[] } {
  const flags = flagsOf(entry, command);
  flags.configureOutput({
    writeOut: (text) => void streams.stdout.write(text),
    writeErr: (text) => void streams.stderr.write(text.replace(/^error: /, "ullage: ")),
  });
  flags.parse([...argv], { from: "user" });
  return { raw: flags.opts(), args: flags.args };
}

async function run(
  entry: CommandEntry,
  command: AnyCommand,
  raw: RawOptions,
  args: readonly string[],
  streams: Streams,
): Promise<number> {
  const { createPool } = await import("./pool.ts");
  const { Warnings } = await import("./run.ts");
  const now = timeOf(raw.now);
  const limits = parseLimits(raw.failOver as string[] | undefined);
  const pool = createPool(streams.signal, workersOf(raw.workers));
  const warnings = new Warnings();
  const context: Run = {
    signal: streams.signal,
    progress: await progressOf(raw, streams),
    pool,
    now,
    warnings,
  };
  const named = command.takes === "sources" ? [] : args;
  const paths = [
    ...((raw.source as string[] | undefined) ?? []),
    ...(command.takes === "sources" ? args : []),
  ];
  const hostPaths = new Map<string, string>();
  if (command.takes === "places") {
    const { findHostPaths } = await import("./open.ts");
    for (const { text, path, store } of await findHostPaths(args, paths.length === 0)) {
      hostPaths.set(text, path);
      if (store !== null && !paths.includes(store)) paths.push(store);
    }
  }
  if (raw.sort !== undefined && !command.sorts)
    throw new UsageError(`--sort: ${entry.name} has an order of its own`);
  const options = await command.options({ ...raw, sources: paths, hostPaths }, named, context);
  try {
    const work = answer(entry, command, options, raw, paths, context, streams, limits);
    return await Promise.race([work, interrupted(streams.signal)]);
  } finally {
    context.progress.end();
    await pool.close();
  }
}

async function answer(
  entry: CommandEntry,
  command: AnyCommand,
  options: unknown,
  raw: RawOptions,
  paths: readonly string[],
  context: Run,
  streams: Streams,
  limits: readonly Limit[],
): Promise<number> {
  const { openSources, openUsual } = await import("./open.ts");
  const { Holdings } = await import("./analyses/holdings.ts");
  const opening = {
    need: command.need(options),
    as: (raw.as as never) ?? null,
    at: (raw.at as string | undefined) ?? null,
    tmp: (raw.tmp as string | undefined) ?? null,
    stdin: streams.stdin,
    recorded: raw.recorded === true,
    largest: command.largest?.(options) ?? 0,
  };
  const stores =
    paths.length === 0
      ? await openUsual(streams.root ?? "/", streams.env, opening, context)
      : await openSources(paths, opening, context);
  try {
    const holdings = new Holdings(stores);
    const result: unknown = await command.analyse(holdings, options, context);
    const sources = sourcesJson(holdings);
    let made: JsonObject | null = null;
    const json = (): JsonObject => {
      made ??= makeJson();
      return made;
    };
    const makeJson = (): JsonObject => ({
      schemaVersion: 1,
      command: entry.name,
      sources,
      warnings: context.warnings.list.map(({ code, source, path, message }) => ({
        code,
        source,
        path,
        message,
      })),
      ...command.json(result, options),
    });
    printWarnings(context, streams);
    const missed = limits.filter((limit) => exceeds(json(), limit));
    await print(command, result, options, raw, context, streams, json);
    for (const { path, text } of missed)
      streams.stderr.write(`ullage: --fail-over: ${path} is above ${text}\n`);
    const code = command.exitCode(result);
    if (code === 1 || missed.length > 0) return 1;
    return context.warnings.incomplete ? 4 : code;
  } finally {
    await Promise.all(stores.map((store) => store.close()));
  }
}

async function print(
  command: AnyCommand,
  result: unknown,
  options: unknown,
  raw: RawOptions,
  context: Run,
  streams: Streams,
  json: () => JsonObject,
): Promise<void> {
  const { stdout, env } = streams;
  const color = stdout.isTTY === true && raw.color !== false && !env.NO_COLOR && env.TERM !== "dumb";
  const style = { units: raw.units as "si" | "iec" | "bytes", color, now: context.now };
  const format = raw.format as string | undefined;
  if (raw.json === true) {
    stdout.write(`${JSON.stringify(json(), null, stdout.isTTY ? 2 : undefined)}\n`);
  } else if (format && !(raw.quiet === true && command.rows && format.startsWith("table"))) {
    const { renderRows } = await import("./views/go-template.ts");
    const { rows, titles, table } = command.rows?.(result, style, options) ?? {
      rows: [json()],
      titles: {},
      table: undefined,
    };
    stdout.write(escapeText(renderRows(format, rows, titles, table)));
  } else if (raw.quiet !== true || command.printsIds) {
    const text = command.text(result, style, options);
    if (text !== "") stdout.write(`${text}\n`);
  }
}

/** Text of templates comes from sources: it must not move the cursor. What a template itself lays out stays. */
function escapeText(text: string): string {
  return text
    .split(/([\n\t])/)
    .map((part) => (part === "\n" || part === "\t" ? part : escapeControls(part)))
    .join("");
}

const SHOWN_WARNINGS = 20;

function printWarnings(context: Run, streams: Streams): void {
  const { list, dropped } = context.warnings;
  for (const { source, path, message } of list.slice(0, SHOWN_WARNINGS)) {
    const place = [source, path, message].filter((part) => part !== null).join(": ");
    streams.stderr.write(`ullage: warning: ${escapeControls(place)}\n`);
  }
  const more = list.length + dropped - SHOWN_WARNINGS;
  if (more > 0) streams.stderr.write(`ullage: warning: and ${more} more; --json lists them\n`);
}

function interrupted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new InterruptedError("interrupted"));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

async function progressOf(raw: RawOptions, streams: Streams): Promise<Run["progress"]> {
  const { NO_PROGRESS, terminalProgress } = await import("./views/progress.ts");
  const wanted = streams.stderr.isTTY === true && raw.progress !== false && raw.quiet !== true;
  return wanted ? terminalProgress(streams.stderr as NodeJS.WriteStream) : NO_PROGRESS;
}

function workersOf(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string" && /^[0-9]{1,3}$/.test(value)) return Number(value);
  throw new UsageError(`--workers ${String(value)}: expected a number of threads`);
}

function timeOf(value: unknown): Date {
  if (value === undefined) return new Date();
  const text = String(value);
  const isTime = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/i.test(text);
  const time = new Date(/^[0-9]{9,12}$/.test(text) ? Number(text) * 1000 : isTime ? text : Number.NaN);
  if (Number.isNaN(time.getTime()))
    throw new UsageError(`--now ${text}: expected a time such as 2026-01-31T12:00:00Z`);
  return time;
}

interface Limit {
  readonly path: string;
  readonly text: string;
  readonly number: number;
  /** `number` is a percentage: of 1 for a ratio, of the total for a size. */
  readonly isShare: boolean;
}

function parseLimits(given: readonly string[] | undefined): Limit[] {
  return (given ?? []).map((item) => {
    const equals = item.lastIndexOf("=");
    const text = item.slice(equals + 1);
    const isShare = text.endsWith("%");
    const plain = /^[0-9.]+$/.test(text) ? Number(text) : (parseBytes(text) ?? Number.NaN);
    const number = isShare ? Number(text.slice(0, -1)) / 100 : plain;
    if (equals <= 0 || text === "" || !(number >= 0)) {
      throw new UsageError(`--fail-over ${item}: expected FIELD=NUMBER, such as total.apparent=50MB`);
    }
    return { path: item.slice(0, equals), text, number, isShare };
  });
}

/** Whether the number at the limit's path is above it. A list is entered by index, or by an element's name or ID. */
function exceeds(json: JsonObject, { path, number, isShare }: Limit): boolean {
  let at: JsonValue | undefined = json;
  for (const key of path.split(".")) {
    if (Array.isArray(at))
      at = /^[0-9]+$/.test(key) ? at[Number(key)] : at.find((item) => isNamed(item, key));
    else at = typeof at === "object" && at !== null ? (at as JsonObject)[key] : undefined;
  }
  const isSize = typeof at === "object" && at !== null && "apparent" in at;
  const value = numberIn(at);
  if (value === null)
    throw new UsageError(`--fail-over ${path}: there is no number at that place of the JSON`);
  if (!isShare) return value > number;
  const whole = isSize ? numberIn(json.total) : value <= 1 ? 1 : null;
  if (whole === null)
    throw new UsageError(`--fail-over ${path}: a percentage of what? give a number or a size`);
  return value > number * whole;
}

/** A number, the bytes of a size, or the length of a list. */
function numberIn(value: JsonValue | undefined): number | null {
  if (typeof value === "number") return value;
  if (Array.isArray(value)) return value.length;
  if (typeof value !== "object" || value === null || !("apparent" in value)) return null;
  const { apparent, allocated } = value as JsonObject;
  return (allocated ?? apparent) as number;
}

function isNamed(item: JsonValue, key: string): boolean {
  const object = typeof item === "object" && item !== null ? (item as JsonObject) : {};
  return (
    object.name === key ||
    object.id === key ||
    object.level === key ||
    (Array.isArray(object.names) && object.names.includes(key))
  );
}

/** Runs as a program, and not when a test imports it. */
function isProgram(): boolean {
  const script = process.argv[1];
  try {
    return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
  } catch {
    return false;
  }
}

if (isProgram()) {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort();
    // Whatever is still under way has this long to clean up behind itself.
    setTimeout(() => process.exit(130), 1000).unref();
  };
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  process.once("SIGHUP", stop);
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error; // whoever reads has seen enough; the exit code still tells
  });
  const { stdin, stdout, stderr, env } = process;
  process.exitCode = await main(process.argv.slice(2), {
    stdin,
    stdout,
    stderr,
    env,
    signal: controller.signal,
  });
}
