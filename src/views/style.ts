/** How text output looks: units, colour, and the clock that ages are told by. */
import type { Size } from "../graph/graph.ts";
import { formatBytes, type Units } from "./units.ts";

export interface TextStyle {
  readonly units: Units;
  readonly color: boolean;
  readonly now: Date;
}

type Tone = "bold" | "dim" | "red" | "green" | "yellow";
const CODES: Readonly<Record<Tone, string>> = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33" };

export function paint(style: TextStyle, tone: Tone, text: string): string {
  return style.color ? `\x1b[${CODES[tone]}m${text}\x1b[0m` : text;
}

/** What a size takes: allocated bytes where they are known. `?` for a size that cannot be known. */
export function formatSize(size: Size | null, style: TextStyle): string {
  return size === null ? "?" : formatBytes(size.allocated ?? size.apparent, style.units);
}

/** The sum of file lengths. */
export function formatApparent(size: Size | null, style: TextStyle): string {
  return size === null ? "?" : formatBytes(size.apparent, style.units);
}
