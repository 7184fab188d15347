// All benches but the solver's own, one after another on shared inputs, then a table of what was measured against its
// target.
import { run as dataRoot } from "./data-root.mjs";
import { Bench, machine } from "./harness.mjs";
import { run as list } from "./list.mjs";
import { run as memory } from "./memory.mjs";
import { run as start } from "./start.mjs";
import { run as verify } from "./verify.mjs";

const started = performance.now();
console.log(machine());
const bench = new Bench();
for (const run of [start, list, dataRoot, verify, memory]) await run(bench);
bench.table();
console.log(`  ${((performance.now() - started) / 1000).toFixed(0)} s in all`);
