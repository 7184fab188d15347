/** What checking something comes to. */
export const VERDICTS = [
  "ok",
  "corrupt",
  "truncated",
  "missing",
  "unreadable",
  "discarded",
  "unverifiable",
  "drifted",
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Verdicts that mean damage. */
export const DAMAGE: readonly Verdict[] = ["corrupt", "truncated", "missing"];
