/** The long ring: more mutations of every real archive, and input of a size that hurts. */
import { open } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runJson } from "./helpers/cli.ts";
import { fixture, listFixtures } from "./helpers/fixtures.ts";
import { scratchFile, survivesChanges, survivesCuts, survivesTypes } from "./helpers/mutate.ts";
import { rawHeader } from "./helpers/tar-writer.ts";

const ARCHIVES = listFixtures()
  .filter((one) => one.kind.endsWith("-archive"))
  .map((one) => one.input);

let file: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ file, remove } = await scratchFile());
});
afterAll(() => remove());

test("cut off anywhere", () => survivesCuts(file, ARCHIVES, 1500));
test("bytes changed anywhere", () => survivesChanges(file, ARCHIVES, 1500));
for (const name of [
  "docker-archive/docker-legacy-multi",
  "docker-archive/containerd-platforms",
  "docker-archive/no-manifest",
  "oci-archive/podman-oci",
]) {
  test(`JSON of other types in every place of ${name}`, () => survivesTypes(file, fixture(name), 600));
}

test("a million tiny members: seconds, and the sums are right", async () => {
  const count = 1_000_000;
  const handle = await open(file, "w");
  let batch: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    batch.push(rawHeader({ name: `junk/${i}`, size: 0 }));
    if (batch.length < 2000) continue;
    await handle.write(Buffer.concat(batch));
    batch = [];
  }
  const manifest = Buffer.from('[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]'.padEnd(512));
  const config = Buffer.from('{"rootfs":{"type":"layers","diff_ids":[]}}'.padEnd(512));
  await handle.write(
    Buffer.concat([
      rawHeader({ name: "c.json", size: 512 }),
      config,
      rawHeader({ name: "manifest.json", size: 512 }),
      manifest,
      Buffer.alloc(1024),
    ]),
  );
  await handle.close();
  const started = performance.now();
  const { code, json } = await runJson(["df", file]);
  expect(performance.now() - started).toBeLessThan(60_000);
  expect(code).toBe(0);
  expect(json.residual).toBe(0);
  expect(json.total.allocated).toBe(count * 512 + 1024 + 1024 + 1024);
});
