import { type DfResult, df } from "../analyses/df.ts";
import { type Holdings, shortId } from "../analyses/holdings.ts";
import { DEFAULT_LOSS, type LossConstants } from "../analyses/loss.ts";
import { type PlanOptions, type PlanResult, type PlanStep, plan } from "../analyses/plan.ts";
import { displayPath, escapeControls, ROOT } from "../byte-path.ts";
import { readHostText, writeHostFile } from "../bytes/host-file.ts";
import { FormatError, messageOf, UsageError } from "../errors.ts";
import { asObject, parseJson } from "../formats/json.ts";
import type { Run } from "../run.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { type Column, renderTable, shortPath } from "../views/table.ts";
import { formatBytes, parseAmount, parseBytes, parseDuration, plural } from "../views/units.ts";
import {
  type Command,
  collect,
  type JsonObject,
  optionalText,
  parseCount,
  type RawOptions,
  sizeJson,
  sourcesJson,
  texts,
} from "./command.ts";
import { commandOf, planScript } from "./plan-script.ts";
import { shortList } from "./verify.ts";

interface Options {
  readonly plan: Omit<PlanOptions, "free" | "maxLoss" | "gain">;
  readonly free: string | null;
  readonly untilFree: string | null;
  readonly untilUsed: string | null;
  readonly freeInodes: number | null;
  readonly maxLoss: string | null;
  readonly explain: boolean;
  readonly script: boolean;
  readonly curve: boolean;
  readonly output: string | null;
  readonly idsOnly: boolean;
}

interface Result {
  readonly found: PlanResult;
  readonly usage: DfResult;
  readonly holdings: Holdings;
}

/** What may be chosen unless `--include` says otherwise. */
const INCLUDED = ["images", "orphans", "cache"];
const INCLUDABLE = [...INCLUDED, "containers", "volumes", "logs"];
/** Time for a proof: half of the patience of someone with a full disk. */
const PROOF_MS = 15_000;

export const command: Command<Options, Result> = {
  takes: "sources",
  printsIds: true,
  flags(flags) {
    flags
      .option("--free <size>", "free this much (20GB, 15GiB, 30% of the sources) at the least loss")
      .option("--until-free <size>", "free until the file system has this much (or a percentage) free")
      .option("--until-used <percent>", "free until the file system is no fuller than this")
      .option("--free-inodes <n>", "free this many inodes")
      .option("--max-loss <size>", "lose at most this (bytes to bring back, weighted)")
      .option(
        "--keep <pattern>",
        "keep images whose name (or repository) matches, or whose ID begins so",
        collect,
      )
      .option("--keep-file <file>", "keep what a docker-gc exclude file lists", collect)
      .option("--keep-last <n>", "keep the N newest images of each repository")
      .option("--min-age <age>", "keep images younger than this (14d, 36h)")
      .option("--unused-for <age>", "keep images used within this time")
      .option("--include <kinds>", `what may be chosen, of ${INCLUDABLE.join(", ")}`, INCLUDED.join(","))
      .option("--loss <file>", "a JSON file that overrides the constants of the loss")
      .option("--explain", "for each deletion: what it costs, and what keeps the rest")
      .option("--script", "print the commands that carry it out")
      .option("--curve", "bytes freed against loss, step by step")
      .option("-o, --output <file>", "write the plan as JSON to a file");
  },
  async options(raw: RawOptions) {
    const target = [raw.free, raw.untilFree, raw.untilUsed, raw.freeInodes, raw.maxLoss];
    if (raw.script === true && target.every((one) => one === undefined)) {
      throw new UsageError(
        "--script carries out a decision: say how much with --free, --until-free or --max-loss",
      );
    }
    return {
      plan: {
        keep: {
          patterns: texts(raw.keep),
          excludes: await excludeLines(texts(raw.keepFile)),
          lastOfRepository: parseCount(raw.keepLast, "--keep-last") ?? 0,
          minAgeMs: durationOf(raw.minAge, "--min-age"),
          unusedForMs: durationOf(raw.unusedFor, "--unused-for"),
        },
        loss: await lossConstants(optionalText(raw.loss)),
        include: parseIncluded(String(raw.include)),
        explain: raw.explain === true,
        timeMs: PROOF_MS,
      },
      free: optionalText(raw.free),
      untilFree: optionalText(raw.untilFree),
      untilUsed: optionalText(raw.untilUsed),
      freeInodes: parseCount(raw.freeInodes, "--free-inodes"),
      maxLoss: optionalText(raw.maxLoss),
      explain: raw.explain === true,
      script: raw.script === true,
      curve: raw.curve === true,
      output: optionalText(raw.output),
      idsOnly: raw.quiet === true,
    };
  },
  need: () => "index",
  async analyse(holdings, options, run) {
    const usage = df(holdings, { list: false, top: null });
    const free = targetOf(options, usage);
    const maxLoss = options.maxLoss === null ? null : parseBytes(options.maxLoss);
    if (options.maxLoss !== null && maxLoss === null) {
      throw new UsageError(`--max-loss ${options.maxLoss}: expected bytes to bring back, such as 500MB`);
    }
    const gain = options.freeInodes === null ? "bytes" : "inodes";
    const found = await plan(holdings, { ...options.plan, free, gain, maxLoss }, run);
    const result = { found, usage, holdings };
    warnOfIdleRules(found, run);
    if (options.output !== null) await writePlan(options.output, result, holdings, run);
    return result;
  },
  text(result, style, options) {
    if (options.script) return planScript(result.found.steps, result.holdings);
    if (options.idsOnly) return result.found.steps.map((step) => step.id).join("\n");
    if (options.curve) return curve(result.found, style);
    return planText(result.found, result.usage, style, options.explain);
  },
  json: (result) => planJson(result.found, result.holdings),
  exitCode: ({ found }) => (found.reachable ? 0 : 1),
};

