/** Stores found in their usual places: of this host, and of another one whose disk is mounted somewhere. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Env, findPlaces, isHostRoot, resolveInside } from "../src/places.ts";
import { docker } from "../src/stores/docker/index.ts";
import type { StoreKind } from "../src/stores/store.ts";
import { runCli, runJson } from "./helpers/cli.ts";

let host: string;
beforeEach(() => {
  host = mkdtempSync(join(realpathSync(tmpdir()), "ullage-host-"));
  for (const folder of ["etc/docker", "usr", "var/lib", "data", "home/ann/.config/docker"])
    mkdirSync(join(host, folder), { recursive: true });
});
afterEach(() => rmSync(host, { recursive: true, force: true }));

const write = (path: string, content: string | object): void => {
  mkdirSync(dirname(join(host, path)), { recursive: true });
  writeFileSync(join(host, path), typeof content === "string" ? content : JSON.stringify(content));
};

/** What the reader takes for a store. */
const storeAt = (path: string): void => {
  mkdirSync(join(host, path, "image/overlay2/layerdb"), { recursive: true });
};

/** A store with two images. */
const unpack = (path: string): void => {
  mkdirSync(join(host, path), { recursive: true });
  const skipped = ["--exclude=dev", "--exclude=backingFsBlockDev", "--no-same-owner", "--strip-components=1"];
  execFileSync("tar", [...skipped, "-xzf", "fixtures/docker/vfs/input.tar.gz", "-C", join(host, path)]);
};

interface Looked {
  /** By path, the real place below the host's root. */
  readonly found: Record<string, string>;
  readonly tried: Record<string, string>;
  readonly doubts: string[];
}

async function look(env: Env | null = null, readers: readonly StoreKind[] = [docker]): Promise<Looked> {
  const { found, tried } = await findPlaces(host, env, readers);
  for (const { real } of found) expect(real.startsWith(`${host}/`)).toBe(true);
  return {
    found: Object.fromEntries(found.map(({ path, real }) => [path, real.slice(host.length)])),
    tried: Object.fromEntries(tried.map(({ path, why, was }) => [path, `${why}: ${was}`])),
    doubts: tried.filter(({ inDoubt }) => inDoubt).map(({ path, was }) => `${path}: ${was}`),
  };
}

describe("where it is looked", () => {
  test("Docker's usual places, also as a snap and of every home", async () => {
    const places = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"];
    const homes = ["/root", "/home/ann", "/home/bob"].map((home) => `${home}/.local/share/docker`);
    for (const place of [...places, ...homes]) storeAt(place);
    const { found, doubts } = await look();
    expect(Object.keys(found).sort()).toEqual([...places, ...homes].sort());
    expect(doubts).toEqual([]);
  });

  test("the homes of accounts, told only where something is there", async () => {
    write("etc/passwd", "bin:x:1:1::/usr/sbin:/bin/sh\nci:x:998:998::/var/lib/runner:/bin/false\ntorn:x");
    storeAt("var/lib/runner/.local/share/docker");
    const { found, tried } = await look();
    expect(Object.keys(found)).toEqual(["/var/lib/runner/.local/share/docker"]);
    expect(tried).not.toHaveProperty("/usr/sbin/.local/share/docker");
    expect(tried).toHaveProperty("/home/ann/.local/share/docker");
  });

  test("for who asks, where the XDG variables say", async () => {
    storeAt("data/ann/docker");
    storeAt("data/named");
    write("conf/ann/docker/daemon.json", { "data-root": "/data/named" });
    const env = { HOME: "/home/ann", XDG_DATA_HOME: "/data/ann", XDG_CONFIG_HOME: "/conf/ann" };
    const { found } = await look(env);
    expect(Object.keys(found)).toEqual(["/data/named", "/data/ann/docker"]);
  });

  test("kinds without a reader are not looked for", async () => {
    storeAt("var/lib/docker");
    expect((await look(null, [])).tried).toEqual({});
  });

  test("a place of several names is one", async () => {
    storeAt("data/docker");
    write("etc/docker/daemon.json", { "data-root": "/data/docker", graph: "/data/docker/" });
    symlinkSync("../../data/docker", join(host, "var/lib/docker"));
    const { found, tried } = await look();
    expect(found).toEqual({ "/data/docker": "/data/docker" });
    expect(tried["/var/lib/docker"]).toBe("Docker's data-root: the same folder as /data/docker");
  });
});

