/** What it means how a layer that is kept as files was found. */
import { type BytePath, displayPath } from "../byte-path.ts";
import type { Digest } from "../digest.ts";
import type { LayerFinding } from "../formats/layer-check.ts";
import { DAMAGE_KINDS, type FindingKind, type LayerFacts } from "../formats/reassemble.ts";
import type { Verdict } from "../verdict.ts";

export interface LayerVerdict {
  readonly verdict: Verdict;
  readonly detail: string | null;
}

/** No engine can put such a layer together again; `linked-data` only where its bytes are not those of the tar. */
const EXPLAINING: readonly FindingKind[] = ["sparse", "whiteout-data", "elsewhere", "linked-data"];
const DRIFT: readonly FindingKind[] = ["mode", "owner", "device", "extra"];

/** `incomplete`: why what lies in the source may not be found in it. */
export function judgeLayer(facts: LayerFacts, diffId: Digest, incomplete: string | null): LayerVerdict {
  const { failure, counts } = facts;
  const has = (kinds: readonly FindingKind[]): boolean => kinds.some((kind) => counts[kind] !== undefined);
  if (failure?.kind === "unreadable") return { verdict: "unreadable", detail: failure.message };
  if (has(DAMAGE_KINDS)) return damaged(facts, incomplete);
  if (failure)
    return { verdict: failure.kind === "format" ? "corrupt" : "truncated", detail: failure.message };
  if (has(["unreadable"])) return { verdict: "unreadable", detail: listed(facts, ["unreadable"]) };
  if (facts.actual !== diffId) {
    if (has(EXPLAINING)) return { verdict: "unverifiable", detail: listed(facts, EXPLAINING) };
    const detail = "its files have the checksums that they were unpacked with: its tar-split was changed";
    return { verdict: "corrupt", detail };
  }
  if (has(DRIFT)) return { verdict: "drifted", detail: listed(facts, DRIFT) };
  return { verdict: "ok", detail: null };
}

function damaged(facts: LayerFacts, incomplete: string | null): LayerVerdict {
  const { counts, expected, there } = facts;
  const kinds = DAMAGE_KINDS.filter((kind) => counts[kind] !== undefined);
  const isAbsent = kinds.every((kind) => kind === "missing");
  if (isAbsent && incomplete !== null) return { verdict: "unreadable", detail: incomplete };
  if (isAbsent && there === 0 && expected > 1) {
    return { verdict: "missing", detail: `none of its ${expected} files and folders is there` };
  }
  return { verdict: isAbsent && there === 0 ? "missing" : "corrupt", detail: listed(facts, DAMAGE_KINDS) };
}

/** The first of them, in the order of the tar, and how many more there are. */
function listed({ findings, counts }: LayerFacts, kinds: readonly FindingKind[]): string {
  const shown = findings.filter((finding) => kinds.includes(finding.kind)).slice(0, SHOWN);
  const total = kinds.reduce((sum, kind) => sum + (counts[kind] ?? 0), 0);
  const more = total > shown.length ? [`and ${total - shown.length} more`] : [];
  return [...shown.map((finding) => `${nameOf(finding)}: ${said(finding)}`), ...more].join("; ");
}
const SHOWN = 5;

function nameOf({ path, rawName }: LayerFinding): string {
  if (path === "") return "its folder";
  return displayPath(path ?? (rawName as BytePath));
}

function said(finding: LayerFinding): string {
  switch (finding.kind) {
    case "missing":
      return "missing";
    case "type":
      return `${NAMES[finding.found]}, expected ${NAMES[finding.expected]}`;
    case "size":
      return `size ${finding.found}, expected ${finding.expected}`;
    case "checksum":
      return "content differs (CRC-64)";
    case "target":
      return `leads to ${short(finding.found)}, expected ${short(finding.expected)}`;
    case "link":
      return `content differs from that of ${short(finding.target)}, of which it is another name`;
    case "whiteout":
      return finding.found === null ? "no whiteout there" : `no whiteout there but ${NAMES[finding.found]}`;
    case "opaque":
      return "its folder is not marked opaque";
    case "name":
      return "leads out of the layer";
    case "unreadable":
      return finding.message;
    case "sparse":
      return "a sparse file, whose map no engine keeps";
    case "whiteout-data":
      return "a whiteout with content, which no engine keeps";
    case "linked-data":
      return "a link with a length, which engines read in different ways";
    case "elsewhere":
      return `kept in a layer below (${finding.attribute})`;
    case "device":
      return `device ${finding.found ?? "missing"}, expected ${finding.expected}`;
    case "mode":
      return `mode ${octal(finding.found)}, expected ${octal(finding.expected)}`;
    case "owner":
      return `owner ${finding.found}, expected ${finding.expected}`;
    case "extra":
      return "not of this layer";
  }
}

const NAMES = {
  file: "a file",
  directory: "a folder",
  symlink: "a link",
  char: "a character device",
  block: "a block device",
  fifo: "a pipe",
  socket: "a socket",
  other: "something else",
} as const;

function short(name: string): string {
  return displayPath(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
