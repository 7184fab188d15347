// How long do frontier, cheapestReaching and largestWithin take on a generated store, and how close do they
// prove to be? Build first. Arguments: folder of the built solver (default ../dist/src/solver).

import os from "node:os";

const folder = new URL(`${process.argv[2] ?? "../dist/src/solver"}/`, import.meta.url);
const { frontier, knees } = await import(new URL("frontier.js", folder));
const { cheapestReaching, largestWithin } = await import(new URL("solve.js", folder));

/** Seconds that `run` takes, and its result. */
async function timed(run) {
  const start = performance.now();
  const result = await run();
  return { seconds: (performance.now() - start) / 1000, result };
}

/** mulberry32: the same store on every run. */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Repositories of images, each image a chain of 15 to 20 layers: a base out of a small tree of bases, layers
 * that grow as a tree within the repository, private layers on top. A layer's users are the layers and images
 * right above it. `costs` says what is lost: "images" a value of each image, "layers" also the bytes to pull
 * again. `blobs` adds blobs that cut across the tree, each freed when some few images of one repository go.
 */
function generateStore({ repositories, imagesEach, costs, blobs = 0, seed = 1 }) {
  const random = randomFrom(seed);
  const below = (n) => Math.floor(random() * n);
  const bytes = (median) =>
    Math.round(median * Math.exp(1.5 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(6.283 * random())));
  const layers = [];
  const addLayer = (parent, median) => layers.push({ parent, size: bytes(median), users: [] }) - 1;
  const chain = (parent, length, median) => {
    let top = parent;
    for (let i = 0; i < length; i++) top = addLayer(top, median);
    return top;
  };
  const bases = Array.from({ length: 8 }, () => chain(-1, 2, 30e6));
  for (let i = 0; i < 40; i++) bases.push(chain(bases[below(bases.length)], 1 + below(3), 40e6));
  const items = repositories * imagesEach;
  const tops = [];
  for (let r = 0; r < repositories; r++) {
    const trunk = [chain(bases[below(bases.length)], 5, 20e6)];
    for (let i = 0; i < 4; i++) trunk.push(chain(trunk[below(trunk.length)], 1 + below(3), 20e6));
    for (let i = 0; i < imagesEach; i++) tops.push(chain(trunk[below(trunk.length)], 3 + below(3), 10e6));
  }
  for (const [i, { parent }] of layers.entries()) if (parent >= 0) layers[parent].users.push({ layer: i });
  for (const [item, top] of tops.entries()) layers[top].users.push({ item });
  const order = layers.map((_, i) => i).reverse(); // parents come first in `layers`, users first here
  const node = (user) => user.item ?? items + (layers.length - 1 - user.layer);
  const groups = order.map((i) => ({ size: layers[i].size, preds: layers[i].users.map(node) }));
  for (let b = 0; b < blobs; b++) {
    const first = below(repositories) * imagesEach;
    const users = new Set(Array.from({ length: 2 + below(4) }, () => first + below(imagesEach)));
    groups.push({ size: bytes(20e6), preds: [...users] });
  }
  const gain = Float64Array.from([...tops.map(() => 2000 + below(8000)), ...groups.map((g) => g.size)]);
  const cost = Float64Array.from(gain, (size, v) => {
    if (v < items) return bytes(5e6);
    return costs === "layers" ? Math.round(size * (0.2 + 0.4 * random())) : 0;
  });
  const predStart = Int32Array.from([0, ...groups.map((g) => g.preds.length)]);
  for (let g = 0; g < groups.length; g++) predStart[g + 1] += predStart[g];
  const preds = Int32Array.from(groups.flatMap((g) => g.preds));
  return { items, groups: groups.length, gain, cost, predStart, preds };
}

function describe(proof) {
  return `gap ${(proof.gap * 100).toFixed(4)}%${proof.optimal ? ", optimal" : ""}`;
}

const cpu = os.cpus();
console.log(`${cpu[0]?.model ?? "unknown processor"}, ${cpu.length} cores, Node ${process.version}`);
const stores = [
  { repositories: 50, imagesEach: 20, costs: "images" },
  { repositories: 200, imagesEach: 5, costs: "layers", blobs: 3000 },
  { repositories: 500, imagesEach: 20, costs: "images" },
  { repositories: 500, imagesEach: 20, costs: "layers" },
  { repositories: 500, imagesEach: 20, costs: "images", blobs: 5000 },
];
for (const settings of stores) {
  const problem = generateStore(settings);
  const whole = problem.gain.reduce((sum, size) => sum + size, 0);
  const target = { gain: problem.gain, atLeast: Math.round(whole * 0.3) };
  console.log(`\n${problem.items} items, ${problem.groups} groups ${JSON.stringify(settings)}`);
  const curve = await timed(() => frontier(problem));
  const stops = knees(curve.result).length;
  console.log(`  frontier: ${curve.seconds.toFixed(2)} s, ${curve.result.length} steps, ${stops} knees`);
  for (const gap of [0.01, 0]) {
    const reach = await timed(() => cheapestReaching(problem, [target], { timeMs: 20_000, gap }));
    console.log(
      `  30% of all gain, asked ${gap * 100}%: ${reach.seconds.toFixed(2)} s, ${describe(reach.result)}`,
    );
    const maxCost = reach.result.choice.cost;
    const within = await timed(() => largestWithin(problem, maxCost, { timeMs: 20_000, gap }));
    console.log(
      `  within that cost, asked ${gap * 100}%: ${within.seconds.toFixed(2)} s, ${describe(within.result)}`,
    );
  }
}
