/**
 * What deleting costs, in bytes: those that would have to be brought back, times how hard that is, times how likely
 * it is that they are wanted again. The constants stand here alone, each with its reason; `--loss FILE` overrides them.
 */
import type { ImageNode, StoreNode } from "../graph/graph.ts";

export interface LossConstants {
  /** A registry is on record: pulling again brings it back as it was. The unit that the others are measured in. */
  readonly hardnessPullable: number;
  /** Nothing tells where it came from: most images come from a registry, some were built here. */
  readonly hardnessUnknown: number;
  /** Built here and never pushed: gone for good but for a rebuild, which gives other bytes. */
  readonly hardnessLocal: number;
  /** A build runs its steps again: what it was made from is still there, and it gives nearly the same. */
  readonly hardnessCache: number;
  /** A container's changes and a volume's data are nowhere else, and nothing makes them again. */
  readonly hardnessData: number;
  /** A log cannot be had again, and is seldom asked for. */
  readonly hardnessLog: number;
  /** A newer build has taken its name, so nobody will ask for it by that name. */
  readonly supersededFactor: number;
  /** Days without use after which an image is half as likely to be wanted: a sprint or two; most CI images live less. */
  readonly halfLifeDays: number;
  /** Even the oldest image may be the one that is wanted. */
  readonly leastLikelihood: number;
  /** For an image that bears no date: as if one half-life had gone by. */
  readonly unknownLikelihood: number;
  /** Bytes that losing any image costs beside its own: a name, a config, somebody's attention. */
  readonly perImage: number;
}

export const DEFAULT_LOSS: LossConstants = {
  hardnessPullable: 1,
  hardnessUnknown: 2,
  hardnessLocal: 10,
  hardnessCache: 3,
  hardnessData: 100,
  hardnessLog: 5,
  supersededFactor: 0.5,
  halfLifeDays: 30,
  leastLikelihood: 0.01,
  unknownLikelihood: 0.5,
  perImage: 4096,
};

/** One image's terms; its loss is bytes times `hardness` times `likelihood`. */
export interface LossTerms {
  readonly hardness: number;
  readonly hardnessFrom: string;
  readonly likelihood: number;
  readonly likelihoodFrom: string;
}

/** Dates before Docker's first release are no evidence: reproducible builds write 1970 or 1980. */
const FIRST_IMAGE = Date.parse("2013-03-20T00:00:00Z");
const DAY = 86_400_000;

/** The last time that an image is known to have mattered; null where nothing tells. */
export function evidenceOf(image: ImageNode): { at: Date; from: string } | null {
  const { lastUsed, created } = image;
  const at = lastUsed ? new Date(lastUsed.at) : created ? new Date(created) : null;
  if (!at || !(at.getTime() >= FIRST_IMAGE)) return null;
  return { at, from: lastUsed?.from ?? "created" };
}

export function lossTerms(
  image: ImageNode,
  superseded: string | null,
  now: Date,
  constants: LossConstants,
): LossTerms {
  const { pullable } = image;
  const base =
    pullable === null
      ? constants.hardnessUnknown
      : pullable
        ? constants.hardnessPullable
        : constants.hardnessLocal;
  const from =
    pullable === null
      ? "no record of a registry"
      : pullable
        ? "a registry has it"
        : "built here, never pushed";
  return {
    hardness: superseded ? base * constants.supersededFactor : base,
    hardnessFrom: superseded ? `${base}: ${from}; x ${constants.supersededFactor}: ${superseded}` : from,
    ...likelihoodOf(evidenceOf(image), now, constants),
  };
}

/** What is worth bringing back beside images. */
export function otherTerms(node: StoreNode, now: Date, constants: LossConstants): LossTerms {
  switch (node.kind) {
    case "cache":
      return {
        hardness: constants.hardnessCache,
        hardnessFrom: "made again by the next build that wants it",
        ...likelihoodOf(
          dated(node.lastUsed ?? node.created, node.lastUsed ? "last used" : "created"),
          now,
          constants,
        ),
      };
    case "container":
      return {
        hardness: constants.hardnessData,
        hardnessFrom: "its changes are nowhere else",
        ...likelihoodOf(dated(node.lastUsed, "last ran"), now, constants),
      };
    case "volume":
      return {
        hardness: constants.hardnessData,
        hardnessFrom: "its data are nowhere else",
        likelihood: constants.unknownLikelihood,
        likelihoodFrom: "nothing tells when it was last used",
      };
    case "files":
      if (node.heading !== "logs") break;
      return {
        hardness: constants.hardnessLog,
        hardnessFrom: "written once",
        likelihood: constants.unknownLikelihood,
        likelihoodFrom: "nothing tells who reads it",
      };
  }
  return { hardness: 0, hardnessFrom: "nothing wants it", likelihood: 0, likelihoodFrom: "nothing wants it" };
}

function dated(time: string | null, from: string): { at: Date; from: string } | null {
  const at = time === null ? null : new Date(time);
  return at && at.getTime() >= FIRST_IMAGE ? { at, from } : null;
}

function likelihoodOf(
  evidence: { at: Date; from: string } | null,
  now: Date,
  constants: LossConstants,
): Pick<LossTerms, "likelihood" | "likelihoodFrom"> {
  const age = evidence ? Math.max(0, (now.getTime() - evidence.at.getTime()) / DAY) : null;
  const decayed = age === null ? constants.unknownLikelihood : 0.5 ** (age / constants.halfLifeDays);
  return {
    likelihood: Math.max(constants.leastLikelihood, decayed),
    likelihoodFrom: evidence ? `${evidence.from} ${daysAgo(Math.floor(age!))}` : "no date to go by",
  };
}

function daysAgo(days: number): string {
  return days === 0 ? "today" : days === 1 ? "yesterday" : `${days} days ago`;
}

/**
 * The weight of bytes that several images need, all of which go: the chance that any of them is wanted again, times
 * the easiest way to bring the bytes back.
 */
export function jointWeight(terms: readonly LossTerms[]): number {
  let unwanted = 1;
  let hardness = Number.POSITIVE_INFINITY;
  for (const term of terms) {
    unwanted *= 1 - term.likelihood;
    hardness = Math.min(hardness, term.hardness);
  }
  return (1 - unwanted) * hardness;
}
