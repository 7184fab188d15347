import { findImages } from "../analyses/find-image.ts";
import { type Holdings, titleOf } from "../analyses/holdings.ts";
import { type WhatIfResult, whatIf } from "../analyses/what-if.ts";
import { escapeControls } from "../byte-path.ts";
import type { NodeId } from "../graph/graph.ts";
import { formatSize, paint } from "../views/style.ts";
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
    const group = [...new Set(options.names.flatMap((name) => findImages(holdings, name)))];
    return { found: whatIf(holdings, group), holdings };
  },
  text({ found, holdings }, style) {
    const titles = (nodes: readonly NodeId[]): string =>
      shortList(
        nodes.map((id) => titleOf(holdings.image(id))),
        4,
      );
    const what =
      found.group.length === 1 ? escapeControls(titles(found.group)) : `these ${found.group.length} images`;
    const lines = [paint(style, "bold", `deleting ${what} frees ${formatSize(found.reclaimable, style)}`)];
    const several = holdings.stores.length > 1;
    for (const { node, exclusive } of found.each) {
      const place = several ? ` (${holdings.storeOf(node).source})` : "";
      const title = titleOf(holdings.image(node)) + place;
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
    return [lines[0], ...lines.slice(1).map(escapeControls)].join("\n");
  },
  json({ found, holdings }) {
    const ids = (nodes: readonly NodeId[]): string[] => nodes.map((id) => holdings.image(id).imageId);
    return {
      group: ids(found.group),
      reclaimable: sizeJson(found.reclaimable),
      each: found.each.map(({ node, exclusive }) => ({
        id: holdings.image(node).imageId,
        names: holdings.image(node).names,
        source: holdings.storeOf(node).source,
        exclusive: sizeJson(exclusive),
      })),
      joint: found.joint.map(({ nodes, size }) => ({ ids: ids(nodes), size: sizeJson(size) })),
      keptBy: found.keptBy.map(({ nodes, size }) => ({ ids: ids(nodes), size: sizeJson(size) })),
      blockedBy: [],
    };
  },
  exitCode: () => 0,
};

const SHOWN = 6;
