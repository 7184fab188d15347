/** Rules that keep images whatever they would free. */
import { UsageError } from "../errors.ts";
import type { ImageNode, NodeId } from "../graph/graph.ts";
import { type Holdings, shortId } from "./holdings.ts";
import { evidenceOf } from "./loss.ts";

export interface KeepRules {
  /** Globs over names, or beginnings of IDs. */
  readonly patterns: readonly string[];
  /** Lines of docker-gc's exclude file. */
  readonly excludes: readonly string[];
  /** Newest images to keep of each repository. */
  readonly lastOfRepository: number;
  /** Milliseconds since creation below which an image is kept. */
  readonly minAgeMs: number | null;
  /** Milliseconds without use below which an image is kept. */
  readonly unusedForMs: number | null;
}

export interface Kept {
  /** Why each kept image is kept; images without an entry may go. */
  readonly because: ReadonlyMap<NodeId, string>;
  /** Patterns and lines that match no image at all. */
  readonly idle: readonly string[];
}

export function keptImages(holdings: Holdings, rules: KeepRules, now: Date): Kept {
  const kept = new Map<NodeId, string>();
  const globs = rules.patterns.map((pattern) => ({ pattern, regex: globToRegex(pattern) }));
  const excludes = rules.excludes.map((line) => ({ line, regex: basicRegex(line) }));
  const newest = newestOf(holdings, rules.lastOfRepository);
  for (const id of holdings.images) {
    const image = holdings.image(id);
    const because =
      unreadable(image) ??
      matchedBy(image, globs) ??
      excludedBy(image, excludes) ??
      (newest.has(id)
        ? `among the newest of its repository (--keep-last ${rules.lastOfRepository})`
        : null) ??
      tooYoung(image, rules.minAgeMs, now, "--min-age") ??
      usedSince(image, rules.unusedForMs, now);
    if (because !== null) kept.set(id, because);
  }
  const images = holdings.images.map((id) => holdings.image(id));
  const idle = [
    ...globs
      .filter((glob) => !images.some((image) => matchedBy(image, [glob])))
      .map((glob) => `--keep ${glob.pattern}`),
    ...excludes
      .filter((one) => !images.some((image) => excludedBy(image, [one])))
      .map((one) => `${one.line} of --keep-file`),
  ];
  return { because: kept, idle };
}

/** What could not be read is never chosen: nobody knows what would go with it. */
function unreadable(image: ImageNode): string | null {
  const part = image.absent.find((one) => one.verdict === "unreadable" || one.verdict === "truncated");
  return part ? `part of it could not be read: ${part.because}` : null;
}

function matchedBy(image: ImageNode, globs: readonly { pattern: string; regex: RegExp }[]): string | null {
  const bare = image.imageId.slice(image.imageId.indexOf(":") + 1);
  for (const { pattern, regex } of globs) {
    const id = pattern.replace(/^sha256:/, "");
    const isId = /^[0-9a-f]{6,64}$/.test(id) && bare.startsWith(id);
    if (isId || image.names.some((name) => regex.test(name) || regex.test(repositoryOf(name)))) {
      return `matches --keep ${pattern}`;
    }
  }
  return null;
}

/** `*` and `?` match any characters, as in `--keep "shop/*:1.*"`; the whole name or its repository must match. */
function globToRegex(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`);
}

/** docker-gc greps each line, a space on either side, in " REPOSITORY:TAG SHORTID "; a match keeps all names of the ID. */
function excludedBy(image: ImageNode, excludes: readonly { line: string; regex: RegExp }[]): string | null {
  const names = image.names.length > 0 ? image.names : ["<none>:<none>"];
  for (const { line, regex } of excludes) {
    if (names.some((name) => regex.test(` ${name} ${shortId(image.imageId)} `)))
      return `matches ${line} of --keep-file`;
  }
  return null;
}

/**
 * A POSIX basic regular expression with GNU grep's additions as a JavaScript one: there `+ ? | ( ) { }` are
 * ordinary characters, and operators only behind a backslash.
 */
function basicRegex(line: string): RegExp {
  const source = ` ${line} `.replace(
    /\\(.)|\[(?:\^?\]?[^\]]*)\]|[+?|(){}]/g,
    (match, escaped: string | undefined) => {
      if (escaped !== undefined) return /[+?|(){}]/.test(escaped) ? escaped : match;
      return match.startsWith("[") ? match : `\\${match}`;
    },
  );
  try {
    return new RegExp(source);
  } catch (error) {
    throw new UsageError(`--keep-file: not a regular expression: ${line}`, { cause: error });
  }
}

/** The name without its tag or digest. */
export function repositoryOf(name: string): string {
  const withoutDigest = name.split("@", 1)[0]!;
  const colon = withoutDigest.lastIndexOf(":");
  return colon > withoutDigest.lastIndexOf("/") ? withoutDigest.slice(0, colon) : withoutDigest;
}

/** {@link repositoryOf}, or the source for a name that is a tag alone. */
export function repositoryIn(name: string, source: string): string {
  return /[:/@]/.test(name) ? repositoryOf(name) : source;
}

/** Negative where `a` is earlier; RFC 3339 in UTC with fractions of any length; null is before all. */
export function compareTimes(a: string | null, b: string | null): number {
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  const fraction = (text: string): number => Number(`0${/\.\d+/.exec(text)?.[0] ?? ""}`);
  return Date.parse(`${a.slice(0, 19)}Z`) - Date.parse(`${b.slice(0, 19)}Z`) || fraction(a) - fraction(b);
}

function newestOf(holdings: Holdings, count: number): Set<NodeId> {
  const newest = new Set<NodeId>();
  if (count <= 0) return newest;
  for (const ids of byRepository(holdings).values()) for (const id of ids.slice(0, count)) newest.add(id);
  return newest;
}

/** Images of each repository, newest first; those without a date last. */
export function byRepository(holdings: Holdings): Map<string, NodeId[]> {
  const repositories = new Map<string, NodeId[]>();
  for (const id of holdings.images) {
    // A layout may name images by a bare tag: then the layout is the repository.
    const { source } = holdings.storeOf(id);
    for (const repository of new Set(holdings.image(id).names.map((name) => repositoryIn(name, source)))) {
      const known = repositories.get(repository);
      if (known) known.push(id);
      else repositories.set(repository, [id]);
    }
  }
  for (const ids of repositories.values()) {
    ids.sort((a, b) => compareTimes(holdings.image(b).created, holdings.image(a).created) || a - b);
  }
  return repositories;
}

function tooYoung(image: ImageNode, limit: number | null, now: Date, rule: string): string | null {
  if (limit === null) return null;
  if (image.created === null) return `it bears no date (${rule})`;
  return now.getTime() - Date.parse(image.created) < limit
    ? `created ${image.created.slice(0, 10)} (${rule})`
    : null;
}

function usedSince(image: ImageNode, limit: number | null, now: Date): string | null {
  if (limit === null) return null;
  const evidence = evidenceOf(image);
  if (!evidence) return "nothing tells when it was last used (--unused-for)";
  const recent = now.getTime() - evidence.at.getTime() < limit;
  return recent ? `${evidence.from} ${evidence.at.toISOString().slice(0, 10)} (--unused-for)` : null;
}