function durationOf(value: unknown, option: string): number | null {
  return typeof value === "string" ? parseDuration(value, option) : null;
}

function parseIncluded(text: string): Set<string> {
  const kinds = text.split(",").map((kind) => kind.trim());
  const wrong = kinds.find((kind) => !INCLUDABLE.includes(kind));
  if (wrong !== undefined) throw new UsageError(`--include ${wrong}: there are ${INCLUDABLE.join(", ")}`);
  return new Set(kinds);
}

async function excludeLines(files: readonly string[]): Promise<string[]> {
  const lines: string[] = [];
  for (const file of files) lines.push(...(await readHostText(file, "--keep-file")).split("\n"));
  return lines.map((line) => line.trim()).filter((line) => line !== "");
}

async function lossConstants(file: string | null): Promise<LossConstants> {
  if (file === null) return DEFAULT_LOSS;
  try {
    const given = asObject(parseJson(Buffer.from(await readHostText(file, "--loss")), file), file);
    const constants: Record<string, number> = { ...DEFAULT_LOSS };
    for (const [name, value] of Object.entries(given)) {
      if (!(name in DEFAULT_LOSS))
        throw new UsageError(
          `--loss ${file}: no constant ${name}; there are ${Object.keys(DEFAULT_LOSS).join(", ")}`,
        );
      if (typeof value !== "number" || !(value >= 0))
        throw new UsageError(`--loss ${file}: ${name}: expected a number of at least 0`);
      constants[name] = value;
    }
    return constants as unknown as LossConstants;
  } catch (error) {
    if (error instanceof FormatError) throw new UsageError(`--loss ${messageOf(error)}`, { cause: error });
    throw error;
  }
}

/** Bytes, or inodes, to free; null where no target is given. */
function targetOf(options: Options, usage: DfResult): number | null {
  const whole = usage.total.allocated ?? usage.total.apparent;
  const given = [options.free, options.untilFree, options.untilUsed, options.freeInodes].filter(
    (one) => one !== null,
  );
  if (given.length > 1)
    throw new UsageError("--free, --free-inodes, --until-free and --until-used: give one of them");
  if (options.freeInodes !== null) {
    if (usage.total.inodes !== null) return options.freeInodes;
    throw new UsageError("--free-inodes: an archive has no inodes; use --free");
  }
  if (options.free !== null) return parseAmount(options.free, whole, "--free");
  if (options.untilFree === null && options.untilUsed === null) return null;
  const { filesystem } = usage;
  if (!filesystem) {
    throw new UsageError(
      "--until-free and --until-used speak of the file system of one store; use --free for archives",
    );
  }
  if (options.untilFree !== null) {
    return Math.max(0, parseAmount(options.untilFree, filesystem.size, "--until-free") - filesystem.free);
  }
  return Math.max(0, filesystem.used - parseAmount(options.untilUsed!, filesystem.size, "--until-used"));
}

