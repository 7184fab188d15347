import { expect, it, vi } from "vitest";
import { cheapestReaching, largestWithin } from "../../src/solver/solve.ts";
import { problemOf } from "./problems.ts";

vi.mock("highs", () => ({
  default: async () => {
    throw new Error("out of memory");
  },
}));

it("falls back on the hull when HiGHS fails", async () => {
  const problem = problemOf(
    [4, 5, 6].map((gain) => ({ gain, cost: gain + 1 })),
    [],
  );
  const limits = { timeMs: 1000, gap: 0 };
  const reach = await cheapestReaching(problem, [{ gain: problem.gain, atLeast: 9 }], limits);
  expect(reach).toMatchObject({ choice: { items: [1, 2], cost: 13 }, bound: 11, optimal: false });
  const within = await largestWithin(problem, 11, limits);
  expect(within).toMatchObject({ choice: { items: [2], gain: 6 }, bound: 9, optimal: false });
});
