/** Bytes, times and counts as text, and back. */
import { UsageError } from "../errors.ts";

export type Units = "si" | "iec" | "bytes";

const SI = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** As Docker prints sizes: three significant digits for SI (`77.8MB`), four for IEC (`74.2MiB`). */
export function formatBytes(bytes: number, units: Units = "si"): string {
  if (units === "bytes") return String(bytes);
  const base = units === "si" ? 1000 : 1024;
  const names = units === "si" ? SI : IEC;
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= base && unit < names.length - 1) {
    value /= base;
    unit++;
  }
  const digits = Number(value.toPrecision(units === "si" ? 3 : 4));
  // 999.9 rounds up to 1000: Go prints 1e+03 there, people want the next unit.
  const text = digits >= base && unit < names.length - 1 ? `1${names[unit + 1]}` : `${digits}${names[unit]}`;
  return bytes < 0 ? `-${text}` : text;
}

const FACTORS: Readonly<Record<string, number>> = Object.fromEntries(
  ["", "k", "m", "g", "t", "p"].flatMap((prefix, power) => [
    [`${prefix}b`, 1000 ** power],
    [prefix, 1000 ** power],
    [`${prefix}ib`, 1024 ** power],
    [`${prefix}i`, 1024 ** power],
  ]),
);

/** Bytes from `20GB`, `15GiB`, `1.5g`, `4096`; null where it is no size. */
export function parseBytes(text: string): number | null {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)$/i.exec(text.trim());
  const factor = match && FACTORS[match[2]!.toLowerCase()];
  if (!match || factor === undefined || factor === null) return null;
  const bytes = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `30%` of `whole`, or a size. Throws UsageError. */
export function parseAmount(text: string, whole: number, option: string): number {
  const percent = /^([0-9]+(?:\.[0-9]+)?)%$/.exec(text.trim());
  if (percent) return Math.ceil((Number(percent[1]) / 100) * whole);
  const bytes = parseBytes(text);
  if (bytes === null) throw new UsageError(`${option} ${text}: expected a size such as 20GB, 15GiB or 30%`);
  return bytes;
}

const SPANS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds from `14d`, `2w`, `1h30m` (Go's durations, with days and weeks). Throws UsageError. */
export function parseDuration(text: string, option: string): number {
  const whole = text.trim();
  if (!/^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w))+$/.test(whole)) {
    throw new UsageError(`${option} ${text}: expected a duration such as 14d, 36h or 1h30m`);
  }
  let sum = 0;
  for (const [, number, unit] of whole.matchAll(/([0-9.]+)(ms|s|m|h|d|w)/g))
    sum += Number(number) * SPANS[unit!]!;
  return sum;
}

/** How long ago, as Docker says it (go-units HumanDuration). */
export function formatAge(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.round(seconds / 3600);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 14) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 60) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
