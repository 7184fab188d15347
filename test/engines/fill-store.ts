/**
 * Fills a data-root with what a busy host has: images that share layers, of both builders, retagged, rebuilt and
 * deleted; containers with changes, logs and volumes; build cache that images hold too, and that none does.
 * The same seed gives the same shape and content; IDs and times differ.
 */
import { cpSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Dockerd } from "./dockerd.ts";

export interface FillOptions {
  readonly seed: number;
  /** Images beside the base; 6 without it. */
  readonly images?: number;
}
/** What is there afterwards, as the engine lists it. */
export interface Filled {
  readonly tags: readonly string[];
  readonly dangling: readonly string[];
  readonly containers: readonly string[];
  readonly volumes: readonly string[];
}

type Random = (below: number) => number;

/** Around the block size, around what an inode holds itself, and beyond one extent's neighbourhood. */
const SIZES = [0, 1, 59, 60, 61, 1000, 4095, 4096, 4097, 12_288, 20_000, 70_001, 300_000];

export async function fillStore(engine: Dockerd, options: FillOptions): Promise<Filled> {
  const random = randomFrom(options.seed);
  const scratch = mkdtempSync(join(tmpdir(), "ullage-context-"));
  try {
    const tags = await buildImages(engine, random, scratch, options.images ?? 6);
    await moveTags(engine, random, scratch, tags);
    await runContainers(engine, random);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return listStore(engine);
}

async function buildImages(
  engine: Dockerd,
  random: Random,
  scratch: string,
  count: number,
): Promise<string[]> {
  const context = join(scratch, "base");
  for (const folder of ["bin", "etc", "proc", "sys", "dev", "tmp", "data"])
    mkdirSync(join(context, "root", folder), { recursive: true });
  cpSync("/bin/busybox", join(context, "root/bin/busybox"));
  symlinkSync("busybox", join(context, "root/bin/sh"));
  fillFolder(join(context, "root/usr"), random, 12);
  fillFolder(join(context, "certs"), random, 3);
  await build(engine, "classic", "fill/base:1", context, [
    "FROM scratch",
    "COPY root/ /",
    "COPY certs/ /etc/certs/",
    "ENV PATH=/bin",
  ]);

  const tags = ["fill/base:1"];
  for (let i = 0; i < count; i++) {
    const tag = `fill/app${i}:1`;
    await buildApp(engine, random, join(scratch, `app${i}`), tag, tags[random(tags.length)]!);
    tags.push(tag);
  }
  return tags;
}

async function buildApp(
  engine: Dockerd,
  random: Random,
  context: string,
  tag: string,
  from: string,
): Promise<void> {
  // The first two of every store are one of each kind; the rest as it comes.
  const builder = tag.includes("app0") || (!tag.includes("app1") && random(2) === 0) ? "classic" : "buildkit";
  const lines = [`FROM ${from}`];
  const steps = 1 + random(3);
  for (let step = 0; step < steps; step++) {
    fillFolder(join(context, `part${step}`), random, 1 + random(8));
    lines.push(`COPY part${step}/ /srv/part${step}/`);
  }
  if (random(2) === 0) lines.push(`RUN ${shell("busybox dd if=/bin/busybox of=/srv/made bs=1k", random)}`);
  if (builder === "buildkit" && random(2) === 0) {
    lines.push(
      `RUN --mount=type=cache,target=/var/cache/fill busybox dd if=/bin/busybox of=/var/cache/fill/${random(9)} bs=1k count=${1 + random(90)} && busybox touch /srv/stamp`,
    );
  }
  lines.push(`LABEL fill=${random(1000)}`);
  await build(engine, builder, tag, context, lines);
}

/** A step that writes, deletes, replaces a folder and changes a mode: whiteouts, an opaque folder, copy-up. */
function shell(dd: string, random: Random): string {
  const steps = [
    `${dd} count=${1 + random(60)}`,
    "busybox rm -rf /etc/certs",
    "busybox mkdir /etc/certs",
    "busybox touch /etc/certs/new",
  ];
  return [...steps, "busybox chmod 700 /bin/busybox", "busybox mkdir -p /srv/made.d/empty"]
    .slice(0, 1 + random(6))
    .join(" && ");
}

/** Second names, rebuilds that leave an image without a name, and BuildKit images whose cache outlives them. */
async function moveTags(
  engine: Dockerd,
  random: Random,
  scratch: string,
  tags: readonly string[],
): Promise<void> {
  await engine.docker("tag", tags[1 + random(tags.length - 1)]!, "fill/alias:latest");
  await engine.docker("tag", tags[0]!, "fill/base:latest");
  for (const builder of ["classic", "buildkit"] as const) {
    const context = join(scratch, `again-${builder}`);
    for (let round = 0; round < 2; round++) {
      fillFolder(join(context, "part"), random, 4);
      await build(engine, builder, `fill/again-${builder}:1`, context, [
        "FROM fill/base:1",
        "COPY part/ /srv/",
      ]);
    }
    fillFolder(join(context, "other"), random, 3);
    await build(engine, builder, `fill/gone-${builder}:1`, context, [
      `FROM ${tags[1]}`,
      "COPY other/ /srv/gone/",
      "RUN busybox touch /gone",
    ]);
    await engine.docker("rmi", `fill/gone-${builder}:1`);
  }
  // two stages, the first of which only the build cache keeps
  const context = join(scratch, "stages");
  fillFolder(join(context, "source"), random, 5);
  await build(engine, "buildkit", "fill/stages:1", context, [
    "FROM fill/base:1 AS make",
    "COPY source/ /src/",
    "RUN busybox cp -r /src /out && busybox touch /out/done",
    "FROM scratch",
    "COPY --from=make /out/ /",
  ]);
}

async function runContainers(engine: Dockerd, random: Random): Promise<void> {
  const run = (name: string, flags: string[], image: string, script: string) =>
    engine.docker("run", "--name", name, "--network", "none", ...flags, image, "/bin/sh", "-c", script);
  const kilobytes = () => 1 + random(200);
  await engine.docker("volume", "create", "fill-unused");
  await engine.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "fill-tmpfs");
  await run(
    "changed",
    ["-v", "fill-data:/data", "-v", "/spool"],
    "fill/app0:1",
    [
      `busybox dd if=/bin/busybox of=/data/rows bs=1k count=${kilobytes()}`,
      `busybox dd if=/bin/busybox of=/spool/queue bs=1k count=${kilobytes()}`,
      `busybox dd if=/bin/busybox of=/srv/upload bs=1k count=${kilobytes()}`,
      "busybox rm -rf /usr /etc/certs",
      "busybox mkdir /etc/certs",
      "busybox seq 1 2000",
    ].join("; "),
  );
  await run(
    "logged",
    ["--log-driver", "local", "--log-opt", "max-size=8k"],
    "fill/app1:1",
    "busybox seq 1 5000",
  );
  await run(
    "rotated",
    ["--log-opt", "max-size=8k", "--log-opt", "max-file=3"],
    "fill/base:1",
    "busybox seq 1 1000",
  );
  await run(
    "asleep",
    ["-d", "--stop-timeout", "0"],
    "fill/app1:1",
    "busybox touch /tmp/up; busybox sleep 3600",
  );
  await engine.docker("create", "--name", "created", "fill/again-buildkit:1", "/bin/sh");
}

