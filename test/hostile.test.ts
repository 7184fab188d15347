/**
 * Bad input: each is a one-line error or a warning with its place, within seconds; what can still be told is told.
 */
import { createHash } from "node:crypto";
import { open, readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli, runJson } from "./helpers/cli.ts";
import { fixture } from "./helpers/fixtures.ts";
import {
  COMMANDS,
  scratchFile,
  survives,
  survivesChanges,
  survivesCuts,
  survivesTypes,
} from "./helpers/mutate.ts";

const ARCHIVES = [
  "docker-archive/docker-legacy-repeat",
  "docker-archive/containerd-export",
  "docker-archive/containerd-platforms",
  "docker-archive/no-manifest",
  "docker-archive/whole-gzip",
  "docker-archive/whole-xz",
  "oci-archive/zstd-chunked",
  "oci-archive/podman-oci",
].map(fixture);
let file: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ file, remove } = await scratchFile());
});
afterAll(() => remove());

describe("mutations of real archives", () => {
  test("cut off anywhere", () => survivesCuts(file, ARCHIVES, 120));
  test("bytes changed anywhere", () => survivesChanges(file, ARCHIVES, 120));
  test("JSON of other types in every place", () =>
    survivesTypes(file, fixture("docker-archive/containerd-export"), 150));

  test("a bit flipped in a layer is found, and cutting one off as well", async () => {
    const archive = await readFile(fixture("docker-archive/docker-legacy-repeat"));
    const { json } = await runJson(["df", "-v", fixture("docker-archive/docker-legacy-repeat")]);
    const layer = json.entries.find((entry: { path: string }) => entry.path.endsWith("layer.tar"));
    let header = 0; // the member itself, and no link to it: a name at the start of a block, of type "0"
    while (
      archive.toString("latin1", header, header + layer.path.length) !== layer.path ||
      archive[header + 156] !== 0x30
    )
      header += 512;
    const start = header + 512;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(layer.size.apparent - 1),
        fc.integer({ min: 0, max: 7 }),
        async (offset, bit) => {
          const bytes = Uint8Array.from(archive);
          bytes[start + offset]! ^= 1 << bit;
          await writeFile(file, bytes);
          const { code, json } = await runJson(["verify", file, "--workers", "0"]);
          expect(code).toBe(1);
          expect(json.summary.corrupt).toBe(1);
          const damaged = json.checked.find((check: { verdict: string }) => check.verdict === "corrupt");
          expect(damaged).toMatchObject({ what: "layer", path: layer.path });
          expect(damaged.actual).not.toBe(damaged.expected);
          expect(damaged.detail.length).toBeGreaterThan(10);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("made to hurt", () => {
  async function archive(members: Record<string, Uint8Array | string>): Promise<Buffer> {
    const tar = pack();
    for (const [name, content] of Object.entries(members)) tar.entry({ name }, Buffer.from(content));
    tar.finalize();
    const parts: Buffer[] = [];
    for await (const part of tar) parts.push(part as Buffer);
    return Buffer.concat(parts);
  }

  const image = (over: object): string =>
    JSON.stringify([{ Config: "c.json", RepoTags: ["a:1"], Layers: ["l.tar"], ...over }]);
  const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  const configOf = (diffId: string): string =>
    JSON.stringify({ rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] } });

  test("a manifest.json that claims 2 GB", async () => {
    const bytes = await archive({ "manifest.json": "[" });
    const handle = await open(file, "w");
    await handle.write(bytes.subarray(0, 1024));
    await handle.write(Buffer.from("17777777777\0"), 0, 12, 124); // the size field: 2 GiB - 1
    let sum = 0;
    const header = Buffer.from(bytes.subarray(0, 512));
    header.write("17777777777\0", 124);
    header.fill(" ", 148, 156);
    for (const byte of header) sum += byte;
    await handle.write(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0 `), 0, 8, 148);
    await handle.truncate(512 + 2 ** 31 + 1024);
    await handle.close();
    const { code, err } = await runCli(["images", file, "--workers", "0"]);
    expect(code).toBe(4);
    expect(err).toContain("manifest.json");
    expect(err).toContain("more than");
  });

  test("JSON nested 100,000 deep", async () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    await survives(file, "images", await archive({ "manifest.json": deep }));
    await survives(file, "images", await archive({ "manifest.json": `[${'{"Config":'.repeat(50_000)}` }));
  });

  test("layers that are not there, outside, or the archive's own index", async () => {
    for (const layer of ["gone.tar", "../../etc/passwd", "/etc/passwd", "manifest.json", "", "c.json/x"]) {
      const bytes = await archive({
        "c.json": configOf("0".repeat(64)),
        "manifest.json": image({ Layers: [layer] }),
      });
      const { code } = await survives(file, "verify", bytes);
      expect(code, layer).toBeGreaterThan(0);
    }
  });

  test("a decompression bomb as a layer: memory stays bounded, and the digest is still told", async () => {
    const bomb = gzipSync(Buffer.alloc(256 << 20));
    const zeros = createHash("sha256");
    for (let i = 0; i < 256; i++) zeros.update(Buffer.alloc(1 << 20));
    const bytes = await archive({
      "c.json": configOf(zeros.digest("hex")),
      "l.tar": bomb,
      "manifest.json": image({}),
    });
    await writeFile(file, bytes);
    const before = process.memoryUsage().rss;
    const { code, json } = await runJson(["verify", file, "--workers", "0"]);
    expect(code).toBe(0);
    expect(json.summary.ok).toBe(1);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
  });

  test("an archive of ten thousand members and one image", async () => {
    const members: Record<string, string> = {};
    for (let i = 0; i < 10_000; i++) members[`junk/${i}`] = "x";
    const layer = Buffer.alloc(1024);
    const bytes = await archive({
      ...members,
      "l.tar": layer,
      "c.json": configOf(sha256(layer)),
      "manifest.json": image({}),
    });
    const { code } = await survives(file, "df", bytes);
    expect(code).toBe(0);
  });

  test("names that would move the cursor", async () => {
    const layer = Buffer.alloc(1024);
    const RepoTags = ["\x1b[2Jevil:1", "a\r\nb:2", "\u202etxt:3"];
    const bytes = await archive({
      "l.tar": layer,
      "c.json": configOf(sha256(layer)),
      "manifest.json": image({ RepoTags }),
    });
    await writeFile(file, bytes);
    for (const command of [...COMMANDS, ""]) {
      const { out } = await runCli([command, file].filter(Boolean));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
      expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f\u202e]/);
    }
  });

  test("files that are something else", async () => {
    const things = {
      elf: "\x7fELF",
      png: "\x89PNG\r\n",
      zip: "PK\x03\x04",
      json: '{"a":1}',
      zeros: "\0".repeat(4096),
    };
    for (const content of Object.values(things)) {
      const { code } = await survives(file, "images", Buffer.from(content, "latin1"));
      expect(code).toBe(3);
    }
    expect((await survives(file, "images", gzipSync("no tar"))).code).toBe(3);
    expect((await survives(file, "images", await archive({ "etc/passwd": "root" }))).code).toBe(3);
  });
});
