// A data-root on disk: `df` against `du -s` of the same 500,000 entries, warm; metadata questions of 2,000 images.
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { alternate, execute, hasTool, probed, runAlone, ullage } from "./harness.mjs";

const ROUNDS = 5;
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const EMPTY = gzipSync("");

/** `images` images on shared bases of five layers, each with four of its own; `files` small files in a layer. */
function dataRoot(root, images, files) {
  const layerdb = join(root, "image/overlay2/layerdb/sha256");
  const content = join(root, "image/overlay2/imagedb/content/sha256");
  for (const folder of [
    layerdb,
    content,
    ...["overlay2/l", "buildkit", "containers", "volumes", "tmp"].map((one) => join(root, one)),
  ])
    mkdirSync(folder, { recursive: true });
  const made = new Map();
  const layer = (parent, diff) => {
    const chain = parent === null ? diff : sha256(`sha256:${parent} sha256:${diff}`);
    if (made.has(chain)) return chain;
    made.set(chain, true);
    const [id, link] = [sha256(`cache ${chain}`), sha256(chain).slice(0, 26).toUpperCase()];
    const record = join(layerdb, chain);
    mkdirSync(record);
    const values = {
      "cache-id": id,
      diff: `sha256:${diff}`,
      size: String(files),
      ...(parent ? { parent: `sha256:${parent}` } : {}),
    };
    for (const [name, value] of Object.entries(values)) writeFileSync(join(record, name), value);
    writeFileSync(join(record, "tar-split.json.gz"), EMPTY);
    const folder = join(root, "overlay2", id);
    mkdirSync(join(folder, "diff"), { recursive: true });
    writeFileSync(join(folder, "link"), link);
    symlinkSync(`../${id}/diff`, join(root, "overlay2/l", link));
    for (let i = 0; i < files; i++) {
      const inside = join(folder, "diff", `d${i >> 5}`);
      if ((i & 31) === 0) mkdirSync(inside);
      if (i % 10 === 9) linkSync(join(inside, `f${i - 1}`), join(inside, `f${i}`));
      else writeFileSync(join(inside, `f${i}`), i % 4 === 0 ? "x" : "");
    }
    return chain;
  };
  const names = {};
  for (let i = 0; i < images; i++) {
    const diffs = [0, 1, 2, 3, 4].map((k) => sha256(`base ${i % 20} ${k}`));
    for (let k = 0; k < 4; k++) diffs.push(sha256(`own ${i} ${k}`));
    diffs.reduce(layer, null);
    const config = JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2026-01-01T00:00:00Z",
      config: {},
      rootfs: { type: "layers", diff_ids: diffs.map((one) => `sha256:${one}`) },
      n: i,
    });
    writeFileSync(join(content, sha256(config)), config);
    names[`app/r${i % 50}`] = {
      ...names[`app/r${i % 50}`],
      [`app/r${i % 50}:${i}`]: `sha256:${sha256(config)}`,
    };
  }
  writeFileSync(join(root, "image/overlay2/repositories.json"), JSON.stringify({ Repositories: names }));
}

async function walking(bench) {
  if (!hasTool(bench, "du")) return;
  const root = await bench.input("entries", (path) => {
    dataRoot(path, 200, 520);
    return path;
  });
  await execute("du", ["-s", root]);
  const entries = Number.parseInt((await execute("du", ["-s", "--inodes", root], { keep: true })).output, 10);
  bench.title(`df of a data-root of ${entries} inodes`);
  const times = await alternate(ROUNDS, {
    du: async () => (await execute("du", ["-s", root])).seconds,
    df: async () => (await ullage(["df", root])).seconds,
    node: async () => (await execute(process.execPath, ["-e", "0"])).seconds,
  });
  bench.say(
    `df ${times.df.toFixed(2)} s, du -s ${times.du.toFixed(2)} s (node -e 0: ${times.node.toFixed(2)} s)`,
  );
  bench.judge("df of 500,000 entries / du -s", times.df / times.du, "at most", 1.3);
  const { peak } = await probed(["df", root]);
  if (peak) bench.judge("df of 500,000 entries, peak memory", peak / 1e6, "at most", 400, " MB");
  bench.forget("entries");
}

async function metadata(bench) {
  const root = await bench.input("images", (path) => {
    dataRoot(path, 2000, 1);
    return path;
  });
  bench.title("2,000 images over 8,100 layers, recorded sizes");
  await ullage(["images", "--recorded", root]);
  const times = await alternate(ROUNDS, {
    images: async () => (await ullage(["images", "--recorded", root])).seconds,
    tree: async () => (await ullage(["tree", "--recorded", root])).seconds,
  });
  bench.judge("images --recorded of 2,000 images", times.images, "at most", 1, " s");
  bench.judge("tree --recorded of 2,000 images", times.tree, "at most", 1, " s");
  bench.forget("images");
}

export async function run(bench) {
  await walking(bench);
  await metadata(bench);
}

await runAlone(import.meta.url, run);
