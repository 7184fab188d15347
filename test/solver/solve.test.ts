import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../src/solver/problem.ts";
import { cheapestReaching, largestWithin } from "../../src/solver/solve.ts";
import { allChoices, anyProblem, naiveEvaluate, problemOf } from "./problems.ts";

const exactly = { timeMs: 10_000, gap: 0 };
/** No time for HiGHS: what the hull and the greedy choice say. */
const atOnce = { timeMs: 0, gap: 0 };

/** Two images share a layer of 100; a third stands alone. */
const shared = problemOf(
  [
    { gain: 5, cost: 3 },
    { gain: 5, cost: 3 },
    { gain: 40, cost: 7 },
  ],
  [{ gain: 100, cost: 0, preds: [0, 1] }],
);

describe("cheapestReaching", () => {
  const reach = (atLeast: number) => cheapestReaching(shared, [{ gain: shared.gain, atLeast }], exactly);

  it("takes what completes a shared group together", async () => {
    expect(await reach(45)).toEqual({
      choice: { items: [0, 1], gain: 110, cost: 6 },
      bound: 6,
      gap: 0,
      optimal: true,
    });
  });

  it("takes one part of it where that is enough", async () => {
    expect((await reach(5)).choice?.items).toHaveLength(1);
    expect((await reach(150)).choice).toEqual({ items: [0, 1, 2], gain: 150, cost: 13 });
  });

  it("says when the target is out of reach", async () => {
    expect(await reach(151)).toEqual({ choice: null, bound: Infinity, gap: 0, optimal: true });
  });

  it("chooses nothing for a target of 0, or for none", async () => {
    const nothing = { choice: { items: [], gain: 0, cost: 0 }, bound: 0, gap: 0, optimal: true };
    expect(await reach(0)).toEqual(nothing);
    expect(await cheapestReaching(shared, [], exactly)).toEqual(nothing);
    expect(await cheapestReaching(problemOf([], []), [], exactly)).toEqual(nothing);
  });

  it("pays for a costly group that completes by itself", async () => {
    const items = [1, 2, 3].map((cost) => ({ gain: 10, cost }));
    const problem = problemOf(items, [{ gain: 0, cost: 50, preds: [0, 1] }]);
    const { choice } = await cheapestReaching(problem, [{ gain: problem.gain, atLeast: 20 }], exactly);
    expect(choice).toEqual({ items: [0, 2], gain: 20, cost: 4 });
  });

  it("never completes a group without predecessors, nor what follows it", async () => {
    const pinned = [
      { gain: 100, cost: 0, preds: [] },
      { gain: 100, cost: 0, preds: [0, 1] },
    ];
    const problem = problemOf([{ gain: 1, cost: 1 }], pinned);
    const proof = await cheapestReaching(problem, [{ gain: problem.gain, atLeast: 2 }], exactly);
    expect(proof.choice).toBeNull();
  });

  it("leaves out items without gain, free ones too", async () => {
    const problem = problemOf(
      [
        { gain: 0, cost: 0 },
        { gain: 3, cost: 0 },
        { gain: 0, cost: 9 },
      ],
      [],
    );
    const { choice } = await cheapestReaching(problem, [{ gain: problem.gain, atLeast: 1 }], exactly);
    expect(choice?.items).toEqual([1]);
  });

  it("reaches every one of several targets", async () => {
    const problem = problemOf(
      [1, 2, 3, 9].map((cost) => ({ gain: 0, cost })),
      [],
    );
    const targets = [
      { gain: Float64Array.of(1, 1, 0, 1), atLeast: 1 },
      { gain: Float64Array.of(0, 1, 1, 1), atLeast: 2 },
    ];
    const { choice, optimal } = await cheapestReaching(problem, targets, exactly);
    expect(choice).toEqual({ items: [1, 2], gain: 0, cost: 5 });
    expect(optimal).toBe(true);
  });

  it("gives an honest bound without time to search", async () => {
    const proof = await cheapestReaching(shared, [{ gain: shared.gain, atLeast: 111 }], atOnce);
    expect(proof.choice?.cost).toBe(13);
    expect(proof).toMatchObject({ bound: 7, optimal: false });
    expect(proof.gap).toBeCloseTo(6 / 13);
  });

  it("equals the best of all choices", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyProblem(8, 10_000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (problem, part) => {
          const values = allChoices(problem.items).map((items) => naiveEvaluate(problem, items));
          const atLeast = Math.ceil(part * values.at(-1)!.gain);
          const least = Math.min(...values.filter((v) => v.gain >= atLeast).map((v) => v.cost));
          const proof = await cheapestReaching(problem, [{ gain: problem.gain, atLeast }], exactly);
          expect(proof).toMatchObject({ choice: { cost: least }, bound: least, gap: 0, optimal: true });
          expect(proof.choice!.gain).toBeGreaterThanOrEqual(atLeast);
          expect(proof.choice).toMatchObject(naiveEvaluate(problem, proof.choice!.items));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("equals the best of all choices for two targets", async () => {
    const other = fc.array(fc.nat(20), { minLength: 20, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(anyProblem(7, 100), other, fc.nat(100), fc.nat(100), async (problem, extra, p, q) => {
        const gain = problem.gain.map((_, v) => extra[v]!);
        const choices = allChoices(problem.items);
        const values = choices.map((items) => naiveEvaluate(problem, items));
        const others = choices.map((items) => naiveEvaluate(problem, items, gain).gain);
        const first = Math.ceil((values.at(-1)!.gain * p) / 100);
        const second = Math.ceil((others.at(-1)! * q) / 100);
        const good = values.filter((v, i) => v.gain >= first && others[i]! >= second);
        const targets = [
          { gain: problem.gain, atLeast: first },
          { gain, atLeast: second },
        ];
        const proof = await cheapestReaching(problem, targets, exactly);
        expect(proof.choice?.cost).toBe(Math.min(...good.map((v) => v.cost)));
        const quick = await cheapestReaching(problem, targets, atOnce);
        expect(quick.bound).toBeLessThanOrEqual(proof.choice!.cost);
        expect(quick.choice!.cost).toBeGreaterThanOrEqual(proof.choice!.cost);
      }),
      { numRuns: 40 },
    );
  });

  it("stays honest where sums near 2^53", async () => {
    await fc.assert(
      fc.asyncProperty(anyProblem(6, 2 ** 48), fc.integer({ min: 1, max: 100 }), async (problem, percent) => {
        const values = allChoices(problem.items).map((items) => naiveEvaluate(problem, items));
        const whole = values.at(-1)!.gain;
        const atLeast = Math.min(whole, Math.ceil((whole / 100) * percent));
        const least = Math.min(...values.filter((v) => v.gain >= atLeast).map((v) => v.cost));
        const proof = await cheapestReaching(problem, [{ gain: problem.gain, atLeast }], exactly);
        expect(proof.choice!.gain).toBeGreaterThanOrEqual(atLeast);
        expect(proof.choice!.cost).toBeGreaterThanOrEqual(least);
        expect(proof.bound).toBeLessThanOrEqual(least);
        if (proof.optimal) expect(proof.choice!.cost - least).toBeLessThanOrEqual(2e-9 * least);
      }),
      { numRuns: 60 },
    );
  });
});

describe("largestWithin", () => {
  it("fills the cost with what gains most", async () => {
    expect(await largestWithin(shared, 6, exactly)).toEqual({
      choice: { items: [0, 1], gain: 110, cost: 6 },
      bound: 110,
      gap: 0,
      optimal: true,
    });
    expect((await largestWithin(shared, 10, exactly)).choice?.items).toEqual([0, 1]);
    expect((await largestWithin(shared, 5, exactly)).choice?.cost).toBe(3);
    expect((await largestWithin(shared, 0, exactly)).choice?.items).toEqual([]);
    expect((await largestWithin(shared, 1e12, exactly)).choice?.items).toEqual([0, 1, 2]);
    expect((await largestWithin(shared, -1, exactly)).choice).toBeNull();
  });

  it("equals the best of all choices", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyProblem(8, 10_000),
        fc.double({ min: 0, max: 1.1, noNaN: true }),
        async (problem, part) => {
          const values = allChoices(problem.items).map((items) => naiveEvaluate(problem, items));
          const maxCost = Math.floor(part * values.at(-1)!.cost);
          const most = Math.max(...values.filter((v) => v.cost <= maxCost).map((v) => v.gain));
          const proof = await largestWithin(problem, maxCost, exactly);
          expect(proof).toMatchObject({ choice: { gain: most }, bound: most, gap: 0, optimal: true });
          expect(proof.choice!.cost).toBeLessThanOrEqual(maxCost);
          const quick = await largestWithin(problem, maxCost, atOnce);
          expect(quick.bound).toBeGreaterThanOrEqual(most);
          expect(quick.choice!.cost).toBeLessThanOrEqual(maxCost);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("evaluate", () => {
  it("agrees with the definition", () => {
    fc.assert(
      fc.property(anyProblem(10, 2 ** 40), fc.nat(1023), (problem, bits) => {
        const items = allChoices(problem.items)[bits % 2 ** problem.items]!;
        expect(evaluate(problem, items)).toEqual(naiveEvaluate(problem, items));
      }),
    );
  });
});
