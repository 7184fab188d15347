/** Which deletions free the most actual space at the least loss. */
import type { BytePath } from "../byte-path.ts";
import { addSizes, type ImageNode, NOTHING, type NodeId, type Size, type StoreNode } from "../graph/graph.ts";
import { onlyReachedBy } from "../graph/sharing.ts";
import type { Run } from "../run.ts";
import { frontier, knees } from "../solver/frontier.ts";
import type { ClosureProblem } from "../solver/problem.ts";
import type { Proof } from "../solver/solve.ts";
import { held } from "./df.ts";
import { type Holdings, isStopped, unitId, unitTitle, unitTitles } from "./holdings.ts";
import { type KeepRules, keptImages } from "./keep.ts";
import { type Ledger, lossApart, makeLedger, marginals } from "./ledger.ts";
import type { LossConstants, LossTerms } from "./loss.ts";
import { sourcesLacking } from "./orphans.ts";

export interface PlanOptions {
  readonly keep: KeepRules;
  readonly loss: LossConstants;
  /** How much to free; null: the whole frontier. */
  readonly free: number | null;
  /** What `free` counts, and what is got most of for the least loss. */
  readonly gain: "bytes" | "inodes";
  readonly maxLoss: number | null;
  readonly include: ReadonlySet<string>;
  /** Fill in each step's `explain`: it asks for every layer who else needs it. */
  readonly explain: boolean;
  /** For the search for a proof. */
  readonly timeMs: number;
}

export type StepKind = "image" | "container" | "volume" | "cache" | "log" | "orphan";

export interface PlanStep {
  readonly kind: StepKind;
  readonly node: NodeId;
  /** As its engine knows it; the path of an orphan or a log. */
  readonly id: string;
  readonly names: readonly string[];
  /** Places inside the source that go with it; none where a command of the engine removes it. */
  readonly paths: readonly BytePath[];
  readonly source: string;
  /** Freed once this and all steps before it are done. */
  readonly frees: Size;
  readonly cumulative: Size;
  readonly loss: number;
  /** Its bytes are shared with the next step, and go with that one. */
  readonly joined: boolean;
  readonly why: readonly string[];
  /** Null where it was not asked for, and for orphans. */
  readonly explain: Explanation | null;
}

/** The terms of an image's loss, and what of it stays because others need it. */
export interface Explanation extends LossTerms {
  /** Bytes to bring back: those that this step frees, and what losing any image counts as. */
  readonly bytes: number;
  readonly perImage: number;
  readonly keptBy: readonly { readonly titles: readonly string[]; readonly bytes: number }[];
}

export interface PlanResult {
  readonly target: number | null;
  readonly gain: PlanOptions["gain"];
  readonly reachable: boolean;
  readonly reclaimed: Size;
  readonly loss: number;
  readonly optimal: boolean;
  /** As a part of the loss; null where nothing was to be proven. */
  readonly gap: number | null;
  readonly bound: number | null;
  readonly steps: readonly PlanStep[];
  readonly kept: readonly { readonly id: string; readonly title: string; readonly because: string }[];
  /** Numbers of steps after which stopping makes sense. */
  readonly knees: readonly number[];
  /** The least loss at which the target can be had, where that is above `maxLoss`. */
  readonly leastLoss: number | null;
  /** Keep rules that match no image. */
  readonly idleRules: readonly string[];
}

