/**
 * Every command on every real input, against the output that was looked at and kept. `vitest run -u` writes it anew.
 * What depends on the file system below (blocks, inodes) or on the clock is taken out.
 */
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { NOW, runCli } from "./helpers/cli.ts";
import { listFixtures } from "./helpers/fixtures.ts";

const COMMANDS = [["images", "--digests"], ["df", "-v"], ["tree"], ["verify", "-v"], ["plan", "--explain"]];

for (const { kind, name, input, expected } of listFixtures()) {
  const inArchive = kind.endsWith("-archive");
  describe(`${kind}/${name}`, () => {
    for (const [command, ...flags] of COMMANDS) {
      test(`${command}`, async () => {
        const json = await runCli([command!, input, "--json", "--now", NOW]);
        expect(json.err).not.toMatch(/bug in ullage/);
        const shown = JSON.stringify(steady(JSON.parse(json.out), inArchive), null, 1);
        await expect(`${shown}\n`).toMatchFileSnapshot(resolve(expected, `${command}.json`));
        if (!inArchive) return;
        const text = await runCli([command!, ...flags, input, "--now", NOW]);
        const lines = text.out.replace(/read in .*?\)/, "read in TIME)");
        await expect(`${lines}exit ${text.code}\n`).toMatchFileSnapshot(resolve(expected, `${command}.txt`));
      });
    }
  });
}

/** Without what differs from one run or one machine to the next. */
function steady(value: unknown, inArchive: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => steady(item, inArchive));
  if (typeof value !== "object" || value === null) return value;
  const hidden = inArchive ? ["throughput", "seconds"] : ["throughput", "filesystem", "allocated", "inodes"];
  // A plan in a folder goes by blocks, so its order and sums follow the file system.
  if (!inArchive) hidden.push("steps", "loss", "knees");
  const entries = Object.entries(value).filter(([key]) => !hidden.includes(key));
  return Object.fromEntries(entries.map(([key, item]) => [key, steady(item, inArchive)]));
}
