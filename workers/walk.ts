/** Adds up what is below folders of the host. */
import { type WalkJob, type WalkResult, walkFolders } from "../src/trees/walk.ts";

export type { WalkJob, WalkResult };

export default async function walk(job: WalkJob): Promise<WalkResult> {
  return walkFolders(job);
}