/** A plan as text: what it reaches, then its steps. */
export function planText(found: PlanResult, usage: DfResult, style: TextStyle, explain: boolean): string {
  const lines = [paint(style, "bold", headline(found, style))];
  const proof = proofLine(found, style);
  if (proof) lines.push(proof);
  if (found.steps.length > 0) lines.push("", stepTable(found.steps, usage, style, new Set(found.knees)));
  if (explain) lines.push("", ...explanation(found, style));
  else if (found.kept.length > 0)
    lines.push("", `${found.kept.length} kept by rules or in use; --explain names each`);
  if (found.target === null && found.knees.length > 0) {
    lines.push("", "* a good place to stop: beyond it each byte costs clearly more");
  }
  return lines.join("\n");
}

function headline(found: PlanResult, style: TextStyle): string {
  const { inodes } = found.reclaimed;
  const frees =
    formatSize(found.reclaimed, style) + (inodes === null ? "" : ` and ${plural(inodes, "inode")}`);
  if (found.target === null) {
    return found.steps.length === 0
      ? "nothing here may be deleted"
      : `all that may go is ${frees}, in the order that gives most for the least loss`;
  }
  const target =
    found.gain === "inodes" ? plural(found.target, "inode") : formatBytes(found.target, style.units);
  if (!found.reachable && found.leastLoss !== null) {
    return `${target} can be had only at a loss of ${formatBytes(found.leastLoss, style.units)}, which is above --max-loss; within it ${frees} can`;
  }
  if (!found.reachable) return `${target} cannot be reached: all that may go frees ${frees}`;
  const count = found.steps.length;
  return `${plural(count, "deletion")} ${count === 1 ? "frees" : "free"} ${frees} (asked: ${target}) at a loss of ${formatBytes(found.loss, style.units)}`;
}

function proofLine(found: PlanResult, style: TextStyle): string | null {
  if (found.target === null || !found.reachable || found.gap === null) return null;
  if (found.optimal) return "proven: no other choice loses less";
  const bound =
    found.bound === null
      ? ""
      : ` (no choice loses less than ${formatBytes(Math.ceil(found.bound), style.units)})`;
  return `within ${(found.gap * 100).toFixed(2)}% of the best there can be${bound}`;
}

function stepTable(
  steps: readonly PlanStep[],
  usage: DfResult,
  style: TextStyle,
  stops: ReadonlySet<number>,
): string {
  const whole = usage.total.allocated ?? usage.total.apparent;
  const severalSources = new Set(steps.map((step) => step.source)).size > 1;
  type Line = { step: PlanStep; stop: boolean };
  const columns: Column<Line>[] = [
    { title: "", cell: ({ stop }) => (stop ? "*" : "") },
    { title: "DELETE", cell: ({ step }) => stepName(step) },
    { title: "FREES", right: true, cell: ({ step }) => formatSize(step.frees, style) },
    { title: "IN ALL", right: true, cell: ({ step }) => formatSize(step.cumulative, style) },
    {
      title: "%",
      right: true,
      cell: ({ step }) => percent(step.cumulative.allocated ?? step.cumulative.apparent, whole),
    },
    { title: "LOSS", right: true, cell: ({ step }) => formatBytes(step.loss, style.units) },
    { title: "WHY", cell: ({ step }) => step.why.join("; ") },
    ...(severalSources ? [{ title: "SOURCE", cell: ({ step }: Line) => step.source }] : []),
  ];
  const lines = steps.map((step, i) => ({ step, stop: stops.has(i) }));
  return renderTable(stops.size > 0 ? columns : columns.slice(1), lines);
}

