import { shortId } from "../analyses/holdings.ts";
import type { Check } from "../analyses/verdicts.ts";
import { type VerifyResult, verify } from "../analyses/verify.ts";
import { DAMAGE, VERDICTS, type Verdict } from "../verdict.ts";
import { paint, type TextStyle } from "../views/style.ts";
import { renderTable, shortPath } from "../views/table.ts";
import { formatBytes, plural } from "../views/units.ts";
import { type Command, type JsonObject, optionalText, type RawOptions, sortRows } from "./command.ts";

interface Options {
  readonly verbose: boolean;
  readonly sort: string | null;
}

export const command: Command<Options, VerifyResult> = {
  takes: "sources",
  sorts: true,
  flags(flags) {
    flags.option("-v, --verbose", "list what is right as well");
  },
  options: (raw: RawOptions) => ({ verbose: raw.verbose === true, sort: optionalText(raw.sort) }),
  need: () => "digests",
  async analyse(holdings, options, run) {
    const result = await verify(holdings, run);
    return { ...result, checked: sortRows(result.checked, options.sort, checkJson) };
  },
  text(result, style, options) {
    const listed = result.checked.filter((check) => options.verbose || check.verdict !== "ok");
    const table = listed.length > 0 ? [checkTable(listed, style), ""] : [];
    return [...table, verifySummary(result, style)].join("\n");
  },
  json: verifyJson,
  exitCode: verifyExit,
};

export function verifyExit(result: VerifyResult): 0 | 1 | 4 {
  if (DAMAGE.some((verdict) => result.summary[verdict] > 0)) return 1;
  return result.summary.unreadable > 0 ? 4 : 0;
}

export function verifyJson(result: VerifyResult): JsonObject {
  const { bytes, seconds } = result.throughput;
  return {
    checked: result.checked.map(checkJson),
    summary: { ...result.summary },
    throughput: { bytes, seconds: Math.round(seconds * 1000) / 1000 },
  };
}

function checkJson(check: Check): JsonObject {
  return { ...check };
}

export function checkTable(checks: readonly Check[], style: TextStyle): string {
  return renderTable<Check>(
    [
      { title: "VERDICT", cell: (check) => check.verdict },
      { title: "WHAT", cell: (check) => check.what },
      { title: "ID", cell: (check) => (check.id.includes(":") ? shortId(check.id) : shortPath(check.id)) },
      { title: "BYTES", right: true, cell: (check) => formatBytes(check.bytes, style.units) },
      { title: "NEEDED BY", cell: (check) => shortList(check.usedBy) },
      { title: "WHERE AND WHY", cell: whereAndWhy },
    ],
    checks,
  );
}

function whereAndWhy(check: Check): string {
  const isContent = check.what !== "chain" && check.what !== "database";
  const mismatch =
    isContent && check.verdict === "corrupt" && check.actual
      ? `its bytes are ${shortId(check.actual)}`
      : null;
  return [shortPath(check.path ?? check.source), mismatch, check.detail]
    .filter((part) => part !== null)
    .join(": ");
}

export function shortList(items: readonly string[], limit = 3): string {
  const more = items.length > limit ? ` and ${items.length - limit} more` : "";
  return `${items.slice(0, limit).join(", ")}${more}`;
}

/** One line: how many of each verdict, and how fast. */
export function verifySummary(result: VerifyResult, style: TextStyle): string {
  const counts = VERDICTS.filter((verdict) => result.summary[verdict] > 0).map((verdict) =>
    paint(style, toneOf(verdict), `${result.summary[verdict]} ${verdict}`),
  );
  const { bytes, seconds } = result.throughput;
  const rate = bytes > 0 && seconds > 0 ? `, ${formatBytes(bytes / seconds, style.units)}/s` : "";
  const read = `${formatBytes(bytes, style.units)} read in ${seconds.toFixed(2)} s${rate}`;
  return `${plural(result.checked.length, "digest")} checked: ${counts.join(", ") || "nothing to check"} (${read})`;
}

function toneOf(verdict: Verdict): "green" | "red" | "yellow" {
  if (verdict === "ok") return "green";
  return DAMAGE.includes(verdict) ? "red" : "yellow";
}