describe("what configuration names", () => {
  test.each([
    ["etc/docker/daemon.json", '\ufeff{"data-root": "/data/docker/"}', "data-root"],
    ["etc/docker/daemon.json", { graph: "/data/docker" }, "graph"],
    ["var/snap/docker/2915/config/daemon.json", { "data-root": "/data/docker" }, "data-root"],
    ["home/ann/.config/docker/daemon.json", { "data-root": "/data/docker" }, "data-root"],
    ["etc/default/docker", 'DOCKER_OPTS="--debug -g /data/docker"\n', "-g"],
    ["etc/sysconfig/docker", "OPTIONS='--data-root=/data/docker'\n", "--data-root"],
    ["etc/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd --graph /data/docker\n", "--graph"],
    [
      "etc/systemd/system/docker.service.d/10-root.conf",
      '[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// \\\n  --data-root "/data/docker"\n',
      "--data-root",
    ],
  ])("%s", async (file, content, key) => {
    storeAt("data/docker");
    write(file, content);
    if (file.includes("2915")) symlinkSync("2915", join(host, "var/snap/docker/current"));
    const { found, tried, doubts } = await look();
    expect(found).toEqual({ "/data/docker": "/data/docker" });
    expect(tried["/data/docker"]).toBe(`/${file.replace("2915", "current")}: ${key}: found`);
    expect(doubts).toEqual([]);
  });

  test("another daemon.json", async () => {
    storeAt("data/docker");
    write("etc/default/docker", "DOCKER_OPTS=--config-file=/etc/other.json\n");
    write("etc/other.json", { "data-root": "/data/docker" });
    expect((await look()).tried["/data/docker"]).toBe("/etc/other.json: data-root: found");
  });

  test("what is commented out, of another program, empty or masked names nothing", async () => {
    write(
      "etc/default/docker",
      '# DOCKER_OPTS="--data-root /a"\n; -g /b\nX="install -g docker --no-graph /c"\n',
    );
    write("etc/docker/daemon.json", { "data-root": "", graph: null });
    mkdirSync(join(host, "etc/systemd/system"), { recursive: true });
    symlinkSync("/dev/null", join(host, "etc/systemd/system/docker.service"));
    const { found, doubts } = await look();
    expect({ found, doubts }).toEqual({ found: {}, doubts: [] });
  });

  test.each([
    ["", /no JSON/],
    ["{", /no JSON/],
    ['{"data-root": "/data/doc', /no JSON/],
    ["[]", /no JSON object/],
    ["null", /no JSON object/],
    ["\xff\xfe\0\0", /no JSON/],
    ["[".repeat(100_000), /no JSON/],
    [`{"a": "${"x".repeat(2 << 20)}"}`, /more than the 1048576 allowed/],
    ['{"data-root": 7}', /no absolute path: 7$/],
    ['{"data-root": {"a": []}}', /no absolute path/],
    ['{"data-root": "relative"}', /no absolute path: "relative"$/],
    ['{"data-root": "/a\\u0000b"}', /no absolute path/],
    [`{"data-root": "/${"a".repeat(5000)}"}`, /no absolute path/],
    [`{"data-root": "/${"a".repeat(300)}"}`, /ENAMETOOLONG/],
    ['{"data-root": "/nowhere"}', /nothing there: is its disk mounted\?$/],
    ['{"data-root": "/etc/docker/daemon.json/x"}', /nothing there/],
  ])("a daemon.json of %.30s: doubt, and the usual place all the same", async (content, doubt) => {
    storeAt("var/lib/docker");
    write("etc/docker/daemon.json", content);
    const { found, doubts } = await look();
    expect(found).toEqual({ "/var/lib/docker": "/var/lib/docker" });
    expect(doubts).toEqual([expect.stringMatching(doubt)]);
  });

  test("a daemon.json that is no file", async () => {
    mkdirSync(join(host, "etc/docker/daemon.json"));
    execFileSync("mkfifo", [join(host, "etc/sysconfig-fifo")]);
    mkdirSync(join(host, "etc/sysconfig"));
    symlinkSync("../sysconfig-fifo", join(host, "etc/sysconfig/docker"));
    expect(Object.values((await look()).tried).filter((was) => was.includes("no regular file"))).toHaveLength(
      2,
    );
  });

  test("a data-root that is a file, the root, above the root, or anything else without a store", async () => {
    for (const named of ["/etc/passwd", "/", "//", "/../../..", "/data"]) {
      write("etc/passwd", "x");
      write("etc/docker/daemon.json", { "data-root": named });
      const { found, doubts } = await look();
      expect({ found, doubts }, named).toEqual({ found: {}, doubts: [] });
    }
  });
});

