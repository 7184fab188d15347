/**
 * What deleting really frees: each action is done by the engine on its own copy of a stopped data-root, and `du`
 * is asked before and after.
 *
 *   root --cp -a--> settled copy (engine started and stopped once)
 *                     --cp -a--> copy: predict, du, start, act, stop, du     one for each action
 *
 * The engine changes its root by starting and stopping alone (see `idle`), mostly the first time; the settling takes
 * that out of the figures. Predictions are asked of the very copy that is acted on, since a copy's folders may be
 * smaller than the original's.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProcess, startDockerd } from "./dockerd.ts";
import { type Change, changesBetween, duOf, listUsage, type Usage } from "./usage.ts";

/** Command lines of `docker`, one after the other: `["rmi shop/a:1 shop/b:1", "builder prune -af"]`; [] does nothing. */
export type Action = readonly string[];

export interface Effect<Prediction> {
  readonly action: string;
  /** Of the last command; a refusal ("image is being used") is an answer like another. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly before: Usage;
  readonly after: Usage;
  readonly freedBytes: number;
  readonly freedInodes: number;
  /** Every path whose allocated bytes changed, to explain a difference with. */
  readonly changed: readonly Change[];
  readonly predicted: Prediction;
}

export interface EffectOptions<Prediction> {
  readonly driver?: string;
  /**
   * Writes the bbolt files of the settled copy without their holes. The engine writes every change to free pages, some
   * of which are holes at first, so that a prune makes these files hold some 8 to 24 KiB more; without holes it does
   * not, until a file grows.
   */
  readonly denseDatabases?: boolean;
  /** Asked before the engine is started on the copy, which stays at that path. */
  readonly predict: (copy: string, action: Action) => Promise<Prediction>;
}

/** The effects of each action alone on the data-root, which must be stopped and stays as it is. */
export async function effectsOf<Prediction>(
  root: string,
  actions: readonly Action[],
  options: EffectOptions<Prediction>,
): Promise<Effect<Prediction>[]> {
  const scratch = mkdtempSync(join(tmpdir(), "ullage-effects-"));
  const start = options.driver === undefined ? {} : { driver: options.driver };
  try {
    const settled = join(scratch, "settled", "docker");
    await copyTree(root, settled);
    await actOn(settled, [], start);
    if (options.denseDatabases === true) await fillHoles(settled);
    const effects: Effect<Prediction>[] = [];
    for (const action of actions) {
      const copy = join(scratch, "current", "docker");
      await copyTree(settled, copy);
      const predicted = await options.predict(copy, action);
      const listed = listUsage(copy);
      const before = await duOf(copy);
      const ran = await actOn(copy, action, start);
      const after = await duOf(copy);
      effects.push({
        action: action.map((line) => `docker ${line}`).join(" && ") || "(start and stop)",
        ...ran,
        before,
        after,
        freedBytes: before.bytes - after.bytes,
        freedInodes: before.inodes - after.inodes,
        changed: changesBetween(listed, listUsage(copy)),
        predicted,
      });
      rmSync(join(scratch, "current"), { recursive: true });
    }
    return effects;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Starts an engine on the root, runs the commands until one fails, stops it. */
async function actOn(root: string, action: Action, start: { driver?: string }) {
  const engine = await startDockerd({ root, ...start });
  let last = { code: 0, stdout: "", stderr: "" };
  try {
    for (const line of action) {
      const ran = await engine.run(line.split(" "));
      last = { code: ran.code, stdout: last.stdout + ran.stdout, stderr: last.stderr + ran.stderr };
      if (ran.code !== 0) break;
    }
  } finally {
    await engine.dispose();
  }
  return last;
}

async function fillHoles(root: string): Promise<void> {
  const script =
    'for f in "$1"/buildkit/*.db; do cp -a --sparse=never "$f" "$f.dense" && mv "$f.dense" "$f"; done';
  const { code, stderr } = await runProcess("sh", ["-c", script, "sh", root]);
  if (code !== 0) throw new Error(`cp: ${stderr}`);
}

/** Every name, link, hole, attribute and time of a tree; blocks are shared where the file system can. */
async function copyTree(from: string, to: string): Promise<void> {
  await runProcess("mkdir", ["-p", join(to, "..")]);
  const { code, stderr } = await runProcess("cp", ["-a", "--reflink=auto", from, to]);
  if (code !== 0) throw new Error(`cp: ${stderr}`);
}
