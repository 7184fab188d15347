import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frontier, knees } from "../../src/solver/frontier.ts";
import { evaluate } from "../../src/solver/problem.ts";
import { allChoices, anyProblem, naiveEvaluate, problemOf } from "./problems.ts";

describe("frontier", () => {
  it("bundles what only pays together, cheapest first", () => {
    const items = [
      { gain: 50, cost: 10 },
      { gain: 1, cost: 4 },
      { gain: 1, cost: 4 },
      { gain: 0, cost: 1 },
    ];
    const problem = problemOf(items, [{ gain: 98, cost: 0, preds: [1, 2] }]);
    expect(frontier(problem)).toEqual([
      { items: [1, 2], gain: 100, cost: 8 },
      { items: [0], gain: 50, cost: 10 },
    ]);
  });

  it("keeps apart what merely costs the same", () => {
    const problem = problemOf(
      [
        { gain: 5, cost: 5 },
        { gain: 7, cost: 7 },
      ],
      [],
    );
    expect(frontier(problem)).toHaveLength(2);
  });

  it("puts off a step that completes a costly group", () => {
    const items = [1, 1, 30].map((cost) => ({ gain: 10, cost }));
    const problem = problemOf(items, [{ gain: 0, cost: 100, preds: [0, 1] }]);
    expect(frontier(problem).map((step) => step.cost)).toEqual([1, 30, 101]);
  });

  it("adds up to evaluate of each prefix and covers all gain", () => {
    fc.assert(
      fc.property(anyProblem(10, 10_000), (problem) => {
        const steps = frontier(problem);
        const sum = { gain: 0, cost: 0 };
        const chosen: number[] = [];
        for (const step of steps) {
          sum.gain += step.gain;
          sum.cost += step.cost;
          chosen.push(...step.items);
          expect(evaluate(problem, chosen)).toEqual(sum);
        }
        expect(new Set(chosen).size).toBe(chosen.length);
        expect(sum.gain).toBe(
          evaluate(
            problem,
            Array.from({ length: problem.items }, (_, i) => i),
          ).gain,
        );
      }),
      { numRuns: 300 },
    );
  });

  it("lies on the lower hull of all choices where groups are free", () => {
    fc.assert(
      fc.property(anyProblem(8, 1000, false), (problem) => {
        const values = allChoices(problem.items).map((items) => naiveEvaluate(problem, items));
        const at = { gain: 0, cost: 0 };
        for (const step of frontier(problem)) {
          for (const value of values) {
            const above = (value.cost - at.cost) * step.gain - (value.gain - at.gain) * step.cost;
            expect(above).toBeGreaterThanOrEqual(0);
          }
          at.gain += step.gain;
          at.cost += step.cost;
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("knees", () => {
  it("finds the bends of a curve", () => {
    const steps = [...Array(10).fill({ gain: 10, cost: 1 }), ...Array(10).fill({ gain: 10, cost: 10 })];
    expect(knees(steps)).toEqual([9]);
    expect(knees([...steps, { gain: 10, cost: 400 }])).toEqual([9, 19]);
  });

  it("finds none on a line, a point or nothing", () => {
    expect(knees(Array(10).fill({ gain: 3, cost: 2 }))).toEqual([]);
    expect(knees([{ gain: 3, cost: 0 }])).toEqual([]);
    expect(knees([])).toEqual([]);
  });

  it("returns no more than asked, fewer on a gentle curve", () => {
    const steps = Array.from({ length: 100 }, (_, i) => ({ gain: 1, cost: i * i }));
    expect(knees(steps)).toHaveLength(3);
    expect(knees(steps, 2)).toHaveLength(2);
  });
});
