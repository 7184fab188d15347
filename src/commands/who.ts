import { type Holdings, shortId, unitId, unitTitle, unitTitles } from "../analyses/holdings.ts";
import { type Owner, whoOwns } from "../analyses/who.ts";
import { displayPath, escapeControls } from "../byte-path.ts";
import { UsageError } from "../errors.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { plural } from "../views/units.ts";
import { type Command, type JsonObject, sizeJson } from "./command.ts";
import { shortList } from "./verify.ts";

interface Options {
  readonly asked: readonly { readonly text: string; readonly hostPath: string | null }[];
}

interface Answer {
  readonly asked: string;
  readonly owners: readonly Owner[];
}

interface Result {
  readonly answers: readonly Answer[];
  readonly holdings: Holdings;
}

export const command: Command<Options, Result> = {
  takes: "places",
  flags() {},
  options: (raw, names) => ({
    asked: names.map((text) => ({
      text,
      hostPath: (raw.hostPaths as Map<string, string>).get(text) ?? null,
    })),
  }),
  need: () => "index",
  async analyse(holdings, { asked }) {
    const answers = asked.map(({ text, hostPath }) => ({
      asked: text,
      owners: whoOwns(holdings, text, hostPath),
    }));
    const unknown = answers.filter((answer) => answer.owners.length === 0);
    if (unknown.length === answers.length) {
      throw new UsageError(
        `${unknown.map((one) => one.asked).join(", ")}: no path, ID or digest in ${holdings.stores.map((store) => store.source).join(", ")}`,
      );
    }
    return { answers, holdings };
  },
  text: ({ answers, holdings }, style) =>
    answers.map((answer) => answerText(answer, holdings, style)).join("\n\n"),
  json: ({ answers, holdings }) => ({
    answers: answers.map(({ asked, owners }) => ({
      asked,
      owners: owners.map((one) => ownerJson(one, holdings)),
    })),
  }),
  exitCode: ({ answers }) => (answers.every((answer) => answer.owners.length > 0) ? 0 : 1),
};

const SHOWN = 8;

function answerText({ asked, owners }: Answer, holdings: Holdings, style: TextStyle): string {
  if (owners.length === 0) return escapeControls(`${asked}: nothing in the sources is called so`);
  return owners.map((owner) => ownerText(asked, owner, holdings, style)).join("\n");
}

function ownerText(asked: string, owner: Owner, holdings: Holdings, style: TextStyle): string {
  const inodes = owner.size.inodes === null ? "" : `, ${plural(owner.size.inodes, "inode")}`;
  const where = owner.path === null ? "" : ` (${displayPath(owner.path) || "the store itself"})`;
  const lines = [
    paint(style, "bold", escapeControls(`${asked}: ${owner.what}`)),
    `  takes ${formatSize(owner.size, style)}${inodes}${escapeControls(where)}`,
  ];
  const titles = unitTitles(owner.holders.map((id) => holdings.node(id)));
  if (titles.length > 0) lines.push(`  kept by ${shortList(titles, SHOWN)}`);
  else if (owner.because.length > 0) lines.push(`  kept as ${shortList([...new Set(owner.because)], SHOWN)}`);
  else lines.push("  kept by nothing");
  if (owner.orphan) {
    lines.push(`  ${owner.orphan.cause}: ${owner.orphan.evidence.join("; ")}`);
    lines.push(
      owner.orphan.safe ? "  safe to delete with the engine stopped" : "  not safe: somebody may want it",
    );
  }
  return lines.map((line, i) => (i === 0 ? line : escapeControls(line))).join("\n");
}

function ownerJson(owner: Owner, holdings: Holdings): JsonObject {
  const { source, path, below, what, size, because, orphan } = owner;
  const node = holdings.node(owner.node);
  return {
    source,
    kind: node.kind,
    id: node.kind === "layer" ? (node.chainId ?? node.diffId) : unitId(node),
    what,
    path: path === null ? null : displayPath(path),
    below: below === null ? null : displayPath(below),
    size: sizeJson(size),
    heldBy: owner.holders.map((id) => {
      const holder = holdings.node(id);
      return {
        kind: holder.kind,
        id: unitId(holder),
        title: unitTitle(holder),
        short: shortId(unitId(holder)),
      };
    }),
    because,
    orphan: orphan && { ...orphan },
  };
}
