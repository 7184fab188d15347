/** Mutations of real archives, and what every command must do with them. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { runCli } from "./cli.ts";

export const COMMANDS = ["images", "df", "tree", "verify", "plan"];

/** A file of its own to put bad bytes into. */
export async function scratchFile(): Promise<{ file: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "ullage-hostile-"));
  return { file: join(folder, "bad.tar"), remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Runs a command on bytes: it must end well, whatever they are. */
export async function survives(
  file: string,
  command: string,
  bytes: Uint8Array,
): Promise<{ code: number; err: string }> {
  await writeFile(file, bytes);
  const started = performance.now();
  const { code, out, err } = await runCli([command, file, "--json", "--workers", "0"]);
  expect(err).not.toMatch(/bug in ullage|^ {4}at /m);
  expect([0, 1, 3, 4]).toContain(code);
  const errors = err.split("\n").filter((line) => line !== "" && !line.includes("warning:"));
  if (code === 3) expect(errors).toHaveLength(1);
  else expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, command });
  expect(performance.now() - started).toBeLessThan(10_000);
  return { code, err };
}

const anyCommand = fc.constantFrom(...COMMANDS);
const anywhere = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

/** Any command survives an archive that is cut off anywhere. */
export async function survivesCuts(
  file: string,
  archives: readonly string[],
  numRuns: number,
): Promise<void> {
  const property = fc.asyncProperty(
    fc.constantFrom(...archives),
    anyCommand,
    anywhere,
    async (archive, command, place) => {
      const bytes = await readFile(archive);
      await survives(file, command, bytes.subarray(0, Math.floor(place * bytes.length)));
    },
  );
  await fc.assert(property, { numRuns });
}

/** Any command survives bytes changed anywhere. */
export async function survivesChanges(
  file: string,
  archives: readonly string[],
  numRuns: number,
): Promise<void> {
  const changes = fc.array(fc.tuple(anywhere, fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 12,
  });
  const property = fc.asyncProperty(
    fc.constantFrom(...archives),
    anyCommand,
    changes,
    async (archive, command, all) => {
      const bytes = Uint8Array.from(await readFile(archive));
      for (const [place, by] of all) bytes[Math.floor(place * bytes.length)]! ^= by;
      await survives(file, command, bytes);
    },
  );
  await fc.assert(property, { numRuns });
}

/** Any command survives JSON of other types in any place. */
export async function survivesTypes(file: string, archive: string, numRuns: number): Promise<void> {
  const text = (await readFile(archive)).toString("latin1");
  const places = [...text.matchAll(/"(?:[a-zA-Z.]+)":/g)].map((match) => match.index + match[0].length);
  const others = ["null ", "[] ", "{} ", "7 ", '"" ', "true ", "-1e999 ", "[[[[ "];
  const property = fc.asyncProperty(
    fc.constantFrom(...places),
    fc.constantFrom(...others),
    anyCommand,
    async (place, other, command) => {
      await survives(
        file,
        command,
        Buffer.from(text.slice(0, place) + other + text.slice(place + other.length), "latin1"),
      );
    },
  );
  await fc.assert(property, { numRuns });
}
