// How fast is `ullage verify`? Layers that are stored plain, against openssl and sha256sum over the same bytes; then
// the same layers compressed with gzip, against gzip and openssl.

import { statSync } from "node:fs";
import { availableParallelism, devNull } from "node:os";
import { dockerArchive, gzipLayout, sparseArchive, systemLayers } from "./generate.mjs";
import { alternate, execute, hasTool, megabytes, runAlone, speed, ullage } from "./harness.mjs";

const ROUNDS = 7;
const BYTES = 600e6;

const layersOf = (bench) => bench.input("layers", (path) => systemLayers(path, BYTES));
export const archiveOf = (bench) =>
  bench.input("real.tar", async (path) => {
    dockerArchive(path, await layersOf(bench));
    return path;
  });
export const layoutOf = (bench) =>
  bench.input("layout", async (path) => ({ path, layers: await gzipLayout(path, await layersOf(bench)) }));

/** One `ullage verify` that must find all right: wall time, and what it says itself, which leaves out the start. */
async function verified(path) {
  const { seconds, output } = await ullage(["verify", "--json", path], { keep: true });
  const { summary, throughput } = JSON.parse(output);
  for (const [verdict, count] of Object.entries(summary))
    if (verdict !== "ok" && count > 0) throw new Error(`verify ${path}: ${count} ${verdict}`);
  return { wall: seconds, inside: throughput.seconds, bytes: throughput.bytes };
}

/** `count` lists of files with about as many bytes in each: the largest first, always to the shortest list. */
function balanced(layers, count) {
  const lists = Array.from({ length: count }, () => ({ bytes: 0, files: [] }));
  for (const { path, size } of [...layers].sort((a, b) => b.size - a.size)) {
    const shortest = lists.reduce((least, list) => (list.bytes < least.bytes ? list : least));
    shortest.bytes += size;
    shortest.files.push(path);
  }
  return lists.filter(({ files }) => files.length > 0).map(({ files }) => files);
}

const openssl = (files) => execute("openssl", ["dgst", "-sha256", ...files]);

async function secondsOf(run) {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

async function plain(bench) {
  const layers = await layersOf(bench);
  const archive = await archiveOf(bench);
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const whole = statSync(archive).size;
  bench.title(`verify, plain archive of ${megabytes(whole)}, ${layers.length} layers`);
  const tiny = await bench.input("tiny.tar", (path) => {
    sparseArchive(path, 1e5, layers.length);
    return path;
  });
  await verified(archive); // brings it into the page cache
  const peers = {};
  if (hasTool(bench, "openssl")) {
    const shares = balanced(layers, availableParallelism());
    const inParallel = (lists) => secondsOf(() => Promise.all(lists.map(openssl)));
    peers.openssl = () => inParallel(shares);
    peers.opensslStart = () => inParallel(shares.map(() => [devNull]));
  }
  if (hasTool(bench, "sha256sum")) peers.sha256sum = () => secondsOf(() => execute("sha256sum", [archive]));
  const found = await alternate(ROUNDS, {
    whole: async () => (await verified(archive)).wall,
    inside: async () => (await verified(archive)).inside,
    start: async () => (await verified(tiny)).inside,
    ...peers,
  });
  const { whole: wall, openssl: opensslWall, opensslStart, sha256sum } = found;
  const seconds = found.inside - found.start; // of its threads
  bench.say(
    `ullage: ${wall.toFixed(3)} s in all, ${found.inside.toFixed(3)} s from the first thread's start,`,
  );
  bench.say(`        ${seconds.toFixed(3)} s without their start, ${speed(bytes, seconds)}`);
  if (opensslWall !== undefined) {
    const peer = opensslWall - opensslStart;
    const processes = balanced(layers, availableParallelism()).length;
    bench.say(
      `${processes} x openssl: ${opensslWall.toFixed(3)} s in all, ${peer.toFixed(3)} s without the start, ${speed(bytes, peer)}`,
    );
    bench.judge("verify / parallel openssl, throughput", peer / seconds, "at least", 0.85);
  }
  if (sha256sum !== undefined) {
    bench.say(`sha256sum: ${sha256sum.toFixed(3)} s, ${speed(whole, sha256sum)}`);
    bench.judge("verify / sha256sum, speed with start", sha256sum / wall, "at least", 2);
  }
}

async function gzipped(bench) {
  const plainLayers = await layersOf(bench);
  const layout = await layoutOf(bench);
  const stored = layout.layers.reduce((sum, { size }) => sum + size, 0);
  const bytes = plainLayers.reduce((sum, { size }) => sum + size, 0);
  bench.title(`verify, layout of ${megabytes(stored)} of gzip layers, ${megabytes(bytes)} unpacked`);
  await verified(layout.path);
  const peers = {};
  if (hasTool(bench, "gzip") && hasTool(bench, "openssl")) {
    const script = 'for file; do gzip -dc <"$file" | openssl dgst -sha256; done';
    const files = layout.layers.map(({ path }) => path);
    peers.pipe = () => secondsOf(() => execute("sh", ["-c", script, "sh", ...files]));
  }
  const { wall, pipe } = await alternate(3, {
    wall: async () => (await verified(layout.path)).wall,
    ...peers,
  });
  bench.say(`ullage: ${wall.toFixed(2)} s, ${speed(bytes, wall)} unpacked, stored digests taken as well`);
  if (pipe === undefined) return;
  bench.say(`gzip | openssl: ${pipe.toFixed(2)} s, ${speed(bytes, pipe)}`);
  bench.judge("verify gzip / gzip | openssl, speed with start", pipe / wall, "at least", 1.3);
}

export async function run(bench) {
  await plain(bench);
  await gzipped(bench);
}

await runAlone(import.meta.url, run);
