// All benches one after another on shared inputs, then a table of what was measured against its target.
import { Bench, machine } from "./harness.mjs";

const started = performance.now();
console.log(machine());
const bench = new Bench();
for (const name of ["start", "list", "verify", "memory"]) await (await import(`./${name}.mjs`)).run(bench);
bench.table();
console.log(`  ${((performance.now() - started) / 1000).toFixed(0)} s in all`);
