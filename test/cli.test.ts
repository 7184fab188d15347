import { execFile, spawn } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NOW, runCli, runJson } from "./helpers/cli.ts";
import { fixture } from "./helpers/fixtures.ts";

const DEMO = fixture("docker-archive/docker-legacy-multi");
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ullage-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("exit codes and errors", () => {
  test("2: the command line is wrong, in one line", async () => {
    for (const args of [
      ["images", "--nonsense", DEMO],
      ["images", "--units", "furlongs", DEMO],
      ["plan", "--free", "lots", DEMO],
      ["plan", "--keep-last", "x", DEMO],
      ["plan", "--free", "1MB", "--until-free", "1MB", DEMO],
      ["images", "--filter", "colour=red", DEMO],
      ["images", "--sort", "beauty", DEMO],
      ["images", "--format", "{{.Nope}}", DEMO],
      ["what-if", "no-such-image", "-s", DEMO],
      ["inspect", "-s", DEMO],
      ["df", "--fail-over", "total.colour=1", DEMO],
      ["df", "--now", "yesterday", DEMO],
    ]) {
      const { code, out, err } = await runCli(args);
      expect(code, args.join(" ")).toBe(2);
      expect(out).toBe("");
      expect(err.trimEnd().split("\n"), err).toHaveLength(1);
      expect(err).toMatch(/^ullage: /);
    }
  });

  test("3: a source cannot be read at all", async () => {
    const text = join(folder, "text");
    await writeFile(text, "not an archive at all, but long enough to look at\n".repeat(40));
    const empty = join(folder, "empty");
    await writeFile(empty, "");
    for (const source of [text, empty, join(folder, "absent"), "/dev/null"]) {
      const { code, out, err } = await runCli(["images", source]);
      expect(code, source).toBe(3);
      expect(out).toBe("");
      expect(err.trimEnd().split("\n"), err).toHaveLength(1);
      expect(err).toContain(source);
    }
    expect((await runCli([])).code).toBe(3);
  });

  test("1: a number above its limit; paths go through lists by name", async () => {
    expect((await runCli(["df", DEMO, "--fail-over", "total.apparent=1GB"])).code).toBe(0);
    expect((await runCli(["df", DEMO, "--fail-over", "total=1MB"])).code).toBe(1);
    expect((await runCli(["df", DEMO, "--fail-over", "categories.images.size=1MiB"])).code).toBe(1);
    const { code, err } = await runCli(["images", DEMO, "--fail-over", "images.shop/base:1.size=1kB"]);
    expect(code).toBe(1);
    expect(err).toContain("images.shop/base:1.size is above 1kB");
  });

  test("1: a target out of reach", async () => {
    const { code, out } = await runCli(["plan", "--free", "10GB", DEMO]);
    expect(code).toBe(1);
    expect(out).toContain("cannot be reached");
  });

  test("a name with control characters is escaped", async () => {
    const { err } = await runCli(["images", join(folder, "\x1b[31mred")]);
    expect(err).not.toContain("\x1b");
    expect(err).toContain("\\x1b[31mred");
  });

  test("--debug adds where an error comes from, nothing else does", async () => {
    expect((await runCli(["images", join(folder, "absent")])).err).not.toContain("    at ");
    expect((await runCli(["images", join(folder, "absent"), "--debug"])).err).toContain("    at ");
  });
});

describe("what stands where", () => {
  test("a command is found after options, and a file of its name with ./", async () => {
    expect((await runCli(["--units", "iec", "df", DEMO])).out).toContain("MiB");
    expect((await runCli(["df", "-s", DEMO])).out).toBe((await runCli(["df", DEMO])).out);
    expect((await runCli(["df", "--", DEMO])).out).toBe((await runCli(["df", DEMO])).out);
  });

  test("help names every command, and --version the version", async () => {
    const { code, out } = await runCli(["--help"]);
    expect(code).toBe(0);
    for (const name of ["df", "images", "tree", "inspect", "verify", "what-if", "plan"])
      expect(out).toContain(`  ${name} `);
    const { version } = JSON.parse(await readFile("package.json", "utf8"));
    expect((await runCli(["--version"])).out).toBe(`${version}\n`);
    expect((await runCli(["plan", "--help"])).out).toContain("--keep-file");
  });

  test("colour only on terminals, and never with NO_COLOR", async () => {
    const args = ["plan", "--free", "1MB", DEMO];
    expect((await runCli(args)).out).not.toContain("\x1b[");
    expect((await runCli(args, { isTTY: true })).out).toContain("\x1b[");
    expect((await runCli(args, { isTTY: true, env: { NO_COLOR: "1" } })).out).not.toContain("\x1b[");
    expect((await runCli([...args, "--no-color"], { isTTY: true })).out).not.toContain("\x1b[");
  });
});

