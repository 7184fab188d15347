/** `--filter` of `docker images`: which images are listed (docker/cli docs, "docker image ls", Filtering). */

import { findImages } from "../analyses/find-image.ts";
import type { Holdings } from "../analyses/holdings.ts";
import type { ImageRow } from "../analyses/images.ts";
import { UsageError } from "../errors.ts";
import { timeOrNull } from "../formats/oci.ts";
import type { ImageNode } from "../graph/graph.ts";
import { parseDuration } from "../views/units.ts";

export type ImageFilter = (rows: readonly ImageRow[], holdings: Holdings) => ImageRow[];

/** Filters of one key are alternatives for `reference`, and must all hold for `label`. Throws UsageError. */
export function imageFilters(texts: readonly string[], now: Date): ImageFilter[] {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    const equals = text.indexOf("=");
    if (equals <= 0) throw new UsageError(`--filter ${text}: expected KEY=VALUE`);
    const key = text.slice(0, equals).toLowerCase();
    values.set(key, [...(values.get(key) ?? []), text.slice(equals + 1)]);
  }
  return [...values].map(([key, list]) => makeFilter(key, list, now));
}

function makeFilter(key: string, values: readonly string[], now: Date): ImageFilter {
  const last = values[values.length - 1]!;
  switch (key) {
    case "dangling": {
      if (!/^(true|false|1|0)$/.test(last))
        throw new UsageError(`--filter dangling=${last}: expected true or false`);
      const wanted = last === "true" || last === "1";
      return (rows) => rows.filter((row) => row.dangling === wanted);
    }
    case "label":
      return (rows) => rows.filter((row) => values.every((value) => hasLabel(row, value)));
    case "reference": {
      const patterns = values.map(referencePattern);
      return (rows) => rows.flatMap((row) => namedAs(row, patterns));
    }
    case "until": {
      const limit = untilTime(last, now);
      return (rows) => rows.filter((row) => timeOf(row.image) < limit);
    }
    case "before":
    case "since":
      return (rows, holdings) => {
        const [other] = findImages(holdings, last);
        const time = timeOf(holdings.image(other!));
        return rows.filter((row) => (key === "before" ? timeOf(row.image) < time : timeOf(row.image) > time));
      };
    default:
      throw new UsageError(`--filter ${key}: there are dangling, label, before, since, until and reference`);
  }
}

/** NaN, which compares as neither before nor after, for an image without a date. */
function timeOf(image: ImageNode): number {
  return image.created === null ? Number.NaN : Date.parse(image.created);
}

/** The row with those of its names that fit a pattern, as Docker lists it; nothing when none does. */
function namedAs(row: ImageRow, patterns: readonly ((name: string) => boolean)[]): ImageRow[] {
  const names = row.image.names.filter((name) => patterns.some((fits) => fits(name)));
  return names.length === 0 ? [] : [{ ...row, image: { ...row.image, names } }];
}

function hasLabel(row: ImageRow, text: string): boolean {
  const equals = text.indexOf("=");
  const value = row.image.labels[equals < 0 ? text : text.slice(0, equals)];
  return value !== undefined && (equals < 0 || value === text.slice(equals + 1));
}

/** Go's path.Match on the whole name or on the repository alone: `*` and `?` stop at a slash. */
function referencePattern(pattern: string): (name: string) => boolean {
  const source = pattern
    .replace(/[.+^${}()|\\]/g, "\\$&")
    .replaceAll("*", "[^/]*")
    .replaceAll("?", "[^/]");
  let regex: RegExp;
  try {
    regex = new RegExp(`^${source}$`);
  } catch (error) {
    throw new UsageError(`--filter reference=${pattern}: not a pattern`, { cause: error });
  }
  return (name) => regex.test(name) || regex.test(name.replace(/:[^:/]*$/, ""));
}

/** A duration back from now, an RFC 3339 time, a date, or seconds since 1970. */
function untilTime(text: string, now: Date): number {
  if (/^[0-9]+$/.test(text)) return Number(text) * 1000;
  const whole = /^\d{4}-\d\d-\d\d$/.test(text)
    ? `${text}T00:00:00Z`
    : /^\d{4}-\d\d-\d\dT[\d:.]+$/.test(text)
      ? `${text}Z`
      : text;
  const time = timeOrNull(whole);
  return time === null ? now.getTime() - parseDuration(text, "--filter until") : Date.parse(time);
}
