/**
 * A plan as a shell script. Names come from sources and may hold anything: what is no plain reference never reaches
 * a command, and comments are escaped, since a newline would end them.
 */
import type { Holdings } from "../analyses/holdings.ts";
import type { PlanStep } from "../analyses/plan.ts";
import { escapeControls } from "../byte-path.ts";
import type { NodeId } from "../graph/graph.ts";
import { stepName } from "./plan.ts";

/** The commands that carry out `steps`, source by source, in an order that works. */
export function planScript(steps: readonly PlanStep[], holdings: Holdings): string {
  const lines = ["#!/bin/sh", "# Written by ullage plan: read it before you run it.", "set -eu"];
  const going = new Set(steps.map((step) => step.node));
  for (const store of holdings.stores) {
    const own = steps.filter((step) => holdings.storeOf(step.node) === store);
    if (own.length === 0) continue;
    const stays = holdings.images.filter((id) => holdings.storeOf(id) === store && !going.has(id));
    lines.push("", comment(`${store.source}: without ${own.map(stepName).join(", ")}`));
    if (store.kind === "oci-layout") lines.push(...layoutLines(own, holdings));
    else if (stays.length === 0) lines.push(`rm -r -- ${shellQuote(store.source)}`);
    else lines.push(...archiveLines(store.source, stays, holdings));
  }
  return lines.join("\n");
}

function comment(text: string): string {
  return `# ${escapeControls(text)}`;
}

function layoutLines(steps: readonly PlanStep[], holdings: Holdings): string[] {
  const lines = steps.flatMap((step) => {
    if (step.kind === "orphan") return [];
    const command = commandOf(step, holdings);
    return [
      command ??
        comment(`${stepName(step)}: no command removes it; take its entry out of index.json by hand`),
    ];
  });
  return [...lines, `umoci gc --layout ${shellQuote(holdings.storeOf(steps[0]!.node).source)}`];
}

/** Nothing in an archive can be deleted in place: it is written anew, which takes room for what stays. */
function archiveLines(source: string, stays: readonly NodeId[], holdings: Holdings): string[] {
  const references = stays.flatMap((id) => {
    const { names, imageId } = holdings.image(id);
    const plain = names.filter(isReference);
    return plain.length > 0 ? plain : [imageId];
  });
  const file = shellQuote(source);
  const written = shellQuote(`${source}.new`);
  return [
    comment("an archive is written anew: this needs an engine, and room for what stays beside what is there"),
    `docker load -i ${file}`,
    `docker save -o ${written} ${references.map(shellQuote).join(" ")}`,
    `mv -- ${written} ${file}`,
  ];
}

/** The engine's command for one step; null where the store has none. */
export function commandOf(step: PlanStep, holdings: Holdings): string | null {
  const store = holdings.storeOf(step.node);
  const isPlain = step.names.length > 0 && step.names.every((name) => isReference(name));
  if (store.kind !== "oci-layout" || !isPlain) return null;
  return step.names.map((name) => `umoci rm --image ${shellQuote(`${store.source}:${name}`)}`).join("\n");
}

/** What engines take for a name: nothing that a shell or an option parser would read otherwise. */
function isReference(name: string): boolean {
  return /^[A-Za-z0-9_][\w./:@+-]*$/.test(name);
}

/** A word that stands safely in a shell line, and is not taken for an option. */
export function shellQuote(text: string): string {
  const word = text.startsWith("-") && text !== "-" ? `./${text}` : text;
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
