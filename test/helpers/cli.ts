/** Runs a command line in this process, as the program would. */
import { Readable } from "node:stream";
import { main } from "../../src/cli.ts";

export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The clock of golden outputs. */
export const NOW = "2026-11-24T12:00:00Z";

export async function runCli(
  args: readonly string[],
  options: {
    stdin?: AsyncIterable<Uint8Array>;
    env?: Record<string, string>;
    isTTY?: boolean;
    signal?: AbortSignal;
    root?: string;
  } = {},
): Promise<CliResult> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(args, {
    stdin: options.stdin ?? Readable.from([]),
    stdout: { write: (text) => void out.push(text), isTTY: options.isTTY === true },
    stderr: { write: (text) => void err.push(text) },
    env: options.env ?? {},
    root: options.root ?? "/nonexistent", // never the stores of whoever runs the tests
    signal: options.signal ?? new AbortController().signal,
  });
  return { code, out: out.join(""), err: err.join("") };
}

// biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever the JSON holds
export async function runJson(args: readonly string[]): Promise<{ code: number; json: any; err: string }> {
  const { code, out, err } = await runCli([...args, "--json", "--now", NOW]);
  return { code, json: out === "" ? null : JSON.parse(out), err };
}