async function listStore(engine: Dockerd): Promise<Filled> {
  const lines = async (...args: string[]) =>
    (await engine.docker(...args))
      .split("\n")
      .filter((line) => line !== "")
      .sort();
  const [names, dangling, containers, volumes] = await Promise.all([
    lines("images", "--format", "{{.Repository}}:{{.Tag}}"),
    lines("images", "-q", "--no-trunc", "-f", "dangling=true"),
    lines("ps", "-a", "--format", "{{.Names}}"),
    lines("volume", "ls", "-q"),
  ]);
  return {
    tags: names.filter((name) => !name.includes("<none>")),
    dangling: [...new Set(dangling)],
    containers,
    volumes,
  };
}

type Builder = "classic" | "buildkit";

async function build(
  engine: Dockerd,
  builder: Builder,
  tag: string,
  context: string,
  lines: readonly string[],
): Promise<void> {
  writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
  const env = { DOCKER_BUILDKIT: builder === "buildkit" ? "1" : "0" };
  const ran = await engine.run(["build", "-q", "--network", "none", "-t", tag, context], { env });
  if (ran.code !== 0) throw new Error(`docker build of ${tag} (${builder}): ${ran.stderr}`);
}

/** Files of many sizes and depths, one folder of more than one block, links of every kind. */
function fillFolder(folder: string, random: Random, files: number): void {
  mkdirSync(folder, { recursive: true });
  for (let i = 0; i < files; i++) {
    const path = join(
      folder,
      ...Array.from({ length: random(3) }, () => `d${random(4)}`),
      `file-${i}-${random(1000)}`,
    );
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytesFrom(random, SIZES[random(SIZES.length)]!));
    if (random(5) === 0) linkSync(path, `${path}.hard`);
    if (random(5) === 0) symlinkSync("short", `${path}.soft`);
    if (random(8) === 0) symlinkSync("long/".repeat(20 + random(20)), `${path}.long`);
  }
  if (random(4) !== 0) return;
  const wide = join(folder, `wide-${random(100)}`);
  mkdirSync(wide, { recursive: true });
  for (let i = 0; i < 120; i++) writeFileSync(join(wide, `${"n".repeat(60 + random(60))}-${i}`), "");
}

function bytesFrom(random: Random, length: number): Buffer {
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => random(2 ** 32));
  return Buffer.from(words.buffer).subarray(0, length);
}

/** xorshift32: small, and the same everywhere. */
function randomFrom(seed: number): Random {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}