export async function plan(holdings: Holdings, options: PlanOptions, run: Run): Promise<PlanResult> {
  const { include } = options;
  const logs = include.has("logs") ? logsOf(holdings) : [];
  const isLog = new Set(logs);
  const ledger = makeLedger(holdings, options.loss, run.now, (id) => isLog.has(id));
  const { because: rules, idle: idleRules } = keptImages(holdings, options.keep, run.now);
  const kept = new Map([...rules, ...inUse(holdings, include)]);
  const orphans = include.has("orphans") ? orphansOf(holdings) : NO_ORPHANS;
  const units = holdings.units.filter((id) => isChoosable(holdings, id, include, kept));
  const apart = [...orphans.free, ...logs];
  const gainOf = options.gain === "inodes" ? (size: Size): number => size.inodes ?? 0 : held;
  const model = (chosen: readonly NodeId[]): Model => buildModel(holdings, ledger, chosen, apart, gainOf);
  const whole = model(units);
  const asked = options.free !== null || options.maxLoss !== null;
  const found = asked ? await search() : { model: whole, proof: null, leastLoss: null };
  const { proof, leastLoss } = found;
  const chosen = proof?.choice ? proof.choice.items.map((item) => found.model.units[item]!) : null;
  const order = chosen ? inOrder(holdings, ledger, chosen, gainOf) : bundles(found.model);
  const steps = describe(holdings, ledger, options.explain, order);
  const curve = steps.map((step) => ({ gain: gainOf(step.frees), cost: step.loss }));
  return {
    target: options.free,
    gain: options.gain,
    reachable: !asked || (proof?.choice != null && leastLoss === null),
    reclaimed: steps[steps.length - 1]?.cumulative ?? NOTHING,
    loss: steps.reduce((sum, step) => sum + step.loss, 0),
    optimal: proof?.choice != null && proof.optimal,
    gap: proof?.choice ? proof.gap : null,
    bound: proof && Number.isFinite(proof.bound) ? proof.bound : null,
    steps,
    kept: [...[...kept].map(([id, because]) => ({ ...titled(holdings.node(id)), because })), ...orphans.kept],
    knees: !asked && steps.length > 2 ? knees(curve) : [],
    leastLoss,
    idleRules,
  };

  /** What cannot be had again is not touched as long as the rest reaches the target. */
  async function search(): Promise<{ model: Model; proof: Proof; leastLoss: number | null }> {
    const again = units.filter((id) => !isGoneForGood(holdings.node(id)));
    const models = again.length < units.length ? [model(again), whole] : [whole];
    let last = { model: whole, proof: UNREACHED };
    for (const one of models) {
      last = { model: one, proof: await solve(one, options.free, options.maxLoss, run, options.timeMs) };
      if (last.proof.choice) break;
    }
    const cost = last.proof.choice?.cost ?? 0;
    if (options.free === null || options.maxLoss === null || cost <= options.maxLoss)
      return { ...last, leastLoss: null };
    const within = await solve(last.model, null, options.maxLoss, run, options.timeMs);
    return { model: last.model, proof: within, leastLoss: cost };
  }
}

const UNREACHED: Proof = { choice: null, bound: Number.POSITIVE_INFINITY, gap: 0, optimal: true };

/** Whether deleting it loses what nothing on record could bring back. */
function isGoneForGood(node: StoreNode): boolean {
  if (node.kind === "image") return node.pullable === false;
  return node.kind === "container" || node.kind === "volume";
}

/** What an engine would refuse to delete, and what ran when it was last written down. */
function inUse(holdings: Holdings, include: ReadonlySet<string>): Map<NodeId, string> {
  const kept = new Map<NodeId, string>();
  for (const id of holdings.units) {
    const node = holdings.node(id);
    if (node.kind === "container" && include.has("containers") && !isStopped(node))
      kept.set(id, `it is ${node.state ?? "in a state that cannot be read"}`);
    if (node.kind !== "image" && !(node.kind === "volume" && include.has("volumes"))) continue;
    const users = holdings.containersOf(id);
    const holding = include.has("containers") ? users.filter((one) => !isStopped(one)) : users;
    const [first] = holding;
    if (!first) continue;
    const more = holding.length > 1 ? ` and ${holding.length - 1} more` : "";
    kept.set(id, `used by container ${first.name} (${first.state ?? "unknown"})${more}`);
  }
  return kept;
}

const INCLUDED_AS = { image: "images", container: "containers", volume: "volumes", cache: "cache" } as const;

function isChoosable(
  holdings: Holdings,
  id: NodeId,
  include: ReadonlySet<string>,
  kept: ReadonlyMap<NodeId, string>,
): boolean {
  const node = holdings.node(id);
  if (kept.has(id)) return false;
  if (node.orphan) return include.has("orphans") && node.orphan.safe;
  return node.kind in INCLUDED_AS && include.has(INCLUDED_AS[node.kind as keyof typeof INCLUDED_AS]);
}