describe("links", () => {
  test("resolve as in a chroot", async () => {
    storeAt("data/docker");
    symlinkSync("/data/docker", join(host, "var/lib/docker"));
    symlinkSync("/data", join(host, "data/docker/up"));
    symlinkSync("../../../../../etc", join(host, "data/out"));
    symlinkSync(`${host}/data`, join(host, "data/host"));
    expect(await resolveInside(host, "var/lib/docker")).toBe(join(host, "data/docker"));
    expect(await resolveInside(host, "/var/lib/docker/up/docker/./")).toBe(join(host, "data/docker"));
    expect(await resolveInside(host, "data/docker/up/../etc")).toBe(join(host, "etc"));
    expect(await resolveInside(host, "data/out")).toBe(join(host, "etc"));
    expect(await resolveInside(host, "../../..")).toBe(host);
    await expect(resolveInside(host, "data/host")).rejects.toMatchObject({ code: "ENOENT" });
    expect(await resolveInside("/", host)).toBe(host);
    expect(await resolveInside("/", "..")).toBe("/");
    expect((await look()).found).toEqual({ "/var/lib/docker": "/data/docker" });
  });

  test("circles end, and are told", async () => {
    symlinkSync("b", join(host, "data/a"));
    symlinkSync("a/x", join(host, "data/b"));
    symlinkSync("/data/a", join(host, "var/lib/docker"));
    symlinkSync("docker", join(host, "etc/docker/docker"));
    symlinkSync("docker/docker", join(host, "etc/docker/daemon.json"));
    const { doubts } = await look();
    expect(doubts).toEqual([
      expect.stringMatching(/^\/etc\/docker\/daemon.json: .*circle/),
      expect.stringMatching(/^\/var\/lib\/docker: .*circle/),
    ]);
  });
});

