// How long do the commands take that read no layer? `images` and `df` of a plain archive, whose time must not depend
// on the bytes of its layers; the same and `plan` on a registry's worth of images.
import { statSync } from "node:fs";
import { manyImages, sparseArchive } from "./generate.mjs";
import { alternate, execute, hasTool, megabytes, probed, runAlone, ullage } from "./harness.mjs";

const ROUNDS = 5;
const LAYERS = 100;

/**
 * Wall time, and user and system time together, in medians of separate runs: telling the latter costs some of the
 * former. And the wall time of tar, which only lists.
 */
function timesOf(path, command, tar) {
  return alternate(ROUNDS, {
    wall: async () => (await ullage([command, path])).seconds,
    cpu: async () => {
      const { user, system } = await probed([command, path]);
      return user + system;
    },
    ...(tar ? { tar: async () => (await execute("tar", ["-tf", path])).seconds } : {}),
  });
}

function say(bench, command, what, { wall, cpu, tar }) {
  const peer = tar === undefined ? "" : `; tar -tf: ${tar.toFixed(3)} s`;
  bench.say(`${command}, ${what}: ${wall.toFixed(3)} s, ${cpu.toFixed(3)} s of processor time${peer}`);
}

async function layerBytes(bench) {
  bench.title(`images and df of ${LAYERS} layers, by their bytes`);
  const tar = hasTool(bench, "tar");
  const make = (bytes) => (path) => {
    sparseArchive(path, bytes, LAYERS);
    return path;
  };
  const small = await bench.input("small.tar", make(10e6));
  const large = await bench.input("large.tar", make(10e9));
  for (const command of ["images", "df"]) {
    const few = await timesOf(small, command, tar);
    const many = await timesOf(large, command, tar);
    say(bench, command, megabytes(statSync(small).size), few);
    say(bench, command, megabytes(statSync(large).size), many);
    bench.judge(`${command}: 10 GB / 10 MB, processor time`, many.cpu / few.cpu, "at most", 1.2);
    bench.judge(`${command} of 10 GB, wall`, many.wall, "at most", 0.4, " s");
    bench.judge(`${command} of 10 GB, processor`, many.cpu, "at most", 0.4, " s");
  }
  bench.forget("small.tar");
  bench.forget("large.tar");
}

async function imageCount(bench) {
  const path = await bench.input("many.tar", (made) => {
    manyImages(made, 10_000, 40_000);
    return made;
  });
  const tar = hasTool(bench, "tar");
  bench.title(`10,000 images over 40,000 layers, an archive of ${megabytes(statSync(path).size)}`);
  for (const command of ["images", "df"]) {
    const times = await timesOf(path, command, tar);
    say(bench, command, "10,000 images", times);
    bench.judge(`${command} of 10,000 images, wall`, times.wall, "at most", 3, " s");
  }
  const { seconds, output } = await ullage(["plan", "--free", "30%", "--json", path], { keep: true });
  const plan = JSON.parse(output);
  const proof = plan.optimal ? "proven optimal" : `bound ${plan.bound}, gap ${(plan.gap * 100).toFixed(3)}%`;
  bench.say(`plan --free 30%: ${seconds.toFixed(2)} s, ${plan.steps.length} steps, ${proof}`);
  bench.judge("plan --free 30%, gap to the optimum", plan.gap * 100, "at most", 1, "%");
  bench.judge("plan --free 30%, wall", seconds, "at most", 20, " s");
  bench.forget("many.tar");
}

export async function run(bench) {
  await layerBytes(bench);
  await imageCount(bench);
}

await runAlone(import.meta.url, run);
