// How much memory does `ullage verify` take at its peak, whatever the size of what it reads?
import { bombLayout, dockerArchive, sparseArchive, systemLayers } from "./generate.mjs";
import { megabytes, probed, runAlone, speed } from "./harness.mjs";
import { archiveOf, layoutOf } from "./verify.mjs";

const LIMIT_MB = 250;

async function peakOf(bench, what, path, ...flags) {
  const { peak, output } = await probed(["verify", "--json", ...flags, path], { keep: true });
  const { bytes, seconds } = JSON.parse(output).throughput;
  bench.say(`${what}: ${megabytes(bytes)} read at ${speed(bytes, seconds)}, peak ${megabytes(peak)}`);
  return peak;
}

export async function run(bench) {
  bench.title("memory of verify");
  const cases = {
    "plain, 100 MB": () =>
      bench.input("small-real.tar", (path) => {
        dockerArchive(path, systemLayers(`${path}.layers`, 100e6));
        return path;
      }),
    "plain, 600 MB": () => archiveOf(bench),
    "gzip layers, 600 MB unpacked": async () => (await layoutOf(bench)).path,
    "plain, 4 GB of zeros": () =>
      bench.input("zeros.tar", (path) => {
        sparseArchive(path, 4e9, 20);
        return path;
      }),
    "gzip bomb, 1 GiB unpacked": () =>
      bench.input("bomb", async (path) => {
        await bombLayout(path, 1 << 30);
        return path;
      }),
  };
  let highest = 0;
  for (const [what, input] of Object.entries(cases))
    highest = Math.max(highest, await peakOf(bench, what, await input()));
  const layout = (await layoutOf(bench)).path;
  for (const workers of ["1", "8"])
    await peakOf(bench, `gzip, --workers ${workers}`, layout, "--workers", workers);
  bench.judge("verify, highest peak of memory", highest / 1e6, "at most", LIMIT_MB, " MB");
}

await runAlone(import.meta.url, run);