describe("the root of another host as SOURCE", () => {
  test("its stores, by where they are", async () => {
    unpack("data/docker");
    write("etc/docker/daemon.json", { "data-root": "/data/docker" });
    const { json, code } = await runJson(["images", host]);
    expect(json.sources).toMatchObject([
      { kind: "docker", root: "data/docker", path: `${host}: data/docker` },
    ]);
    expect(json.warnings).toEqual([]);
    expect(json.images).toHaveLength(2);
    expect(code).toBe(0);
    // The same store, given in another way, is not counted twice.
    const both = await runJson(["images", join(host, "data/docker"), host]);
    expect(both.json.images).toHaveLength(2);
  });

  test("a link never leads to the host that runs this", async () => {
    const other = mkdtempSync(join(tmpdir(), "ullage-other-"));
    try {
      mkdirSync(join(other, "image/overlay2/layerdb"), { recursive: true });
      symlinkSync(other, join(host, "var/lib/docker"));
      symlinkSync(other, join(host, "data/linked"));
      expect((await runCli(["df", host])).err).toContain(
        "/var/lib/docker (Docker's data-root): nothing there",
      );
      const { code, err } = await runCli(["df", host, "--at", "data/linked"]);
      expect(code).toBe(3);
      expect(err).toContain("--at data/linked: no such folder in it");
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  test("--at names a folder in it, through links as well", async () => {
    unpack("srv/old");
    symlinkSync("/srv", join(host, "data/linked"));
    const { json } = await runJson(["images", host, "--at", "data/linked/old"]);
    expect(json.sources).toMatchObject([{ path: host, root: "data/linked/old" }]);
    const below = await runJson([
      "images",
      dirname(host),
      "--at",
      `${host.slice(dirname(host).length + 1)}/srv`,
    ]);
    expect(below.json.sources).toMatchObject([{ path: `${host}/srv/old` }]);
    const absent = await runCli(["images", host, "--at", "nowhere"]);
    expect(absent).toMatchObject({ code: 3, out: "" });
  });

  test("--at names another host's root inside of it", async () => {
    unpack("var/lib/docker");
    const folder = mkdtempSync(join(tmpdir(), "ullage-backup-"));
    try {
      execFileSync("cp", ["-a", host, join(folder, "host")]);
      const { json } = await runJson(["images", folder, "--at", "host"]);
      expect(json.sources).toMatchObject([
        { path: `${folder}: host/var/lib/docker`, root: "host/var/lib/docker" },
      ]);
      const whole = await runJson(["images", folder]);
      expect(whole.json.sources).toMatchObject([{ path: `${folder}/host: var/lib/docker` }]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("with nothing in it: the places, a line each, and nothing is searched", async () => {
    unpack("opt/docker");
    const { code, err } = await runCli(["df", host]);
    expect(code).toBe(3);
    const [first, ...places] = err.trimEnd().split("\n");
    expect(first).toMatch(/^ullage: cannot read .*: the root of a system, .*--at PATH; tried:$/);
    expect(places).toEqual([
      "  /var/lib/docker (Docker's data-root): nothing there",
      "  /var/snap/docker/common/var-lib-docker (Docker's data-root, as a snap): nothing there",
      "  /root/.local/share/docker (rootless Docker's data-root): nothing there",
      "  /home/ann/.local/share/docker (rootless Docker's data-root): nothing there",
    ]);
  });

  test("among other folders it is passed over, and told", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ullage-artifacts-"));
    try {
      execFileSync("cp", ["-a", host, join(folder, "rootfs")]);
      execFileSync("cp", ["-a", "fixtures/oci-layout", join(folder, "layouts")]);
      const { json } = await runJson(["images", folder]);
      expect(json.sources.length).toBeGreaterThan(0);
      const told = json.warnings.filter((one: { code: string }) => one.code === "passed-over");
      expect(told).toMatchObject([{ source: `${folder}/rootfs` }]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("one store that cannot be read, and configuration that makes no sense: exit 4", async () => {
    unpack("var/lib/docker");
    write("etc/docker/daemon.json", { "data-root": "/gone\u001b[31m" });
    const { code, json, err } = await runJson(["images", host]);
    expect(code).toBe(4);
    expect(json.warnings).toMatchObject([
      { code: "place-unread", source: host, message: expect.stringContaining("is its disk mounted?") },
    ]);
    expect(err).not.toContain("\u001b");
  });

  test("what makes a root", async () => {
    expect(await isHostRoot(host)).toBe(true);
    expect(await isHostRoot("/")).toBe(true);
    rmSync(join(host, "var/lib"), { recursive: true });
    expect(await isHostRoot(host)).toBe(false);
    mkdirSync(join(host, "data/lib"));
    rmSync(join(host, "var"), { recursive: true });
    symlinkSync("/data", join(host, "var"));
    expect(await isHostRoot(host)).toBe(true);
    for (const folder of ["usr", "home"]) rmSync(join(host, folder), { recursive: true });
    expect(await isHostRoot(host)).toBe(false); // a folder of somebody's
  });

  test("a plan is not written into it", async () => {
    unpack("var/lib/docker");
    const { code, err } = await runCli(["plan", host, "-o", join(host, "var/lib/docker/plan.json")]);
    expect(code).toBe(2);
    expect(err).toContain("part of the source");
    expect((await runCli(["plan", host, "-o", join(host, "plan.json")])).code).toBe(0);
  });

  test("nothing in it is changed", async () => {
    unpack("var/lib/docker");
    write("etc/docker/daemon.json", { "data-root": "/var/lib/docker" });
    const before = statSync(join(host, "etc/docker/daemon.json"), { bigint: true });
    await runCli(["df", host]);
    const after = statSync(join(host, "etc/docker/daemon.json"), { bigint: true });
    expect(after).toMatchObject({ mtimeNs: before.mtimeNs, ctimeNs: before.ctimeNs });
  });
});

describe("no SOURCE", () => {
  test("the stores of this host, as if they had been named", async () => {
    unpack("var/lib/docker");
    unpack("home/ann/.local/share/docker");
    const { code, out } = await runCli(["images", "--json"], { root: host, env: { HOME: "/home/ann" } });
    const { sources, images } = JSON.parse(out);
    expect(code).toBe(0);
    expect(sources).toMatchObject([
      { path: "/var/lib/docker", kind: "docker", root: "" },
      { path: "/home/ann/.local/share/docker", kind: "docker", root: "" },
    ]);
    expect(images).toHaveLength(4);
  });

  test("the overview, and commands that take images", async () => {
    unpack("var/lib/docker");
    const overview = await runCli([], { root: host });
    expect(overview).toMatchObject({ code: 0, err: "" });
    expect(overview.out).toMatch(/^2 images in \/var\/lib\/docker \(docker\)/);
    expect(overview.out).toMatch(/next: ullage verify$/m);
    const { out } = await runCli(["images", "-q", "--no-trunc"], { root: host });
    for (const command of ["inspect", "what-if"]) {
      const answer = await runCli([command, out.split("\n")[0]!], { root: host });
      expect(answer).toMatchObject({ code: 0, err: "" });
    }
  });

  test("--at alone is a folder of this host", async () => {
    unpack("srv/docker");
    const { out } = await runCli(["images", "--json", "--at", "/srv/docker"], { root: host });
    expect(JSON.parse(out).sources).toMatchObject([{ path: host, root: "/srv/docker" }]);
  });

  test("with none found: exit 3, a line and the places", async () => {
    for (const args of [[], ["df"], ["inspect", "app"], ["what-if", "app"]]) {
      const { code, out, err } = await runCli(args, { root: host });
      expect({ code, out }).toEqual({ code: 3, out: "" });
      const [first, ...places] = err.trimEnd().split("\n");
      expect(first).toMatch(
        /^ullage: no SOURCE given, and no store in its usual places; name a SOURCE; .*tried:$/,
      );
      expect(places).toContain("  /var/lib/docker (Docker's data-root): nothing there");
    }
  });

  test("a host of many users: the first places, and how many more", async () => {
    for (let i = 0; i < 100; i++) mkdirSync(join(host, `home/user${i}`));
    const { err } = await runCli([], { root: host });
    expect(err.trimEnd().split("\n")).toHaveLength(42);
    expect(err).toMatch(/ {2}and \d+ more\n$/);
  });
});

describe.skipIf(process.getuid?.() !== 0)("who is not root", () => {
  const asNobody = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    const groups = process.getgroups!();
    process.setgroups!([]);
    process.setegid!(65_534);
    process.seteuid!(65_534);
    try {
      return await act();
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
      process.setgroups!(groups);
    }
  };
  beforeEach(() => chmodSync(host, 0o755));

  test("is told to run as root when nothing that may be read has a store", async () => {
    storeAt("var/lib/docker");
    chmodSync(join(host, "var/lib/docker"), 0o710);
    for (const args of [[], [host]]) {
      const { code, err } = await asNobody(() => runCli(args, { root: host }));
      expect(code).toBe(3);
      expect(err).toContain("no store in its usual places that may be read: run as root");
      expect(err).toContain("/var/lib/docker (Docker's data-root): permission denied");
    }
  });

  test("sees its own stores, and is told which others are unknown", async () => {
    unpack("home/ann/.local/share/docker");
    execFileSync("chown", ["-R", "65534", join(host, "home/ann")]);
    storeAt("var/lib/docker");
    chmodSync(join(host, "var/lib/docker"), 0o700);
    const options = { root: host, env: { HOME: "/home/ann" } };
    const { code, out, err } = await asNobody(() => runCli(["images", "--json", "--workers", "0"], options));
    expect(code).toBe(4);
    expect(JSON.parse(out).sources).toHaveLength(1);
    expect(err).toMatch(/\/var\/lib\/docker: Docker's data-root: permission denied; run as root to read it/);
  });

  test("does not look into the homes of others on its own host", async () => {
    mkdirSync(join(host, "home/eve"));
    const places = await asNobody(() => findPlaces(host, { HOME: "/home/ann" }, [docker]));
    expect(places.tried.map(({ path }) => path)).not.toContain("/home/eve/.local/share/docker");
    const others = await asNobody(() => findPlaces(host, null, [docker]));
    expect(others.tried.map(({ path }) => path)).toContain("/home/eve/.local/share/docker");
  });
});
