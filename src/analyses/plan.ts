/** Which deletions free the most actual space at the least loss. */
import { displayPath } from "../byte-path.ts";
import { type ImageNode, NOTHING, type NodeId, type Size, sumSizes } from "../graph/graph.ts";
import { reachable, type UserSets } from "../graph/sharing.ts";
import type { Run } from "../run.ts";
import { frontier, knees } from "../solver/frontier.ts";
import type { ClosureProblem } from "../solver/problem.ts";
import { held } from "./df.ts";
import { type Holdings, titleOf } from "./holdings.ts";
import { byRepository, type KeepRules, keptImages, repositoryOf } from "./keep.ts";
import { jointWeight, type LossConstants, type LossTerms, lossTerms } from "./loss.ts";

export interface PlanOptions {
  readonly keep: KeepRules;
  readonly loss: LossConstants;
  /** Bytes to free; null: the whole frontier. */
  readonly free: number | null;
  readonly maxLoss: number | null;
  readonly include: ReadonlySet<string>;
  /** Fill in each step's `explain`: it asks for every layer who else needs it. */
  readonly explain: boolean;
  /** For the search for a proof. */
  readonly timeMs: number;
}

export interface PlanStep {
  readonly kind: "image" | "orphan";
  readonly node: NodeId;
  /** Image ID, or the path of an orphan. */
  readonly id: string;
  readonly names: readonly string[];
  readonly source: string;
  /** Freed once this and all steps before it are done. */
  readonly frees: Size;
  readonly cumulative: Size;
  readonly loss: number;
  readonly why: readonly string[];
  /** For `--explain`: what each term of the loss is, and what of it stays because others need it. */
  readonly explain: readonly string[];
}

export interface PlanResult {
  readonly target: number | null;
  readonly reachable: boolean;
  readonly reclaimed: Size;
  readonly loss: number;
  readonly optimal: boolean;
  /** As a part of the loss; null where nothing was to be proven. */
  readonly gap: number | null;
  readonly bound: number | null;
  readonly steps: readonly PlanStep[];
  readonly kept: readonly { readonly node: NodeId; readonly id: string; readonly because: string }[];
  /** Numbers of steps after which stopping makes sense. */
  readonly knees: readonly number[];
}

export async function plan(holdings: Holdings, options: PlanOptions, run: Run): Promise<PlanResult> {
  const kept = keptImages(holdings, options.keep, run.now);
  const terms = termsOf(holdings, options.loss, run.now);
  const never = holdings.images.filter((id) => holdings.image(id).pullable === false && !kept.has(id));
  // What cannot be had again is not touched as long as the rest reaches the target.
  const first = buildProblem(holdings, options, terms, new Set([...kept.keys(), ...never]));
  if (options.free === null && options.maxLoss === null) {
    const all = never.length > 0 ? buildProblem(holdings, options, terms, new Set(kept.keys())) : first;
    return wholeFrontier(holdings, options, terms, all, kept);
  }
  let found = await solve(first, options, run);
  let model = first;
  if (found.choice === null && never.length > 0) {
    model = buildProblem(holdings, options, terms, new Set(kept.keys()));
    found = await solve(model, options, run);
  }
  const best =
    found.choice === null ? frontierUnits(model) : found.choice.items.map((item) => model.units[item]!);
  const steps = describe(holdings, options, terms, inOrder(holdings, options, terms, best));
  const loss = steps.reduce((sum, step) => sum + step.loss, 0);
  return {
    target: options.free,
    reachable: found.choice !== null,
    reclaimed: steps[steps.length - 1]?.cumulative ?? NOTHING,
    loss,
    optimal: found.choice !== null && found.optimal,
    gap: found.choice === null ? null : found.gap,
    bound: Number.isFinite(found.bound) ? found.bound : null,
    steps,
    kept: keptList(holdings, kept),
    knees: [],
  };
}

function keptList(holdings: Holdings, kept: ReadonlyMap<NodeId, string>): PlanResult["kept"] {
  return [...kept].map(([node, because]) => ({ node, id: holdings.image(node).imageId, because }));
}

function wholeFrontier(
  holdings: Holdings,
  options: PlanOptions,
  terms: readonly LossTerms[],
  model: Model,
  kept: ReadonlyMap<NodeId, string>,
): PlanResult {
  const steps = describe(holdings, options, terms, frontierUnits(model));
  const curve = steps.map((step) => ({ gain: held(step.frees), cost: step.loss }));
  return {
    target: null,
    reachable: true,
    reclaimed: steps[steps.length - 1]?.cumulative ?? NOTHING,
    loss: steps.reduce((sum, step) => sum + step.loss, 0),
    optimal: false,
    gap: null,
    bound: null,
    steps,
    kept: keptList(holdings, kept),
    knees: steps.length > 2 ? knees(curve) : [],
  };
}

