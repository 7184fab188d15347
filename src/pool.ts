/**
 * The worker threads. This file alone knows where the compiled `workers/` are; everything else calls {@link Pool}.
 */
import { setMaxListeners } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Piscina } from "piscina";
import { InterruptedError } from "./errors.ts";

/** Entry file in `workers/` -> the shape of its one function. */
export interface Tasks {
  scan: (job: import("../workers/scan.ts").ScanJob) => Promise<import("../workers/scan.ts").ScanResult>;
  waste: (job: import("../workers/waste.ts").WasteJob) => Promise<import("../workers/waste.ts").WasteResult>;
  locate: (job: import("../workers/locate.ts").LocateJob) => Promise<string | null>;
  walk: (job: import("../workers/walk.ts").WalkJob) => Promise<import("../workers/walk.ts").WalkResult>;
  reassemble: (
    job: import("../workers/reassemble.ts").ReassembleJob,
  ) => Promise<import("../workers/reassemble.ts").ReassembleResult>;
  solve: (job: import("../workers/solve.ts").SolveJob) => Promise<import("../workers/solve.ts").SolveResult>;
}

export interface Pool {
  /** How many tasks run at once. */
  readonly size: number;
  /** Runs a task on the next free thread, or right here in a pool of size 0; queued tasks start in order. */
  run<Name extends keyof Tasks>(name: Name, job: Parameters<Tasks[Name]>[0]): ReturnType<Tasks[Name]>;
  close(): Promise<void>;
}

const isCompiled = import.meta.url.endsWith(".js");

/** What a thread runs is compiled code: run from source, as by a test runner, it is taken from the build. */
function workerFile(name: string): string {
  return fileURLToPath(
    new URL(isCompiled ? `../workers/${name}.js` : `../dist/workers/${name}.js`, import.meta.url),
  );
}

/** The same function for this thread, compiled or not as this file is: two copies of one module do not mix. */
async function loadTask(name: string): Promise<(job: unknown) => unknown> {
  const file = new URL(`../workers/${name}.${isCompiled ? "js" : "ts"}`, import.meta.url);
  return ((await import(file.href)) as { default: (job: unknown) => unknown }).default;
}

/**
 * One a core, up to four: a thread that inflates holds some 42 MB, so that four stay below 250 MB in all, and four
 * hash faster than most disks read.
 */
const DEFAULT_SIZE = Math.min(availableParallelism(), 4);

/** A pool of `size` threads, started when first used. */
export function createPool(signal: AbortSignal, size = DEFAULT_SIZE): Pool {
  let threads: Piscina | null = null;
  setMaxListeners(0, signal); // every task under way listens to it: with six cores and more, no sign of a leak
  const run = async (name: string, job: unknown): Promise<unknown> => {
    if (signal.aborted) throw new InterruptedError("interrupted");
    if (size === 0) return (await loadTask(name))(job);
    const { Piscina } = await import("piscina");
    threads ??= new Piscina({
      minThreads: 0,
      maxThreads: size,
      idleTimeout: 2000,
      concurrentTasksPerWorker: 1,
    });
    try {
      return await threads.run(job, { filename: workerFile(name), signal });
    } catch (error) {
      throw signal.aborted ? new InterruptedError("interrupted", { cause: error }) : error;
    }
  };
  return {
    size: Math.max(1, size),
    run: run as Pool["run"],
    async close() {
      const closing = threads;
      threads = null;
      await closing?.destroy();
    },
  };
}