describe("images as docker images has them", () => {
  test("-q, --no-trunc, --filter", async () => {
    const short = (await runCli(["images", "-q", DEMO])).out.trim().split("\n");
    expect(short.every((id) => /^[0-9a-f]{12}$/.test(id))).toBe(true);
    const long = (await runCli(["images", "-q", "--no-trunc", DEMO])).out.trim().split("\n");
    expect(long.map((id) => id.slice(7, 19))).toEqual(short);
    const dangling = (await runCli(["images", "-q", "-f", "dangling=true", DEMO])).out.trim();
    expect(dangling).toBe("6ba8a13afa87");
    const web = (await runCli(["images", "-f", "reference=shop/web", "--format", "{{.Tag}}", DEMO])).out;
    expect(web).toBe("1.2\nlatest\n1.1\n1.0\n");
    const early = (await runCli(["images", "-f", "before=shop/web:1.0", "--format", "{{.Repository}}", DEMO]))
      .out;
    expect(early).toBe("shop/base\n");
    const stars = (await runCli(["images", "-f", "reference=*/a*:2.?", "--format", "{{.Tag}}", DEMO])).out;
    expect(stars).toBe("2.1\n2.0\n");
  });

  test("--format: rows, tables, json", async () => {
    const rows = await runCli([
      "images",
      DEMO,
      "--format",
      "{{.Repository}}:{{.Tag}} {{upper .ID}}",
      "--sort",
      "-created",
    ]);
    expect(rows.out.split("\n")[0]).toMatch(/^shop\/web:1.2 [0-9A-F]{12}$/);
    const table = await runCli(["images", DEMO, "--format", "table {{.Repository}}\\t{{.Exclusive}}"]);
    expect(table.out.split("\n")[0]).toMatch(/^REPOSITORY +EXCLUSIVE$/);
    const json = await runCli(["images", DEMO, "--format", "json"]);
    expect(JSON.parse(json.out.split("\n")[0]!)).toMatchObject({
      Repository: "shop/web",
      Tag: "1.2",
      ID: "bb68994580eb",
    });
    expect((await runCli(["df", DEMO, "--format", "{{.total.apparent}}"])).out).toMatch(/^\d+\n$/);
  });

  test("--sort puts the largest first", async () => {
    const { json } = await runJson(["images", DEMO, "--sort", "exclusive"]);
    const sizes = json.images.map((image: { exclusive: { allocated: number } }) => image.exclusive.allocated);
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
  });
});