async function solve(model: Model, options: PlanOptions, run: Run) {
  const { problem } = model;
  const targets = options.free === null ? [] : [{ gain: problem.gain, atLeast: options.free }];
  const limits = { timeMs: options.timeMs, gap: 0 };
  const maxCost = options.free === null ? options.maxLoss : null;
  const found = await run.pool.run("solve", { problem, targets, maxCost, limits });
  const tooDear =
    options.free !== null && options.maxLoss !== null && (found.choice?.cost ?? 0) > options.maxLoss;
  return tooDear ? { ...found, choice: null } : found;
}

/** The integer program, and which nodes its items stand for. */
interface Model {
  readonly problem: ClosureProblem;
  readonly units: readonly NodeId[];
}

/** Loss terms by an image's place among all images. */
function termsOf(holdings: Holdings, constants: LossConstants, now: Date): LossTerms[] {
  const superseded = supersededImages(holdings);
  return holdings.images.map((id) =>
    lossTerms(holdings.image(id), superseded.get(id) ?? null, now, constants),
  );
}

/** Images whose place a newer one has taken: without a name where others have one, or older in every repository. */
export function supersededImages(holdings: Holdings): Map<NodeId, string> {
  const newest = new Map([...byRepository(holdings)].map(([repository, ids]) => [repository, ids[0]!]));
  const superseded = new Map<NodeId, string>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    if (image.names.length === 0) {
      superseded.set(id, "untagged");
      continue;
    }
    const newer = image.names.map((name) => newest.get(repositoryOf(name))!);
    if (newer.every((one) => one !== id && isNewer(holdings.image(one), image))) {
      superseded.set(id, `${titleOf(holdings.image(newer[0]!))} is newer`);
    }
  }
  return superseded;
}

function isNewer(a: ImageNode, b: ImageNode): boolean {
  return a.created !== null && b.created !== null && a.created > b.created;
}

/**
 * Items are the images that may go, and orphans. A group is a set of images that need the same bytes: it completes
 * when all of them go. Sets are made of smaller sets, which keeps the program small: see `UserSets.parts`.
 */
function buildProblem(
  holdings: Holdings,
  options: PlanOptions,
  terms: readonly LossTerms[],
  pinned: ReadonlySet<NodeId>,
): Model {
  const wanted = options.include.has("images") ? holdings.images.filter((id) => !pinned.has(id)) : [];
  const orphans = options.include.has("orphans") ? orphansOf(holdings) : [];
  const units = [...wanted, ...orphans];
  const itemOf = new Map(wanted.map((id, item) => [id, item]));
  const users = holdings.users;
  const setCount = users ? users.sets.length : 1;
  const items = units.length;
  // Node `items` never completes: it stands for all that is kept. Set s (s > 0) is node items + s.
  const gain = new Float64Array(items + setCount);
  const cost = new Float64Array(items + setCount);
  holdings.images.forEach((id, unit) => {
    const item = itemOf.get(id);
    const { hardness, likelihood } = terms[unit]!;
    if (item !== undefined) cost[item] = options.loss.perImage * hardness * likelihood;
  });
  orphans.forEach((id, i) => {
    gain[wanted.length + i] = held(holdings.node(id).size);
  });
  const predStart = new Int32Array(setCount + 1);
  const preds: number[] = [];
  const keptUnit = items;
  for (let set = 1; users && set < setCount; set++) {
    predStart[set] = preds.length;
    const { sets, units: single } = users.parts[set]!;
    for (const part of sets) preds.push(items + part);
    for (const unit of single) preds.push(itemOf.get(holdings.images[unit]!) ?? keptUnit);
  }
  predStart[setCount] = preds.length;
  addBytes(holdings, terms, items, gain, cost);
  return {
    problem: { items, groups: setCount, gain, cost, predStart, preds: Int32Array.from(preds) },
    units,
  };
}

/** Puts each node's bytes on the set of images that need it, unless something other than images holds it too. */
function addBytes(
  holdings: Holdings,
  terms: readonly LossTerms[],
  items: number,
  gain: Float64Array,
  cost: Float64Array,
): void {
  const { users, graph } = holdings;
  if (!users) return;
  const others = reachable(graph, (node) => holdings.node(node).kind === "image");
  const weightOf = weightsOf(users, terms);
  graph.nodes.forEach((node, id) => {
    const set = users.setOf[id]!;
    if (set === 0 || others[id]) return;
    gain[items + set]! += held(node.size);
    cost[items + set]! += node.size.apparent * weightOf(set);
  });
}

/** The weight of bytes by the set of images that need them, each worked out once. */
function weightsOf(users: UserSets, terms: readonly LossTerms[]): (set: number) => number {
  const weights = new Map<number, number>();
  return (set) => {
    const weight = weights.get(set) ?? jointWeight([...users.sets[set]!].map((unit) => terms[unit]!));
    weights.set(set, weight);
    return weight;
  };
}

function orphansOf(holdings: Holdings): NodeId[] {
  return holdings.graph.nodes.flatMap((node, id) =>
    !holdings.reached[id] && held(node.size) > 0 ? [id] : [],
  );
}

function frontierUnits(model: Model): NodeId[] {
  return frontier(model.problem).flatMap((step) => step.items.map((item) => model.units[item]!));
}