function logsOf(holdings: Holdings): NodeId[] {
  return holdings.graph.nodes.flatMap((node, id) =>
    node.heading === "logs" && held(node.size) > 0 ? [id] : [],
  );
}

/** The least loss that frees `free` bytes; without a target, the most bytes within a loss of `maxLoss`. */
async function solve(
  { problem }: Model,
  free: number | null,
  maxLoss: number | null,
  run: Run,
  timeMs: number,
): Promise<Proof> {
  const targets = free === null ? [] : [{ gain: problem.gain, atLeast: free }];
  const maxCost = free === null ? maxLoss : null;
  return run.pool.run("solve", { problem, targets, maxCost, limits: { timeMs, gap: 0 } });
}

/** The integer program, and which nodes its items stand for. */
interface Model {
  readonly problem: ClosureProblem;
  readonly units: readonly NodeId[];
}

/**
 * Items are the units that may go, and what stands `apart`: orphans that nothing needs, logs. A group is a set of units
 * that need the same bytes: it completes when all of them go. Sets are made of smaller sets, which keeps the program small: see `UserSets.parts`.
 */
function buildModel(
  holdings: Holdings,
  ledger: Ledger,
  chosen: readonly NodeId[],
  apart: readonly NodeId[],
  gainOf: (size: Size) => number,
): Model {
  const units = [...chosen, ...apart];
  const items = units.length;
  const { sets, parts } = ledger.users;
  const gain = new Float64Array(items + sets.length);
  const cost = new Float64Array(items + sets.length);
  units.forEach((id, item) => {
    const place = ledger.place.get(id);
    if (place !== undefined) cost[item] = ledger.unitLoss[place]!;
    else {
      gain[item] = gainOf(holdings.node(id).size);
      cost[item] = lossApart(holdings, ledger, id);
    }
  });
  const itemOf = new Map(chosen.map((id, item) => [id, item]));
  const predStart = new Int32Array(sets.length + 1);
  const preds: number[] = [];
  // Set s is node items + s. Set 0, which has no members and so never completes, stands for all that stays.
  for (let set = 1; set < sets.length; set++) {
    predStart[set] = preds.length;
    for (const part of parts[set]!.sets) preds.push(items + part);
    for (const unit of parts[set]!.units) preds.push(itemOf.get(holdings.units[unit]!) ?? items);
    gain[items + set] = gainOf(ledger.frees[set]!);
    cost[items + set] = ledger.loss[set]!;
  }
  predStart[sets.length] = preds.length;
  const problem = { items, groups: sets.length, gain, cost, predStart, preds: Int32Array.from(preds) };
  return { problem, units };
}

interface Orphans {
  readonly free: readonly NodeId[];
  readonly kept: PlanResult["kept"];
}

const NO_ORPHANS: Orphans = { free: [], kept: [] };

/** What nothing refers to may go, unless an image of its source lacks something: this may be it, under another name. */
function orphansOf(holdings: Holdings): Orphans {
  const lacking = sourcesLacking(holdings);
  const free: NodeId[] = [];
  const kept: PlanResult["kept"][number][] = [];
  holdings.graph.nodes.forEach((node, id) => {
    if (holdings.reached[id] || holdings.isHeld(id) || held(node.size) === 0) return;
    const title = lacking.get(holdings.storeOf(id).source);
    if (title === undefined) free.push(id);
    else kept.push({ ...titled(node), because: `it may be what ${title} lacks; ullage verify tells` });
  });
  for (const id of holdings.units) {
    const node = holdings.node(id);
    if (node.orphan?.safe !== false) continue;
    kept.push({
      ...titled(node),
      because: `${node.orphan.cause}: somebody may want it; ullage orphans tells`,
    });
  }
  return { free, kept };
}

function titled(node: StoreNode): { id: string; title: string } {
  return { id: unitId(node), title: unitTitle(node) };
}

/** The frontier: what goes together because it pays only together is one bundle. */
function bundles(model: Model): NodeId[][] {
  return frontier(model.problem).map((step) => step.items.map((item) => model.units[item]!));
}

