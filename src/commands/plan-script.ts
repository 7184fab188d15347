/**
 * A plan as a shell script. Names come from sources and may hold anything: what is no plain reference never reaches
 * a command, and comments are escaped, since a newline would end them.
 */
import type { Holdings } from "../analyses/holdings.ts";
import type { PlanStep } from "../analyses/plan.ts";
import { type BytePath, displayPath, escapeControls } from "../byte-path.ts";
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
    if (store.kind === "docker") lines.push(...engineLines(own, holdings));
    else if (store.kind === "oci-layout") lines.push(...layoutLines(own, holdings));
    else if (stays.length === 0) lines.push(`rm -r -- ${shellQuote(store.source)}`);
    else lines.push(...archiveLines(store.source, stays, holdings));
  }
  return lines.join("\n");
}

function comment(text: string): string {
  return `# ${escapeControls(text)}`;
}

/** What goes by hand first, since it may be what lets the engine start again; then what the engine is asked for. */
function engineLines(steps: readonly PlanStep[], holdings: Holdings): string[] {
  const line = (step: PlanStep): string =>
    commandOf(step, holdings) ?? comment(`${stepName(step)}: no command can name it; remove it by hand`);
  const byHand = steps.filter((step) => step.kind === "orphan");
  const asked = ORDER.flatMap((kind) => steps.filter((step) => step.kind === kind));
  const lines: string[] = [];
  if (byHand.length > 0) lines.push(comment("with the engine stopped:"), ...byHand.map(line));
  if (asked.length > 0) lines.push(comment("with the engine running:"), ...asked.map(line));
  return lines;
}

/** A container keeps its image and volumes; build cache is taken last, since images may be made of it. */
const ORDER: readonly PlanStep["kind"][] = ["log", "container", "image", "volume", "cache"];

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
  if (store.kind === "docker") return dockerCommand(step, holdings);
  const isPlain = step.names.length > 0 && step.names.every((name) => isReference(name));
  if (store.kind !== "oci-layout" || !isPlain) return null;
  return step.names.map((name) => `umoci rm --image ${shellQuote(`${store.source}:${name}`)}`).join("\n");
}

/** What Docker's own client does for a step; for what the engine does not know, what a shell does. */
function dockerCommand(step: PlanStep, holdings: Holdings): string | null {
  const { tree } = holdings.storeOf(step.node);
  const onHost = (path: BytePath): string => shellQuote(tree.hostPath(path) ?? displayPath(path));
  const isSafe = step.paths.every((path) => /^[\x20-\x7e]*$/.test(path));
  switch (step.kind) {
    case "image": {
      const names = step.names.filter(isReference);
      return `docker rmi ${names.length === step.names.length && names.length > 0 ? names.join(" ") : step.id}`;
    }
    case "container":
      return `docker rm ${step.id}`;
    case "volume":
      return isReference(step.id) ? `docker volume rm ${step.id}` : null;
    case "cache":
      return `docker builder prune --all --force --filter id=${shellQuote(step.id)}`;
    case "log":
      return isSafe ? step.paths.map((path) => `truncate -s 0 -- ${onHost(path)}`).join("\n") : null;
    case "orphan":
      return isSafe ? `rm -rf -- ${step.paths.map(onHost).join(" ")}` : null;
  }
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
