/** Which deletions free the most actual space at the least loss. */
import { displayPath } from "../byte-path.ts";
import { addSizes, type ImageNode, NOTHING, type NodeId, type Size } from "../graph/graph.ts";
import type { Run } from "../run.ts";
import { frontier, knees } from "../solver/frontier.ts";
import type { ClosureProblem } from "../solver/problem.ts";
import type { Proof } from "../solver/solve.ts";
import type { Store } from "../stores/store.ts";
import { held } from "./df.ts";
import { type Holdings, titleOf } from "./holdings.ts";
import { type KeepRules, keptImages } from "./keep.ts";
import { type Ledger, makeLedger, marginals } from "./ledger.ts";
import type { LossConstants, LossTerms } from "./loss.ts";

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
  const ledger = makeLedger(holdings, options.loss, run.now);
  const { because: kept, idle: idleRules } = keptImages(holdings, options.keep, run.now);
  const orphans = options.include.has("orphans") ? orphansOf(holdings) : NO_ORPHANS;
  const images = options.include.has("images") ? holdings.images.filter((id) => !kept.has(id)) : [];
  const whole = buildModel(holdings, ledger, images, orphans.free);
  const asked = options.free !== null || options.maxLoss !== null;
  const { model, proof, leastLoss } = asked ? await search() : { model: whole, proof: null, leastLoss: null };
  const chosen = proof?.choice ? proof.choice.items.map((item) => model.units[item]!) : null;
  const order = chosen ? inOrder(holdings, ledger, chosen) : bundles(model);
  const steps = describe(holdings, ledger, options.explain, order);
  const curve = steps.map((step) => ({ gain: held(step.frees), cost: step.loss }));
  return {
    target: options.free,
    reachable: !asked || (proof?.choice != null && leastLoss === null),
    reclaimed: steps[steps.length - 1]?.cumulative ?? NOTHING,
    loss: steps.reduce((sum, step) => sum + step.loss, 0),
    optimal: proof?.choice != null && proof.optimal,
    gap: proof?.choice ? proof.gap : null,
    bound: proof && Number.isFinite(proof.bound) ? proof.bound : null,
    steps,
    kept: [...[...kept].map(([id, because]) => keptJson(holdings.image(id), because)), ...orphans.kept],
    knees: !asked && steps.length > 2 ? knees(curve) : [],
    leastLoss,
    idleRules,
  };

  /** What cannot be had again is not touched as long as the rest reaches the target. */
  async function search(): Promise<{ model: Model; proof: Proof; leastLoss: number | null }> {
    const again = images.filter((id) => holdings.image(id).pullable !== false);
    const models =
      again.length < images.length ? [buildModel(holdings, ledger, again, orphans.free), whole] : [whole];
    let last = { model: whole, proof: UNREACHED };
    for (const model of models) {
      last = { model, proof: await solve(model, options.free, options.maxLoss, run, options.timeMs) };
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

function keptJson(image: ImageNode, because: string): PlanResult["kept"][number] {
  return { id: image.imageId, title: titleOf(image), because };
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
 * Items are the images that may go, and orphans. A group is a set of images that need the same bytes: it completes
 * when all of them go. Sets are made of smaller sets, which keeps the program small: see `UserSets.parts`.
 */
function buildModel(
  holdings: Holdings,
  ledger: Ledger,
  images: readonly NodeId[],
  orphans: readonly NodeId[],
): Model {
  const units = [...images, ...orphans];
  const items = units.length;
  const { sets, parts } = ledger.users;
  const gain = new Float64Array(items + sets.length);
  const cost = new Float64Array(items + sets.length);
  units.forEach((id, item) => {
    const place = ledger.place.get(id);
    if (place === undefined) gain[item] = held(holdings.node(id).size);
    else cost[item] = ledger.imageLoss[place]!;
  });
  const itemOf = new Map(images.map((id, item) => [id, item]));
  const predStart = new Int32Array(sets.length + 1);
  const preds: number[] = [];
  // Set s is node items + s. Set 0, which has no members and so never completes, stands for all that stays.
  for (let set = 1; set < sets.length; set++) {
    predStart[set] = preds.length;
    for (const part of parts[set]!.sets) preds.push(items + part);
    for (const unit of parts[set]!.units) preds.push(itemOf.get(holdings.images[unit]!) ?? items);
    gain[items + set] = held(ledger.frees[set]!);
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
  const lacking = new Map<Store, string>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    if (image.absent.some((one) => one.verdict === "missing"))
      lacking.set(holdings.storeOf(id), titleOf(image));
  }
  const free: NodeId[] = [];
  const kept: PlanResult["kept"][number][] = [];
  holdings.graph.nodes.forEach((node, id) => {
    if (holdings.reached[id] || held(node.size) === 0) return;
    const title = lacking.get(holdings.storeOf(id));
    const path = node.path === null ? "" : displayPath(node.path);
    if (title === undefined) free.push(id);
    else kept.push({ id: path, title: path, because: `it may be what ${title} lacks; ullage verify tells` });
  });
  return { free, kept };
}

/** The frontier: what goes together because it pays only together is one bundle. */
function bundles(model: Model): NodeId[][] {
  return frontier(model.problem).map((step) => step.items.map((item) => model.units[item]!));
}

/** A chosen set in the order of the frontier: what gives most for least comes first. */
function inOrder(holdings: Holdings, ledger: Ledger, chosen: readonly NodeId[]): NodeId[][] {
  const isImage = (id: NodeId): boolean => ledger.place.has(id);
  const model = buildModel(
    holdings,
    ledger,
    chosen.filter(isImage),
    chosen.filter((id) => !isImage(id)),
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
    if (node.kind !== "image") {
      const path = node.path === null ? "" : displayPath(node.path);
      return { ...base, kind: "orphan", id: path, names: [], why: ["nothing refers to it"], explain: null };
    }
    return {
      ...base,
      kind: "image",
      id: node.imageId,
      names: node.names,
      why: joined[i]
        ? [...reasons(ledger, id, node), "pays together with the next"]
        : reasons(ledger, id, node),
      explain: explain ? explanation(holdings, ledger, id, frees) : null,
    };
  });
}

function reasons(ledger: Ledger, id: NodeId, image: ImageNode): string[] {
  const { likelihoodFrom } = ledger.terms[ledger.place.get(id)!]!;
  const damaged = image.state === "damaged" ? "damaged: parts of it are missing" : null;
  return [damaged, ledger.superseded.get(id) ?? null, likelihoodFrom].filter((one) => one !== null);
}

function explanation(holdings: Holdings, ledger: Ledger, id: NodeId, frees: Size): Explanation {
  const kept = new Map<string, { titles: string[]; bytes: number }>();
  for (const layer of holdings.distinctLayers(holdings.image(id))) {
    const others = holdings.usersOf(holdings.layer(layer).blob ?? layer).filter((one) => one !== id);
    if (others.length === 0) continue;
    const key = others.join(",");
    const titles = kept.get(key)?.titles ?? others.map((one) => titleOf(holdings.image(one)));
    kept.set(key, { titles, bytes: (kept.get(key)?.bytes ?? 0) + holdings.layerSize(layer).apparent });
  }
  const terms = ledger.terms[ledger.place.get(id)!]!;
  return { ...terms, bytes: frees.apparent, perImage: ledger.constants.perImage, keptBy: [...kept.values()] };
}