/** A chosen set in the order of the frontier: what gives most for least comes first. */
function inOrder(
  holdings: Holdings,
  ledger: Ledger,
  chosen: readonly NodeId[],
  gainOf: (size: Size) => number,
): NodeId[][] {
  const isUnit = (id: NodeId): boolean => ledger.place.has(id);
  const model = buildModel(
    holdings,
    ledger,
    chosen.filter(isUnit),
    chosen.filter((id) => !isUnit(id)),
    gainOf,
  );
  const ordered = bundles(model);
  const seen = new Set(ordered.flat());
  return [...ordered, ...chosen.filter((id) => !seen.has(id)).map((id) => [id])];
}

/** What each step frees and costs when the steps are done one after the other. */
function describe(
  holdings: Holdings,
  ledger: Ledger,
  explain: boolean,
  order: readonly NodeId[][],
): PlanStep[] {
  const ids = order.flat();
  const joined = order.flatMap((bundle) => bundle.map((_, i) => i < bundle.length - 1));
  const steps = marginals(holdings, ledger, ids);
  let cumulative = NOTHING;
  return ids.map((id, i): PlanStep => {
    const { frees, loss } = steps[i]!;
    cumulative = addSizes(cumulative, frees);
    const base = {
      node: id,
      source: holdings.storeOf(id).source,
      frees,
      cumulative,
      loss,
      joined: joined[i]!,
    };
    const node = holdings.node(id);
    const why = node.kind === "image" ? reasons(ledger, id, node) : otherReasons(ledger, id, node);
    return {
      ...base,
      kind: stepKind(node),
      id: unitId(node),
      names: node.kind === "image" ? node.names : node.kind === "container" ? [node.name] : [],
      paths: node.orphan || node.kind === "files" || node.kind === "blob" ? [...placesOf(holdings, id)] : [],
      why: joined[i] ? [...why, "pays together with the next"] : why,
      explain: explain && node.kind === "image" ? explanation(holdings, ledger, id, frees) : null,
    };
  });
}

function stepKind(node: StoreNode): StepKind {
  if (node.orphan) return "orphan";
  if (node.kind === "layer" || node.kind === "blob") return "orphan";
  if (node.kind === "files") return node.heading === "logs" ? "log" : "orphan";
  return node.kind;
}

/** The places that go with a leftover: its own, and those of what it alone needs. */
function placesOf(holdings: Holdings, id: NodeId): Set<BytePath> {
  const gone = holdings.isHeld(id) ? onlyReachedBy(holdings.graph, new Set([id])) : [id];
  return new Set(gone.flatMap((one) => holdings.node(one).path ?? []));
}

function otherReasons(ledger: Ledger, id: NodeId, node: StoreNode): string[] {
  if (node.orphan) return [node.orphan.cause, ...node.orphan.evidence.slice(0, 1)];
  const place = ledger.place.get(id);
  if (node.kind === "cache") return [node.description || node.type, ledger.terms[place!]!.likelihoodFrom];
  if (place !== undefined) return [ledger.terms[place]!.likelihoodFrom];
  return [node.kind === "files" && node.heading === "logs" ? node.what : "nothing refers to it"];
}

function reasons(ledger: Ledger, id: NodeId, image: ImageNode): string[] {
  const { likelihoodFrom } = ledger.terms[ledger.place.get(id)!]!;
  const damaged = image.state === "damaged" ? "damaged: parts of it are missing" : null;
  return [damaged, ledger.superseded.get(id) ?? null, likelihoodFrom].filter((one) => one !== null);
}

function explanation(holdings: Holdings, ledger: Ledger, id: NodeId, frees: Size): Explanation {
  const kept = new Map<string, { titles: string[]; bytes: number }>();
  for (const layer of holdings.distinctLayers(holdings.image(id))) {
    const others = holdings.holdersOf(holdings.layer(layer).blob ?? layer).filter((one) => one !== id);
    if (others.length === 0) continue;
    const key = others.join(",");
    const titles = kept.get(key)?.titles ?? unitTitles(others.map((one) => holdings.node(one)));
    kept.set(key, { titles, bytes: (kept.get(key)?.bytes ?? 0) + holdings.layerSize(layer).apparent });
  }
  const terms = ledger.terms[ledger.place.get(id)!]!;
  return { ...terms, bytes: frees.apparent, perImage: ledger.constants.perImage, keptBy: [...kept.values()] };
}