describe("plan", () => {
  test("what it says it frees is what what-if says of its steps", async () => {
    for (const free of ["1kB", "10%", "300kB", "50%", "90%"]) {
      const { json } = await runJson(["plan", "--free", free, DEMO]);
      const ids = json.steps.map((step: { id: string }) => step.id);
      const { json: whatIf } = await runJson(["what-if", ...ids, "-s", DEMO]);
      expect(whatIf.reclaimable).toEqual(json.reclaimed);
      expect(json.reclaimed.allocated).toBeGreaterThanOrEqual(json.target);
      expect(json.optimal).toBe(true);
      expect(json.steps.at(-1).cumulative).toEqual(json.reclaimed);
    }
  });

  test("--keep, --keep-last, --min-age and --keep-file each keep, and say why", async () => {
    const keepFile = join(folder, "keep");
    await writeFile(keepFile, "shop/api:.*\n\n748085941ccb\nshop/web\n");
    const cases: [string[], string[]][] = [
      [
        ["--keep", "shop/w*"],
        ["shop/web:1.0", "shop/web:1.1", "shop/web:1.2", "shop/worker:7"],
      ],
      [
        ["--keep", "shop/web"],
        ["shop/web:1.0", "shop/web:1.1", "shop/web:1.2"],
      ],
      [
        ["--keep-last", "1"],
        ["shop/api:2.1", "shop/base:1", "shop/web:1.2", "shop/worker:7"],
      ],
      [
        ["--min-age", "900d"],
        ["shop/web:1.2", "shop/worker:7"],
      ],
      [
        ["--keep-file", keepFile],
        ["shop/api:2.0", "shop/api:2.1", "shop/base:1"],
      ],
    ];
    for (const [flags, names] of cases) {
      const { json } = await runJson(["plan", ...flags, DEMO]);
      const { json: all } = await runJson(["images", DEMO]);
      const nameOf = new Map(
        all.images.map((image: { id: string; names: string[] }) => [image.id, image.names[0]]),
      );
      expect(json.kept.map((one: { id: string }) => nameOf.get(one.id)).sort(), flags.join(" ")).toEqual(
        names,
      );
      expect(json.kept.every((one: { because: string }) => one.because.length > 5)).toBe(true);
      const chosen = json.steps.flatMap((step: { names: string[] }) => step.names);
      expect(chosen.filter((name: string) => names.includes(name))).toEqual([]);
    }
  });

  test("--script, --curve and -o", async () => {
    const script = (await runCli(["plan", "--free", "30%", "--script", DEMO])).out;
    expect(script).toContain("docker save -o");
    const save = script.split("\n").find((line) => line.startsWith("docker save"))!;
    const { json: plan } = await runJson(["plan", "--free", "30%", DEMO]);
    for (const { names } of plan.steps) for (const name of names) expect(save.split(" ")).not.toContain(name);
    expect(save).toContain("shop/base:1");
    expect((await runCli(["plan", "--script", DEMO])).code).toBe(2);
    const copy = join(folder, "copy.tar");
    await copyFile(DEMO, copy);
    expect((await runCli(["plan", "-o", copy, copy])).code).toBe(2);
    expect(await readFile(copy)).toEqual(await readFile(DEMO));
    expect((await runCli(["plan", "--curve", DEMO])).out).toContain("LOSS PER BYTE");
    const file = join(folder, "plan.json");
    await runCli(["plan", "--free", "30%", "-o", file, DEMO]);
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({
      schemaVersion: 1,
      command: "plan",
      optimal: true,
    });
  });

  test("--loss overrides a constant", async () => {
    const file = join(folder, "loss.json");
    await writeFile(file, '{"halfLifeDays": 100000}');
    const { json: usual } = await runJson(["plan", "--free", "30%", DEMO]);
    const { json: other } = await runJson(["plan", "--free", "30%", "--loss", file, DEMO]);
    expect(other.loss).toBeGreaterThan(usual.loss);
    await writeFile(file, '{"halflife": 1}');
    expect((await runCli(["plan", "--loss", file, DEMO])).code).toBe(2);
  });
});

describe("the built program", () => {
  const run = promisify(execFile);
  const bin = "dist/src/cli.js";

  test("answers through its bin, with real threads", async () => {
    const { stdout } = await run(process.execPath, [bin, "--verify", DEMO, "--now", NOW]);
    expect(stdout).toContain("8 images in");
    expect(stdout).toContain("28 ok");
  });

  test("-: an archive on standard input, in one pass", async () => {
    const direct = await runJson(["verify", DEMO]);
    const child = spawn(process.execPath, [bin, "verify", "-", "--json"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.end(await readFile(DEMO));
    let out = "";
    for await (const chunk of child.stdout) out += chunk;
    const piped = JSON.parse(out);
    expect(piped.summary).toEqual(direct.json.summary);
    expect(piped.checked.map((check: { id: string }) => check.id)).toEqual(
      direct.json.checked.map((check: { id: string }) => check.id),
    );
  });

  test("SIGINT ends it with 130 and one line", async () => {
    const child = spawn(process.execPath, [bin, "verify", "-"], { stdio: ["pipe", "pipe", "pipe"] });
    let err = "";
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    child.stdin.write((await readFile(DEMO)).subarray(0, 10_000)); // and no more: it waits
    await new Promise((resolve) => setTimeout(resolve, 600));
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.on("exit", resolve));
    expect(code).toBe(130);
    expect(err).toBe("ullage: interrupted\n");
  });

  test("a closed pipe is no error", async () => {
    const { stderr } = await run("sh", [
      "-c",
      `"${process.execPath}" ${bin} images --json ${DEMO} | head -c 10`,
    ]);
    expect(stderr).toBe("");
  });
});
