/** What a reader is handed beside the tree, for tests that call one directly. */
import { createPool } from "../../src/pool.ts";
import type { Warn } from "../../src/run.ts";
import type { Reading } from "../../src/stores/store.ts";

export function reading(warn: Warn, options: Partial<Reading> = {}): Reading {
  const { signal } = new AbortController();
  return { warn, pool: createPool(signal, 0), signal, recorded: false, largest: 0, ...options };
}
