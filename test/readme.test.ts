/** Each `$ ullage ...` line of README.md stands above what it really prints. `UPDATE_README=1 npx vitest run test/readme.test.ts` writes it. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { NOW, runCli } from "./helpers/cli.ts";
import { fixture } from "./helpers/fixtures.ts";

test("README shows real output", async () => {
  const readme = await readFile("README.md", "utf8");
  const demo = fixture("docker-archive/docker-legacy-multi");
  const folder = await mkdtemp(join(tmpdir(), "ullage-readme-"));
  await copyFile(demo, join(folder, "shop.tar"));
  await writeFile(
    join(folder, "host.tar"),
    gunzipSync(await readFile("fixtures/docker/overlay2-buildkit/input.tar.gz")),
  );
  const damaged = await readFile(demo);
  damaged[900_000]! ^= 1;
  await writeFile(join(folder, "damaged.tar"), damaged);
  try {
    let written = readme;
    for (const [block] of readme.matchAll(/```console\n[^`]*```/g)) {
      const lines = block.split("\n").filter((line) => line.startsWith("$ ullage"));
      const shown: string[] = [];
      for (const line of lines) {
        const args = line.slice("$ ullage ".length).split(" ");
        const inFolder = args.map((arg) => (arg.endsWith(".tar") ? join(folder, arg) : arg));
        const { out } = await runCli([...inFolder, "--now", NOW]);
        shown.push(`${line}\n${steady(out.replaceAll(`${folder}/`, ""))}`);
      }
      written = written.replace(block, () => `\`\`\`console\n${shown.join("\n")}\`\`\``);
    }
    if (process.env.UPDATE_README) await writeFile("README.md", written);
    expect(steady(written)).toBe(steady(process.env.UPDATE_README ? written : readme));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** How long reading took differs from run to run. */
function steady(text: string): string {
  return text.replace(/read in [0-9.]+ s, [0-9.]+[kMG]?B\/s/g, "read in 0.06 s, 34.2MB/s");
}
