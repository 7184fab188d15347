/** Solves an integer program off the main thread, which HiGHS would block. */
import type { ClosureProblem } from "../src/solver/problem.ts";
import {
  cheapestReaching,
  type Limits,
  largestWithin,
  type Proof,
  type Target,
} from "../src/solver/solve.ts";

export interface SolveJob {
  readonly problem: ClosureProblem;
  readonly targets: readonly Target[];
  /** Instead of targets: the most that may be lost. */
  readonly maxCost: number | null;
  readonly limits: Limits;
}

export type SolveResult = Proof;

export default async function solve(job: SolveJob): Promise<SolveResult> {
  if (job.maxCost !== null) return largestWithin(job.problem, job.maxCost, job.limits);
  return cheapestReaching(job.problem, job.targets, job.limits);
}