/** A chosen set in the order of the frontier: what gives most for least comes first. */
function inOrder(
  holdings: Holdings,
  options: PlanOptions,
  terms: readonly LossTerms[],
  chosen: readonly NodeId[],
): NodeId[] {
  const only = new Set(chosen);
  const pinned = new Set(holdings.images.filter((id) => !only.has(id)));
  const ordered = frontierUnits(buildProblem(holdings, options, terms, pinned)).filter((id) => only.has(id));
  const seen = new Set(ordered);
  return [...ordered, ...chosen.filter((id) => !seen.has(id))];
}

/** What each step frees and costs when the steps are done one after the other. */
function describe(
  holdings: Holdings,
  options: PlanOptions,
  terms: readonly LossTerms[],
  order: readonly NodeId[],
): PlanStep[] {
  const marginal = marginalSizes(holdings, terms, order);
  const superseded = supersededImages(holdings);
  const place = new Map(holdings.images.map((id, i) => [id, i]));
  let cumulative = NOTHING;
  return order.map((id, i) => {
    const { frees, loss } = marginal[i]!;
    cumulative = sumSizes([cumulative, frees]);
    const { source } = holdings.storeOf(id);
    const node = holdings.node(id);
    if (node.kind !== "image") {
      const path = node.path === null ? "" : displayPath(node.path);
      const why = ["nothing refers to it"];
      return {
        kind: "orphan",
        node: id,
        id: path,
        names: [],
        source,
        frees,
        cumulative,
        loss: 0,
        why,
        explain: [],
      };
    }
    const term = terms[place.get(id)!]!;
    const own = options.loss.perImage * term.hardness * term.likelihood;
    return {
      kind: "image",
      node: id,
      id: node.imageId,
      names: node.names,
      source,
      frees,
      cumulative,
      loss: Math.round(loss + own),
      why: whyOf(superseded.get(id) ?? null, term, node),
      explain: options.explain ? explainOf(holdings, id, term, frees, loss + own) : [],
    };
  });
}

function whyOf(superseded: string | null, term: LossTerms, image: ImageNode): string[] {
  const reasons = [superseded, term.likelihoodFrom].filter((one) => one !== null);
  if (image.state === "damaged") reasons.unshift("damaged: parts of it are missing");
  return reasons;
}

function explainOf(holdings: Holdings, id: NodeId, term: LossTerms, frees: Size, loss: number): string[] {
  const percent = `${Math.round(term.likelihood * 1000) / 10}%`;
  const lines = [
    `to bring back: ${frees.apparent} bytes, hardness ${term.hardness} (${term.hardnessFrom}), wanted again ${percent} (${term.likelihoodFrom}): loss ${Math.round(loss)}`,
  ];
  const kept = new Map<string, number>();
  for (const layer of holdings.distinctLayers(holdings.image(id))) {
    const others = holdings.usersOf(holdings.layer(layer).blob ?? layer).filter((one) => one !== id);
    if (others.length === 0) continue;
    const more = others.length > 3 ? ` and ${others.length - 3} more` : "";
    const by =
      others
        .slice(0, 3)
        .map((one) => titleOf(holdings.image(one)))
        .join(", ") + more;
    kept.set(by, (kept.get(by) ?? 0) + holdings.layerSize(layer).apparent);
  }
  for (const [by, bytes] of kept) lines.push(`${bytes} bytes of its layers are also needed by ${by}`);
  return lines;
}

/** Bytes and loss that each deletion adds to those before it: a set's bytes go with the last of its images. */
function marginalSizes(
  holdings: Holdings,
  terms: readonly LossTerms[],
  order: readonly NodeId[],
): { frees: Size; loss: number }[] {
  const { users, graph } = holdings;
  const others = reachable(graph, (node) => holdings.node(node).kind === "image");
  const rank = new Map(order.map((id, i) => [id, i]));
  const freed: { sizes: Size[]; loss: number }[] = order.map(() => ({ sizes: [], loss: 0 }));
  const lastOf = new Map<number, number>();
  for (const [set, members] of users?.sets.entries() ?? []) {
    let last = set === 0 ? Number.POSITIVE_INFINITY : -1;
    for (const unit of members)
      last = Math.max(last, rank.get(holdings.images[unit]!) ?? Number.POSITIVE_INFINITY);
    if (last >= 0 && Number.isFinite(last)) lastOf.set(set, last);
  }
  const weightOf = users ? weightsOf(users, terms) : () => 0;
  graph.nodes.forEach((node, id) => {
    const own = rank.get(id);
    if (own !== undefined && node.kind !== "image") freed[own]!.sizes.push(node.size);
    const set = users?.setOf[id] ?? 0;
    const last = lastOf.get(set);
    if (last === undefined || others[id]) return;
    freed[last]!.sizes.push(node.size);
    freed[last]!.loss += node.size.apparent * weightOf(set);
  });
  return freed.map(({ sizes, loss }) => ({ frees: sumSizes(sizes), loss }));
}
