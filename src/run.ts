/**
 * What every step of a run is handed: the clock, the way to warn, to show progress, to be stopped, and the pool.
 */
import type { Pool } from "./pool.ts";

/** Something that could not be read or looks wrong, with its place; reading goes on. */
export interface Warning {
  /** Stable, kebab-case. */
  readonly code: string;
  /** The source as given on the command line. */
  readonly source: string;
  /** Inside the source, for display. */
  readonly path: string | null;
  readonly message: string;
  /** Some of the source could not be read, so that an answer may be short of it: exit 4. */
  readonly incomplete: boolean;
}

/** Warns about the source at hand, which the caller of the reader knows. */
export type Warn = (warning: Omit<Warning, "source">) => void;

export interface Progress {
  /** `total` in bytes. */
  begin(what: string, total: number): void;
  advance(bytes: number): void;
  end(): void;
}

export interface Run {
  readonly signal: AbortSignal;
  readonly progress: Progress;
  readonly pool: Pool;
  readonly now: Date;
  readonly warnings: Warnings;
}

/** A hostile source can give cause for a million warnings: the first thousands are kept, the rest counted. */
const KEPT = 10_000;

export class Warnings {
  readonly list: Warning[] = [];
  dropped = 0;
  incomplete = false;

  add(warning: Warning): void {
    this.incomplete ||= warning.incomplete;
    if (this.list.length < KEPT) this.list.push(warning);
    else this.dropped++;
  }
}
