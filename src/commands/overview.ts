import { type DfResult, df } from "../analyses/df.ts";
import type { Holdings } from "../analyses/holdings.ts";
import { DEFAULT_LOSS } from "../analyses/loss.ts";
import { type PlanResult, plan } from "../analyses/plan.ts";
import { type VerifyResult, verify } from "../analyses/verify.ts";
import { escapeControls } from "../byte-path.ts";
import type { Run } from "../run.ts";
import { DAMAGE } from "../verdict.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { renderTable } from "../views/table.ts";
import { formatBytes, plural } from "../views/units.ts";
import type { Command, RawOptions } from "./command.ts";
import { dfJson, dfTable, nextCommand, noteLines } from "./df.ts";
import { planJson, stepName } from "./plan.ts";
import { checkTable, verifyExit, verifyJson, verifySummary } from "./verify.ts";

interface Options {
  readonly verify: boolean;
  readonly sources: readonly string[];
}

interface Result {
  readonly holdings: Holdings;
  readonly usage: DfResult;
  readonly best: PlanResult;
  readonly digests: VerifyResult | null;
  readonly sources: readonly string[];
}

const SHOWN_STEPS = 5;
const SHOWN_CHECKS = 8;

/** The first look: where the space went, what to let go of, what is damaged, what to type next. */
export const command: Command<Options, Result> = {
  takes: "sources",
  flags(flags) {
    flags.option("--verify", "check all digests as well");
  },
  options: (raw: RawOptions) => ({ verify: raw.verify === true, sources: raw.sources as readonly string[] }),
  need: (options) => (options.verify ? "digests" : "index"),
  async analyse(holdings, options, run) {
    const usage = df(holdings, { list: false, top: null });
    const best = await firstSteps(holdings, run);
    const digests = options.verify ? await verify(holdings, run) : null;
    return { holdings, usage, best, digests, sources: options.sources };
  },
  text(result, style) {
    const { usage, best, digests, holdings } = result;
    const title = (text: string): string => paint(style, "bold", text);
    const kinds = holdings.stores.map((store) => escapeControls(`${store.source} (${store.kind})`));
    const shown =
      kinds.length > 4 ? `${kinds.slice(0, 3).join(", ")} and ${kinds.length - 3} more` : kinds.join(", ");
    const lines = [
      `${plural(usage.images, "image")} in ${shown}`,
      "",
      title("Where the space went"),
      dfTable(usage, style),
    ];
    lines.push(...noteLines(holdings.stores.flatMap((store) => store.remarks)));
    lines.push("", title("What to let go of: most bytes for the least loss"));
    lines.push(best.steps.length > 0 ? stepTable(best, style) : "nothing here may be deleted");
    lines.push("", title("Does the content match its digests?"), ...digestLines(result, style));
    lines.push(...orphanLines(result, style));
    const isSound = digests !== null && verifyExit(digests) === 0;
    const next = nextCommand(isSound ? "ullage plan --free 30% --explain" : "ullage verify", result.sources);
    if (next !== null) lines.push("", `${paint(style, "dim", "next:")} ${next}`);
    return lines.join("\n");
  },
  json({ usage, best, digests, holdings }) {
    return {
      images: usage.images,
      ...dfJson(usage),
      plan: planJson(best, holdings),
      verify: digests && verifyJson(digests),
      notChecked: digests ? [] : ["digests"],
    };
  },
  exitCode: (result) => (result.digests ? verifyExit(result.digests) : 0),
};

/** The first steps of the frontier, with the default rules. */
async function firstSteps(holdings: Holdings, run: Run): Promise<PlanResult> {
  const keep = { patterns: [], excludes: [], lastOfRepository: 0, minAgeMs: null, unusedForMs: null };
  const include = new Set(["images", "orphans", "cache"]);
  const base = { keep, loss: DEFAULT_LOSS, include, explain: false, timeMs: 0 };
  const options = { ...base, free: null, gain: "bytes", maxLoss: null } as const;
  const whole = await plan(holdings, options, run);
  const steps = whole.steps.slice(0, SHOWN_STEPS);
  // A step that pays only together with the next is no advice by itself.
  while (steps[steps.length - 1]?.joined && whole.steps[steps.length]) steps.push(whole.steps[steps.length]!);
  const reclaimed = steps[steps.length - 1]?.cumulative ?? whole.reclaimed;
  const loss = steps.reduce((sum, step) => sum + step.loss, 0);
  return { ...whole, steps, reclaimed, loss, knees: whole.knees.filter((knee) => knee < steps.length) };
}

function stepTable(best: PlanResult, style: TextStyle): string {
  return renderTable<PlanResult["steps"][number]>(
    [
      { title: "DELETE", cell: stepName },
      { title: "FREES", right: true, cell: (step) => formatSize(step.frees, style) },
      { title: "IN ALL", right: true, cell: (step) => formatSize(step.cumulative, style) },
      { title: "LOSS", right: true, cell: (step) => formatBytes(step.loss, style.units) },
      { title: "WHY", cell: (step) => step.why.join("; ") },
    ],
    best.steps,
  );
}

function digestLines({ digests, holdings }: Result, style: TextStyle): string[] {
  if (!digests) {
    const absent = holdings.images.flatMap((id) =>
      holdings.image(id).absent.filter((one) => one.verdict !== "discarded"),
    );
    const known =
      absent.length > 0
        ? [paint(style, "red", `${plural(absent.length, "part")} of images missing or cut short`)]
        : [];
    return [...known, "not checked (--verify does)"];
  }
  const wrong = digests.checked.filter(
    (check) => DAMAGE.includes(check.verdict) || check.verdict === "unreadable",
  );
  const more = wrong.length - SHOWN_CHECKS;
  return [
    verifySummary(digests, style),
    ...(wrong.length > 0 ? [checkTable(wrong.slice(0, SHOWN_CHECKS), style)] : []),
    ...(more > 0 ? [`and ${more} more; ullage verify lists them all`] : []),
  ];
}

function orphanLines({ usage }: Result, style: TextStyle): string[] {
  const orphans = usage.categories.find((category) => category.name === "orphans");
  if (!orphans) return [];
  return [
    "",
    `${plural(orphans.count, "file")} that nothing refers to: ${formatSize(orphans.size, style)} (ullage df -v lists them)`,
  ];
}