function percent(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((part / whole) * 100)}%` : "";
}

export function stepName(step: PlanStep): string {
  switch (step.kind) {
    case "image":
      return step.names.length > 0 ? step.names.join(", ") : shortId(step.id);
    case "container":
      return `container ${step.names.join(", ")}`;
    case "volume":
      return `volume ${step.id}`;
    case "cache":
      return `build cache ${shortId(step.id)}`;
    default:
      return shortPath(step.id);
  }
}

function explanation(found: PlanResult, style: TextStyle): string[] {
  const lines: string[] = [];
  for (const step of found.steps) {
    if (!step.explain) continue;
    const { bytes, perImage, hardness, hardnessFrom, likelihood, likelihoodFrom, keptBy } = step.explain;
    const size = (count: number): string => formatBytes(count, style.units);
    const chance = `${Number((likelihood * 100).toPrecision(2))}%`;
    lines.push(
      `${stepName(step)}: loss ${size(step.loss)}`,
      `  to bring back: ${size(bytes)}, and ${size(perImage)} for the image as such`,
      `  times ${hardness}, how hard that is (${hardnessFrom})`,
      `  times ${chance}, how likely it is wanted again (${likelihoodFrom})`,
      ...keptBy.map(
        (kept) => `  ${size(kept.bytes)} of its layers: also needed by ${shortList(kept.titles)}`,
      ),
    );
  }
  if (found.kept.length > 0) lines.push("kept:");
  for (const { title, because } of found.kept) lines.push(`  ${title}: ${because}`);
  return lines.map(escapeControls);
}

function curve(found: PlanResult, style: TextStyle): string {
  let loss = 0;
  const points = found.steps.map((step) => {
    loss += step.loss;
    return { freed: step.cumulative, loss, step };
  });
  return renderTable<(typeof points)[number]>(
    [
      { title: "FREED", right: true, cell: (point) => formatSize(point.freed, style) },
      { title: "LOSS", right: true, cell: (point) => formatBytes(point.loss, style.units) },
      { title: "LOSS PER BYTE", right: true, cell: ({ step }) => perByte(step) },
      { title: "WITH", cell: ({ step }) => stepName(step) },
    ],
    points,
  );
}

function perByte(step: PlanStep): string {
  const frees = step.frees.allocated ?? step.frees.apparent;
  return frees > 0 ? (step.loss / frees).toFixed(3) : "";
}

export function planJson(found: PlanResult, holdings: Holdings): JsonObject {
  return {
    target: found.target,
    reachable: found.reachable,
    reclaimed: sizeJson(found.reclaimed),
    optimal: found.optimal,
    gap: found.gap,
    bound: found.bound === null ? null : Math.floor(found.bound),
    loss: found.loss,
    steps: found.steps.map((step) => ({
      kind: step.kind,
      id: step.id,
      names: step.names,
      source: step.source,
      ...(step.paths.length > 0 ? { paths: step.paths.map(displayPath) } : {}),
      frees: sizeJson(step.frees),
      cumulative: sizeJson(step.cumulative),
      loss: step.loss,
      why: step.why,
      explain: step.explain && { ...step.explain, keptBy: step.explain.keptBy.map((kept) => ({ ...kept })) },
      command: commandOf(step, holdings),
    })),
    kept: found.kept.map(({ id, because }) => ({ id, because })),
    knees: found.knees,
  };
}

/** A typing error in a keep rule would delete what should stay. */
function warnOfIdleRules(found: PlanResult, run: Run): void {
  for (const rule of found.idleRules) {
    const message = `${rule} matches no image, so it keeps nothing`;
    run.warnings.add({ code: "keep-idle", source: "plan", path: null, message, incomplete: false });
  }
}

async function writePlan(path: string, result: Result, holdings: Holdings, run: Run): Promise<void> {
  const sources = sourcesJson(holdings);
  const warnings = run.warnings.list.map(({ incomplete: _incomplete, ...warning }) => warning);
  const whole = { schemaVersion: 1, command: "plan", sources, warnings, ...planJson(result.found, holdings) };
  const inputs = holdings.stores.flatMap(({ source, tree }) => {
    const root = tree.hostPath(ROOT);
    return root === null ? (source === "-" ? [] : [source]) : [Buffer.from(root, "latin1").toString()];
  });
  await writeHostFile(path, `${JSON.stringify(whole, null, 2)}\n`, inputs);
}
