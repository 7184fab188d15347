/** What the bytes of a store are worth to a plan: freed and lost, by the set of images that need them. */
import { addSizes, type ImageNode, NOTHING, type NodeId, type Size } from "../graph/graph.ts";
import { reachable, type UserSets } from "../graph/sharing.ts";
import { type Holdings, titleOf } from "./holdings.ts";
import { byRepository, compareTimes, repositoryIn } from "./keep.ts";
import { jointWeight, type LossConstants, type LossTerms, lossTerms, otherTerms } from "./loss.ts";

export interface Ledger {
  readonly users: UserSets;
  /** By set of users: bytes that go when all of its images go. */
  readonly frees: readonly Size[];
  /** By set of users: whole bytes, so that plans are compared exactly. */
  readonly loss: readonly number[];
  /** By a unit's place: what losing it costs beside its bytes. */
  readonly unitLoss: readonly number[];
  readonly terms: readonly LossTerms[];
  /** Why an image has been replaced, for those that have. */
  readonly superseded: ReadonlyMap<NodeId, string>;
  readonly constants: LossConstants;
  readonly now: Date;
  /** A unit's place among all units: its number in sets. */
  readonly place: ReadonlyMap<NodeId, number>;
}

/** `apart`: nodes that are items of their own, and so belong to no set. */
export function makeLedger(
  holdings: Holdings,
  constants: LossConstants,
  now: Date,
  apart: (id: NodeId) => boolean = () => false,
): Ledger {
  const superseded = supersededImages(holdings);
  const terms = holdings.units.map((id) => {
    const node = holdings.node(id);
    if (node.kind !== "image") return otherTerms(node, now, constants);
    return lossTerms(node, superseded.get(id) ?? null, now, constants);
  });
  const users = holdings.unitSets ?? nobody(holdings);
  const frees: Size[] = users.sets.map(() => NOTHING);
  const { graph } = holdings;
  const place = new Map(holdings.units.map((id, i) => [id, i]));
  // What something other than a unit holds as well does not go with any of them.
  const others = reachable(graph, (node) => place.has(node));
  graph.nodes.forEach((node, id) => {
    const set = users.setOf[id]!;
    if (set !== 0 && !others[id] && !apart(id)) frees[set] = addSizes(frees[set]!, node.size);
  });
  const loss = users.sets.map((members, set) => {
    const bytes = frees[set]!.apparent;
    return bytes === 0 ? 0 : Math.round(bytes * jointWeight([...members].map((unit) => terms[unit]!)));
  });
  const unitLoss = terms.map((term) => Math.round(constants.perImage * term.hardness * term.likelihood));
  return { users, frees, loss, unitLoss, terms, superseded, constants, now, place };
}

/** Stands in where a graph is too entangled to say who needs what: then nothing is known to be freed. */
function nobody(holdings: Holdings): UserSets {
  const setOf = new Int32Array(holdings.graph.nodes.length);
  return { setOf, sets: [new Int32Array(0)], parts: [{ sets: [], units: [] }] };
}

/** Images whose place a newer one has taken: without a name, or older in each of their repositories. */
function supersededImages(holdings: Holdings): Map<NodeId, string> {
  const newest = new Map([...byRepository(holdings)].map(([repository, ids]) => [repository, ids[0]!]));
  const superseded = new Map<NodeId, string>();
  for (const id of holdings.images) {
    const image = holdings.image(id);
    const { source } = holdings.storeOf(id);
    const newer = image.names.map((name) => newest.get(repositoryIn(name, source))!);
    if (newer.length === 0) superseded.set(id, "untagged");
    else if (newer.every((one) => isNewer(holdings.image(one), image))) {
      superseded.set(id, `${titleOf(holdings.image(newer[0]!))} is newer`);
    }
  }
  return superseded;
}

function isNewer(a: ImageNode, b: ImageNode): boolean {
  return a.created !== null && b.created !== null && compareTimes(a.created, b.created) > 0;
}

/** What losing an item that belongs to no set costs: nothing for an orphan. */
export function lossApart(holdings: Holdings, ledger: Ledger, id: NodeId): number {
  const node = holdings.node(id);
  const { hardness, likelihood } = otherTerms(node, ledger.now, ledger.constants);
  return Math.round(node.size.apparent * hardness * likelihood);
}

/** What deleting `order` one after the other frees and loses at each step: a set's bytes go with the last of its images. */
export function marginals(
  holdings: Holdings,
  ledger: Ledger,
  order: readonly NodeId[],
): { frees: Size; loss: number }[] {
  const rank = new Map(order.map((id, i) => [id, i]));
  const steps = order.map((id) => {
    const place = ledger.place.get(id);
    if (place === undefined) return { frees: holdings.node(id).size, loss: lossApart(holdings, ledger, id) };
    return { frees: NOTHING, loss: ledger.unitLoss[place]! };
  });
  const rankOf = (unit: number): number => rank.get(holdings.units[unit]!) ?? Number.POSITIVE_INFINITY;
  ledger.users.sets.forEach((members, set) => {
    const last = members.reduce((latest, unit) => Math.max(latest, rankOf(unit)), -1);
    const step = steps[last]; // none where an image of the set stays
    if (!step) return;
    step.frees = addSizes(step.frees, ledger.frees[set]!);
    step.loss += ledger.loss[set]!;
  });
  return steps;
}
