// How long until `ullage --help` has answered, in starts of bare Node?
import { alternate, execute, runAlone, ullage } from "./harness.mjs";

const ROUNDS = 25;

export async function run(bench) {
  bench.title("start of the process");
  const { node, help } = await alternate(ROUNDS, {
    node: async () => (await execute(process.execPath, ["-e", "0"])).seconds,
    help: async () => (await ullage(["--help"])).seconds,
  });
  bench.say(`ullage --help: ${(help * 1000).toFixed(0)} ms; node -e 0: ${(node * 1000).toFixed(0)} ms`);
  bench.judge("ullage --help / node -e 0", help / node, "at most", 2.5);
}

await runAlone(import.meta.url, run);
