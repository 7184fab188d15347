/** The build cache of real data-roots, against what `docker system df -v` listed. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runJson } from "../helpers/cli.ts";

describe.each(["overlay2-buildkit", "vfs", "orphans"])("%s", (name) => {
  const oracle = JSON.parse(readFileSync(`fixtures/docker/${name}/oracle.json`, "utf8"));

  test("records, field by field", async () => {
    const { json } = await runJson(["df", "-v", `fixtures/docker/${name}/input.tar.gz`]);
    const told = oracle.systemDf.BuildCache ?? [];
    expect(told.length).toBeGreaterThan(0);
    expect(json.buildCache.map((one: { id: string }) => one.id).sort()).toEqual(
      told.map((one: { ID: string }) => one.ID).sort(),
    );
    for (const one of told) {
      const record = json.buildCache.find(({ id }: { id: string }) => id === one.ID);
      expect(record).toMatchObject({
        type: one.Type,
        description: one.Description,
        shared: one.Shared,
        recorded: one.Size,
        created: one.CreatedAt,
        parents: one.Parent === "" ? [] : [one.Parent],
      });
      // Cache mounts were released, and so used once more, after the engine had been asked.
      expect(record.usageCount).toBeGreaterThanOrEqual(one.UsageCount);
      if (record.usageCount === one.UsageCount) expect(record.lastUsed).toBe(one.LastUsedAt);
    }
  });
});
