import { findUnits } from "../analyses/find-image.ts";
import { type Holdings, unitId, unitTitle, unitTitles } from "../analyses/holdings.ts";
import { type WhatIfResult, whatIf } from "../analyses/what-if.ts";
import { escapeControls } from "../byte-path.ts";
import type { NodeId, Size, StoreNode } from "../graph/graph.ts";
import { formatSize, paint, type TextStyle } from "../views/style.ts";
import { plural } from "../views/units.ts";
import { type Command, sizeJson } from "./command.ts";
import { shortList } from "./verify.ts";

interface Options {
  readonly names: readonly string[];
}

interface Result {
  readonly found: WhatIfResult;
  readonly holdings: Holdings;
}

export const command: Command<Options, Result> = {
  takes: "images",
  flags() {},
  options: (_raw, names) => ({ names }),
  need: () => "index",
  async analyse(holdings, options) {
    const group = [...new Set(options.names.flatMap((name) => findUnits(holdings, name)))];
    return { found: whatIf(holdings, group), holdings };
  },
  text({ found, holdings }, style) {
    const titles = (nodes: readonly NodeId[]): string =>
      shortList(unitTitles(nodes.map((id) => holdings.node(id))), 4);
    const areImages = found.group.every((id) => holdings.node(id).kind === "image");
    const all = `these ${found.group.length}${areImages ? " images" : ""}`;
    const what = found.group.length === 1 ? escapeControls(titles(found.group)) : all;
    const lines = [paint(style, "bold", `deleting ${what} frees ${sizeAndInodes(found.reclaimable, style)}`)];
    for (const { node, blocks } of found.blockedBy) {
      const [user, used] = [holdings.node(node), holdings.node(blocks)];
      const state = user.kind === "container" ? ` (${user.state ?? "state unknown"})` : "";
      lines.push(`  the engine refuses: ${unitTitle(user)}${state} uses ${unitTitle(used)}`);
    }
    const several = holdings.stores.length > 1;
    for (const { node, exclusive } of found.each.length > SHOWN_EACH ? [] : found.each) {
      const place = several ? ` (${holdings.storeOf(node).source})` : "";
      const title = unitTitle(holdings.node(node)) + place;
      lines.push(`  ${formatSize(exclusive, style).padStart(8)}  goes with ${title} alone`);
    }
    for (const { nodes, size } of found.joint) {
      lines.push(`  ${formatSize(size, style).padStart(8)}  goes only when all of ${titles(nodes)} go`);
    }
    if (found.keptBy.length > 0) lines.push("and what they need stays where others need it too:");
    for (const { nodes, size } of found.keptBy.slice(0, SHOWN)) {
      lines.push(`  ${formatSize(size, style).padStart(8)}  kept by ${titles(nodes)}`);
    }
    const more = found.keptBy.length - SHOWN;
    if (more > 0) lines.push(`  and ${plural(more, "more group")} of holders; --json lists them all`);
    if (found.withCache) {
      const { records, reclaimable } = found.withCache;
      lines.push(
        `with ${plural(records.length, "build cache record")} that hold its layers gone as well: ${sizeAndInodes(reclaimable, style)}`,
      );
      if (records.length <= SHOWN)
        lines.push(
          ...records.map((id) => `  ${unitTitle(holdings.node(id))}: ${descriptionOf(holdings.node(id))}`),
        );
    }
    return [lines[0], ...lines.slice(1).map(escapeControls)].join("\n");
  },
  json({ found, holdings }) {
    const ids = (nodes: readonly NodeId[]): string[] => nodes.map((id) => unitId(holdings.node(id)));
    return {
      group: ids(found.group),
      reclaimable: sizeJson(found.reclaimable),
      each: found.each.map(({ node, exclusive }) => ({
        kind: holdings.node(node).kind,
        id: unitId(holdings.node(node)),
        names: namesOf(holdings.node(node)),
        source: holdings.storeOf(node).source,
        exclusive: sizeJson(exclusive),
      })),
      joint: found.joint.map(({ nodes, size }) => ({ ids: ids(nodes), size: sizeJson(size) })),
      keptBy: found.keptBy.map(({ nodes, size }) => ({ ids: ids(nodes), size: sizeJson(size) })),
      blockedBy: found.blockedBy.map(({ node, blocks }) => ({
        kind: holdings.node(node).kind,
        id: unitId(holdings.node(node)),
        title: unitTitle(holdings.node(node)),
        blocks: unitId(holdings.node(blocks)),
      })),
      withCache: found.withCache && {
        ids: ids(found.withCache.records),
        reclaimable: sizeJson(found.withCache.reclaimable),
      },
    };
  },
  exitCode: () => 0,
};

const SHOWN = 6;
const SHOWN_EACH = 20;

function sizeAndInodes(size: Size, style: TextStyle): string {
  const inodes = size.inodes === null ? "" : ` and ${plural(size.inodes, "inode")}`;
  return `${formatSize(size, style)}${inodes}`;
}

function namesOf(node: StoreNode): readonly string[] {
  if (node.kind === "image") return node.names;
  return node.kind === "container" || node.kind === "volume" ? [node.name] : [];
}

function descriptionOf(node: StoreNode): string {
  return node.kind === "cache" ? node.description || node.type : "";
}
