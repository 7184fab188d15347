/**
 * Measures a folder of the host by claims. The folders above claims are walked here; what is below a claim is handed
 * to threads in batches, and what a batch does not get to comes back and is handed out again.
 */
import { statfsSync, statSync } from "node:fs";
import { type BytePath, parentOf, ROOT } from "../byte-path.ts";
import { InterruptedError } from "../errors.ts";
import { keepLargest, type Measured, type MeasureOptions, type Usage } from "./tree.ts";
import { hostPath, Walker, type WalkFolder, type WalkResult, type WalkSum, walkFolders } from "./walk.ts";

/** So many entries are counted here before any thread is started: that takes as long as to start one. */
const HERE = 20_000;
const BATCH_FOLDERS = 48;
const BUDGET = 25_000;

interface Total {
  readonly sums: Map<number, WalkSum>;
  readonly links: Map<string, { apparent: number; allocated: number; claims: Set<number> }>;
  readonly unread: (WalkFolder & { code: string })[];
  readonly mounts: string[];
  readonly files: WalkResult["files"][number][];
}

/** `root` is a real path, one char a byte; `onUnread` hears of folders that may not be listed. */
export async function measureHost(
  root: string,
  claims: ReadonlySet<BytePath>,
  options: MeasureOptions,
  onUnread: (path: BytePath, code: string) => void,
): Promise<Measured> {
  const names = [ROOT, ...[...claims].filter((claim) => claim !== ROOT)];
  const device = statSync(hostPath(root)).dev;
  const total: Total = { sums: new Map(), links: new Map(), unread: [], mounts: [], files: [] };
  const base = { root, device, largest: options.largest };
  const pending = walkAbove(base, names, total);
  await walkBelow(base, pending, options, total);
  for (const { path, code } of total.unread) onUnread(path as BytePath, code);
  return measured(names, total, options.largest, root);
}

type Base = { readonly root: string; readonly device: number; readonly largest: number };

/** Counts claims that are files, and folders that have claims inside; returns the folders that have none. */
function walkAbove(base: Base, names: readonly BytePath[], total: Total): WalkFolder[] {
  const numbers = new Map(names.map((name, number) => [name as string, number]));
  const above = new Set<string>([ROOT]);
  for (const name of names) for (let at = parentOf(name); !above.has(at); at = parentOf(at)) above.add(at);
  const walker = new Walker(base);
  const pending: WalkFolder[] = [];
  const stack: WalkFolder[] = walker.entry(ROOT, 0) ? [{ path: ROOT, claim: 0 }] : [];
  for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
    const prefix = folder.path === "" ? "" : `${folder.path}/`;
    for (const name of walker.names(folder)) {
      const path = prefix + name;
      const claim = numbers.get(path) ?? folder.claim;
      if (walker.entry(path, claim)) (above.has(path) ? stack : pending).push({ path, claim });
    }
  }
  collect(total, walker.result([]));
  return pending;
}

async function walkBelow(
  base: Base,
  folders: WalkFolder[],
  options: MeasureOptions,
  total: Total,
): Promise<void> {
  const { pool, signal } = options;
  const first = walkFolders({ ...base, folders, budget: HERE });
  collect(total, first);
  const queue = [...first.pending];
  let busy = 0;
  const wake: (() => void)[] = [];
  const lane = async (): Promise<void> => {
    for (;;) {
      if (signal.aborted) throw new InterruptedError("interrupted");
      // Small batches while there is little to hand out, so that no thread is left without.
      const share = Math.ceil(queue.length / (2 * pool.size));
      const batch = queue.splice(0, Math.max(1, Math.min(BATCH_FOLDERS, share)));
      if (batch.length === 0) {
        if (busy === 0) return;
        await new Promise<void>((resolve) => wake.push(resolve));
        continue;
      }
      busy++;
      try {
        const result = await pool.run("walk", { ...base, folders: batch, budget: BUDGET });
        collect(total, result);
        queue.push(...result.pending);
      } finally {
        busy--;
        for (const resolve of wake.splice(0)) resolve();
      }
    }
  };
  await Promise.all(Array.from({ length: queue.length > 0 ? pool.size * 2 : 0 }, lane));
}

function collect(total: Total, { sums, links, unread, mounts, files }: WalkResult): void {
  for (const [claim, sum] of sums) addSum(total, claim, sum);
  for (const { key, apparent, allocated, claims } of links) {
    const known = total.links.get(key);
    if (!known) total.links.set(key, { apparent, allocated, claims: new Set(claims) });
    else for (const claim of claims) known.claims.add(claim);
  }
  total.unread.push(...unread);
  total.mounts.push(...mounts);
  total.files.push(...files);
}

function addSum(total: Total, claim: number, { apparent, allocated, inodes }: WalkSum): void {
  const sum = total.sums.get(claim);
  if (!sum) total.sums.set(claim, { apparent, allocated, inodes });
  else {
    sum.apparent += apparent;
    sum.allocated += allocated;
    sum.inodes += inodes;
  }
}

function measured(names: readonly BytePath[], total: Total, largest: number, root: string): Measured {
  const shared = new Map<string, { claims: BytePath[]; usage: Usage }>();
  for (const { apparent, allocated, claims } of total.links.values()) {
    const [only] = claims;
    if (claims.size === 1) {
      addSum(total, only!, { apparent, allocated, inodes: 1 });
      continue;
    }
    const sorted = [...claims].sort((a, b) => a - b);
    const key = sorted.join(",");
    const before = shared.get(key)?.usage ?? { apparent: 0, allocated: 0, inodes: 0 };
    const usage = {
      apparent: before.apparent + apparent,
      allocated: (before.allocated ?? 0) + allocated,
      inodes: (before.inodes ?? 0) + 1,
    };
    shared.set(key, { claims: sorted.map((claim) => names[claim]!), usage });
  }
  const top = total.files.map(({ path, claim, apparent, allocated }) => {
    return { path: path as BytePath, claim: names[claim]!, usage: { apparent, allocated, inodes: 1 } };
  });
  keepLargest(top, largest);
  return {
    usage: new Map([...total.sums].map(([claim, sum]) => [names[claim]!, sum])),
    shared: [...shared.values()],
    largest: top,
    unread: total.unread.map(({ path, claim }) => ({ path: path as BytePath, claim: names[claim]! })),
    mounts: total.mounts as BytePath[],
    remarks: remarksOn(root),
  };
}

/** `f_type` of file systems in which files may share blocks (Linux, magic.h). */
const REFLINKS: Readonly<Record<number, string>> = {
  1481003842: "xfs",
  2435016766: "btrfs",
  3393526350: "bcachefs",
  1952539503: "ocfs2",
};

function remarksOn(root: string): string[] {
  try {
    const name = REFLINKS[statfsSync(hostPath(root)).type];
    return name
      ? [
          `on ${name} files may share blocks: what they share counts for each of them, so less may come back than is said`,
        ]
      : [];
  } catch {
    return [];
  }
}
