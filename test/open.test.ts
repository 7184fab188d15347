/** From sources to stores: several at once, folders, streams, archives that are odd or broken, and what stays behind. */
import { link, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  below,
  blobPath,
  blobsOf,
  dockerHybrid,
  filler,
  imageOf,
  layerOf,
  ociLayout,
  withTemp,
  writeArchive,
  writeFolder,
  zstdFrame,
} from "./helpers/image-builder.ts";
import { ask, byName, headings, run } from "./helpers/run-cli.ts";
import { END, type Item, packTar, rawMember } from "./helpers/tar-writer.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const inTar = (bytes: Uint8Array): number => 512 + Math.ceil(bytes.length / 512) * 512;

const base = await layerOf({ "etc/base": filler(5000, "base") });
const one = imageOf([base, await layerOf({ a: filler(3000, "one") })]);
const two = imageOf([base, await layerOf({ b: filler(700, "two") })]);
const FIRST = dockerHybrid([{ image: one, names: ["docker.io/library/app:1"] }]);
const SOURCE_TAR = await packTar([{ name: "src/main.c", content: "int x;" }]);
const SECOND = dockerHybrid([{ image: two, names: ["docker.io/library/app:2"] }]);

describe("several sources", () => {
  test("a layer in two archives is shared, and exclusive to each: both hold its bytes", () =>
    withTemp(async (folder) => {
      const [a, b] = [join(folder, "a.tar"), join(folder, "b.tar")];
      const [bytesA, bytesB] = [await writeArchive(a, FIRST), await writeArchive(b, SECOND)];
      const answer = await ask("images", [a, b]);
      expect(answer.sources.map((source) => source.path)).toEqual([a, b]);
      const images = byName(answer);
      expect(images["app:1"]).toMatchObject({ source: a, shared: { apparent: base.tar.length } });
      expect(images["app:1"]!.layers[0]!.sharedBy).toEqual([two.config.digest]);
      expect(images["app:2"]!.layers[0]!.sharedBy).toEqual([one.config.digest]);
      for (const image of answer.images) {
        expect(image.layers[1]!.sharedBy).toEqual([]);
        const alone = byName(await ask("images", [image.source]))[image.names[0]!]!;
        expect(image.exclusive).toEqual(alone.exclusive);
        expect(image.attributed).toEqual(alone.attributed);
        expect(image.exclusive.allocated).toBeGreaterThan(image.size.allocated!);
      }
      const space = await ask("df", [a, b]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytesA.length + bytesB.length } });
    }));

  test("one image in two archives: deleting it by name frees it in both", () =>
    withTemp(async (folder) => {
      const [a, b] = [join(folder, "a.tar"), join(folder, "b.tar")];
      await writeArchive(a, FIRST);
      await writeArchive(b, FIRST);
      const answer = await ask("what-if", ["app:1", "-s", a, "-s", b]);
      expect(answer.each.map((each) => each.source)).toEqual([a, b]);
      expect(answer.reclaimable.allocated).toBe(answer.each[0]!.exclusive.allocated! * 2);
    }));

  test("one file given twice, by another path, a link or a hard link, counts once", () =>
    withTemp(async (folder) => {
      const path = join(folder, "a.tar");
      const bytes = await writeArchive(path, FIRST);
      await symlink("a.tar", join(folder, "link.tar"));
      await link(path, join(folder, "hard.tar"));
      const others = [path, `${folder}/./a.tar`, join(folder, "link.tar"), join(folder, "hard.tar")];
      const answer = await ask("df", [path, ...others]);
      expect(answer.sources).toMatchObject([{ path }]);
      expect(answer.total.allocated).toBe(bytes.length);
      // A folder adds nothing when what is in it was given before.
      expect((await ask("df", [path, folder])).total.allocated).toBe(bytes.length);
      expect((await ask("df", [folder, path])).total.allocated).toBe(bytes.length);
      expect((await ask("df", [folder, folder])).total.allocated).toBe(bytes.length);
    }));

  test("one that cannot be read ends the run: exit 3, one line", () =>
    withTemp(async (folder) => {
      const path = join(folder, "a.tar");
      await writeArchive(path, FIRST);
      const { code, stdout, stderr } = await run(["images", path, join(folder, "nothing.tar")]);
      expect(code).toBe(3);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/^ullage: cannot read .*nothing\.tar: no such file or folder .*\n$/);
    }));

  test.each([
    ["an empty file", Buffer.alloc(0)],
    ["text", Buffer.from("hello\n".repeat(1000))],
    ["zeros", Buffer.alloc(10_240)],
    ["a gzip file of text", gzipSync(Buffer.from("hello\n".repeat(1000)))],
    ["a gzip file of nothing", gzipSync(Buffer.alloc(0))],
    ["the beginning of a gzip file", gzipSync(Buffer.from(filler(9000, "x"))).subarray(0, 12)],
    ["a tar of something else", SOURCE_TAR],
    ["an empty tar", END],
  ])("%s is no source: exit 3, also from standard input and with --tmp", (_, bytes) =>
    withTemp(async (folder) => {
      const path = join(folder, "file");
      await writeFile(path, bytes);
      const tmp = join(folder, "tmp");
      await mkdir(tmp);
      for (const argv of [[path], [path, "--tmp", tmp], ["-"], ["-", "--tmp", tmp]]) {
        const { code, stderr } = await run(["df", ...argv], bytes);
        expect(code).toBe(3);
        expect(stderr).toMatch(/^ullage: cannot read [^\n]*\n$/);
        expect(stderr).not.toContain("bug");
        expect(await readdir(tmp)).toEqual([]);
      }
    }),
  );
});

describe("a folder of archives", () => {
  const fill = async (folder: string): Promise<number> => {
    const bytes = [await writeArchive(join(folder, "a.tar"), FIRST)];
    await mkdir(join(folder, "deep", "er"), { recursive: true });
    bytes.push(await writeArchive(join(folder, "deep", "er", "b.tar"), SECOND));
    await writeFile(join(folder, "c.tar.gz"), gzipSync(await packTar(FIRST)));
    await writeFolder(join(folder, "layout"), ociLayout([{ target: one.manifest, name: "x" }], blobsOf(one)));
    return bytes.reduce((sum, part) => sum + part.length, 0);
  };

  test("each one found, in the order of their names", () =>
    withTemp(async (folder) => {
      await fill(folder);
      const answer = await ask("images", [folder]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      expect(answer.sources.map(({ path, kind }) => [path.slice(folder.length + 1), kind])).toEqual([
        ["a.tar", "docker-archive"],
        ["c.tar.gz", "docker-archive"],
        ["deep/er/b.tar", "docker-archive"],
        ["layout", "oci-layout"],
      ]);
      expect(answer.images).toHaveLength(4);
    }));

  test("other files are passed over", () =>
    withTemp(async (folder) => {
      await fill(folder);
      await writeFile(join(folder, "notes.txt"), "hello");
      await writeFile(join(folder, "log.gz"), gzipSync(Buffer.from("a log\n".repeat(500))));
      await writeFile(join(folder, "source.tar"), SOURCE_TAR);
      await writeFile(join(folder, "empty"), "");
      await mkdir(join(folder, "nothing"));
      await symlink("/", join(folder, "root"));
      await symlink(".", join(folder, "circle"));
      const answer = await ask("images", [folder]);
      expect(answer).toMatchObject({ code: 0, warnings: [] });
      expect(answer.sources).toHaveLength(4);
    }));

  test("a broken archive among them is told: exit 4", () =>
    withTemp(async (folder) => {
      await fill(folder);
      const tar = await packTar(FIRST);
      await writeFile(join(folder, "cut.tar"), tar.subarray(0, 1200));
      await writeFile(join(folder, "cut.tar.gz"), gzipSync(tar).subarray(0, 15));
      const answer = await ask("images", [folder]);
      expect(answer.code).toBe(4);
      expect(answer.images).toHaveLength(4);
      const paths = answer.warnings
        .filter((warning) => warning.code === "unreadable")
        .map(({ path }) => path);
      expect(paths).toEqual(["cut.tar", "cut.tar.gz"]);
    }));

  test("nothing in it: exit 3", () =>
    withTemp(async (folder) => {
      await mkdir(join(folder, "a", "b"), { recursive: true });
      await writeFile(join(folder, "notes.txt"), "hello");
      const { code, stderr } = await run(["df", folder]);
      expect(code).toBe(3);
      expect(stderr).toContain("no image archive, layout or store in it");
    }));

  test("a --tmp that cannot be used is not taken for a broken archive: exit 2", () =>
    withTemp(async (folder) => {
      await fill(folder);
      const { code, stderr } = await run(["df", folder, "--tmp", join(folder, "missing")]);
      expect(code).toBe(2);
      expect(stderr).toContain("--tmp");
    }));

  test("--at names a folder in it", () =>
    withTemp(async (folder) => {
      await fill(folder);
      const answer = await ask("images", [folder, "--at", "deep"]);
      expect(answer.sources.map((source) => source.path)).toEqual([join(folder, "deep/er/b.tar")]);
    }));
});

describe("odd archives", () => {
  const archive = <Result>(bytes: Uint8Array, use: (path: string) => Promise<Result>): Promise<Result> =>
    withTemp(async (folder) => {
      const path = join(folder, "odd.tar");
      await writeFile(path, bytes);
      return use(path);
    });

  /** The archive without its end marker, with more members behind. */
  const withMembers = async (...members: Uint8Array[]): Promise<Buffer> =>
    Buffer.concat([(await packTar(FIRST)).subarray(0, -END.length), ...members, END]);

  test("names with .. are left out and their bytes counted", async () => {
    const bytes = await withMembers(
      rawMember({ name: "../../outside" }, "x".repeat(600)),
      rawMember({ name: "blobs/../../manifest.json" }, "[]"),
    );
    await archive(bytes, async (path) => {
      const answer = await ask("images", [path]);
      expect(answer).toMatchObject({ code: 4, images: [{ names: ["app:1"], state: "complete" }] });
      expect(answer.warnings.map((warning) => warning.code)).toEqual(["member-name", "member-name"]);
      expect(await ask("df", [path])).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
    });
  });

  test("absolute names are names in the archive", async () => {
    const bytes = await packTar(FIRST.map((item) => ({ ...item, name: `/${item.name}` })));
    await archive(bytes, async (path) => {
      expect(await ask("images", [path])).toMatchObject({
        code: 0,
        warnings: [],
        images: [{ names: ["app:1"], state: "complete" }],
      });
      expect(await ask("df", [path])).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      expect((await ask("verify", [path])).code).toBe(0);
    });
  });

  test("of two members of one name the last counts, the first is overhead", async () => {
    const items: Item[] = FIRST.flatMap((item) =>
      item.name === blobPath(base.diffId) ? [{ ...item, content: "first" }, item] : [item],
    );
    const bytes = await packTar(items);
    await archive(bytes, async (path) => {
      const answer = await ask("verify", [path]);
      expect(answer).toMatchObject({ code: 4, summary: { ok: 4, corrupt: 0 } });
      expect(answer.warnings).toMatchObject([{ code: "duplicate-member", path: blobPath(base.diffId) }]);
      const space = await ask("df", [path]);
      expect(space).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
      const { images } = headings(await ask("df", [path]));
      expect(images).toBeLessThan(bytes.length - inTar(Buffer.from("first")));
    });
    const reversed = await packTar(
      FIRST.flatMap((item) =>
        item.name === blobPath(base.diffId) ? [item, { ...item, content: "last" }] : [item],
      ),
    );
    await archive(reversed, async (path) => expect((await ask("verify", [path])).code).toBe(1));
  });

  test("blobs as hard links to members elsewhere in the archive", async () => {
    const bytes = await packTar([
      { name: "shared/layer", content: base.tar },
      ...FIRST.map((item) =>
        item.name === blobPath(base.diffId)
          ? ({ name: item.name, type: "link", linkname: "shared/layer" } as const)
          : item,
      ),
    ]);
    await archive(bytes, async (path) => {
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 4, missing: 0 } });
      expect(await ask("df", [path])).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
    });
  });

  test("hard links in a circle, to nothing, to themselves", async () => {
    const links = ["x", "y"].map((name, i) => ({ name, type: "link", linkname: ["y", "x"][i]! }) as const);
    for (const linkname of ["x", "nothing", blobPath(base.diffId)]) {
      const bytes = await packTar([
        ...links,
        ...FIRST.map((item) =>
          item.name === blobPath(base.diffId) ? ({ name: item.name, type: "link", linkname } as const) : item,
        ),
      ]);
      await archive(bytes, async (path) => {
        const answer = await ask("verify", [path]);
        expect([1, 4]).toContain(answer.code);
        expect(answer.summary.ok).toBe(3);
        expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
      });
    }
  });

  test("symbolic links in a circle, on the way to a blob too", async () => {
    const bytes = await packTar([
      ...below(
        "real",
        FIRST.filter((item) => item.name.startsWith("blobs/")),
      ),
      { name: "a", type: "symlink", linkname: "b" },
      { name: "b", type: "symlink", linkname: "a" },
      { name: "blobs", type: "symlink", linkname: "a/blobs" },
      ...FIRST.filter((item) => !item.name.startsWith("blobs/")),
    ]);
    await archive(bytes, async (path) => {
      const answer = await ask("images", [path]);
      expect(answer.images.every((image) => image.state === "damaged")).toBe(true);
      expect((await ask("verify", [path])).code).toBe(1);
      expect((await ask("df", [path])).total.allocated).toBe(bytes.length);
    });
  });

  test("a folder that is a link to the real one", async () => {
    const bytes = await packTar([
      ...below(
        "real",
        FIRST.filter((item) => item.name.startsWith("blobs/")),
      ),
      { name: "blobs", type: "symlink", linkname: "real/blobs" },
      ...FIRST.filter((item) => !item.name.startsWith("blobs/")),
    ]);
    await archive(bytes, async (path) => {
      expect(await ask("verify", [path])).toMatchObject({ code: 0, summary: { ok: 4, missing: 0 } });
      const space = await ask("df", [path]);
      expect(space.total.allocated).toBe(bytes.length);
      expect(headings(space).orphans).toBeUndefined();
    });
  });

  test("padding after the end marker belongs to the archive", async () => {
    const bytes = Buffer.concat([await packTar(FIRST), Buffer.alloc(7 * 512)]);
    await archive(bytes, async (path) => {
      expect(await ask("df", [path])).toMatchObject({
        code: 0,
        residual: 0,
        total: { allocated: bytes.length },
      });
    });
    expect(await ask("df", ["-"], bytes)).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
    expect(await ask("df", ["-"], gzipSync(bytes))).toMatchObject({ total: { allocated: bytes.length } });
  });

  test("names that could write to the terminal are escaped", async () => {
    const bytes = await withMembers(rawMember({ name: "../\x1b[2J\nevil" }, "x"));
    await archive(bytes, async (path) => {
      const { stdout, stderr } = await run(["df", path, "-v"]);
      expect(stderr).toContain("\\x1b[2J\\x0aevil");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is what is tested
      expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
    });
  });
});

describe("cut archives", () => {
  const commands = [["images"], ["df"], ["verify"]];
  const check = async (path: string, length: number, whole: number): Promise<void> => {
    for (const command of commands) {
      const started = performance.now();
      const { code, stdout, stderr } = await run([...command, path, "--json", "--workers", "0"]);
      expect(performance.now() - started).toBeLessThan(1000);
      expect(stderr).not.toContain("a bug in ullage");
      const where = `${command} of the first ${length} bytes: exit ${code}: ${stderr}`;
      // One block of zeros is end marker enough.
      if (length >= whole + 512) expect(code, where).toBe(0);
      else expect([1, 3, 4], where).toContain(code);
      if (code === 3) {
        expect(stderr, where).toMatch(/^(ullage: warning: [^\n]*\n)*ullage: cannot read [^\n]*\n$/);
        continue;
      }
      const answer = JSON.parse(stdout) as Awaited<ReturnType<typeof ask<"df">>>;
      if (command[0] !== "df") continue;
      expect(answer.residual, where).toBe(0);
      expect(answer.total.allocated, where).toBe(length);
      expect(headings(answer).orphans, where).toBeUndefined();
    }
  };

  test.each(["docker-archive/docker-legacy-repeat", "docker-archive/containerd-platforms"])(
    "%s at every block, and at odd places",
    (name) =>
      withTemp(async (folder) => {
        const bytes = await readFile(join(fixture(name), "input.tar"));
        const zeros = [...bytes].reverse().findIndex((byte) => byte !== 0);
        const whole = Math.ceil((bytes.length - zeros) / 512) * 512;
        const path = join(folder, "cut.tar");
        const lengths = new Set([1, 100, 511, 513, whole - 1, whole + 1, whole + 511]);
        for (let length = 0; length < bytes.length; length += 512) lengths.add(length);
        for (let length = 777; length < whole; length += 4444) lengths.add(length);
        for (const length of lengths) {
          await writeFile(path, bytes.subarray(0, length));
          await check(path, length, whole);
        }
      }),
    120_000,
  );

  test("a layer that is cut off: its image damaged, truncated by the bytes that are not there", () =>
    withTemp(async (folder) => {
      const big = imageOf([base, await layerOf({ big: filler(3_000_000, "big") })]);
      const items = dockerHybrid([{ image: big, names: ["docker.io/library/big:1"] }]);
      // manifest.json first, as some writers have it, so that the image is known.
      const order = [...items].sort((a, b) =>
        a.name === "manifest.json" ? -1 : b.name === "manifest.json" ? 1 : 0,
      );
      const last = order.findIndex((item) => item.name === blobPath(big.layers[1]!.diffId));
      const bytes = await packTar([...order.slice(0, last), ...order.slice(last + 1), order[last]!]);
      const cut = bytes.subarray(0, bytes.length - 1_000_000);
      const path = join(folder, "cut.tar");
      await writeFile(path, cut);
      await writeFile(`${path}.zst`, zstdFrame(cut));
      const tmp = join(folder, "tmp");
      await mkdir(tmp);
      for (const [argv, stdin] of [
        [[path]],
        [["-"], cut],
        [["-"], gzipSync(cut)],
        [[`${path}.zst`]],
        [[path, "--tmp", tmp]],
        [["-", "--tmp", tmp], gzipSync(cut)],
      ] as const) {
        const answer = await ask("images", argv, stdin);
        expect(answer.code).toBe(4);
        expect(answer.images).toMatchObject([{ names: ["big:1"], state: "damaged" }]);
        const verified = await ask("verify", [...argv, "--workers", "1"], stdin);
        expect(verified).toMatchObject({ code: 1, summary: { truncated: 1, missing: 0, corrupt: 0 } });
        const space = await ask("df", argv, stdin);
        expect(space).toMatchObject({ residual: 0, total: { allocated: cut.length } });
        expect(headings(space).orphans).toBeUndefined();
      }
      expect(await readdir(tmp)).toEqual([]);
    }));

  test("a compressed archive cut anywhere", () =>
    withTemp(async (folder) => {
      const path = join(folder, "cut.tar.gz");
      const bytes = await readFile(fixture("docker-archive/whole-gzip/input.tar.gz"));
      for (let length = 0; length < bytes.length; length += 251) {
        await writeFile(path, bytes.subarray(0, length));
        for (const argv of [[path], [path, "--tmp", folder]]) {
          const { code, stderr } = await run(["verify", ...argv, "--workers", "0"]);
          expect([1, 3, 4], `${length} bytes: ${stderr}`).toContain(code);
          expect(stderr).not.toContain("a bug in ullage");
        }
      }
      expect(await readdir(folder)).toEqual(["cut.tar.gz"]);
    }));
});

describe("standard input and --tmp", () => {
  const whole = ["gzip", "zstd", "xz", "bzip2"].map((kind) => {
    const suffix = { gzip: "gz", zstd: "zst", xz: "xz", bzip2: "bz2" }[kind]!;
    return [kind, fixture(`docker-archive/whole-${kind}/input.tar.${suffix}`)] as const;
  });

  test.each(whole)("%s: from a file, from standard input and by way of --tmp all agree", (_, path) =>
    withTemp(async (tmp) => {
      const bytes = await readFile(path);
      const answers = [];
      for (const [argv, stdin] of [
        [[path]],
        [["-"], bytes],
        [[path, "--tmp", tmp]],
        [["-", "--tmp", tmp], bytes],
      ] as const) {
        const images = await ask("images", argv, stdin);
        expect(images).toMatchObject({ code: 0, warnings: [] });
        const df = await ask("df", argv, stdin);
        expect(df.residual).toBe(0);
        // The real pool: the built workers have a zstd decoder of their own.
        const verified = await ask("verify", [...argv, "--workers", "1"], stdin);
        expect(verified.code).toBe(0);
        answers.push({
          images: images.images.map((image) => ({ ...image, source: "" })),
          df: df.categories,
          verified: verified.summary,
        });
        expect(await readdir(tmp)).toEqual([]);
      }
      for (const answer of answers) expect(answer).toEqual(answers[0]);
    }),
  );

  test("a plain archive from standard input, with a layer too large to keep", async () => {
    const big = imageOf([base, await layerOf({ big: filler(2_000_000, "big") }, { packing: "gzip" })]);
    const bytes = await packTar(
      ociLayout([{ target: big.manifest, name: "big" }], blobsOf(big)).filter(
        (item) => item.type !== "directory",
      ),
    );
    const answer = await ask("images", ["-"], bytes);
    expect(answer).toMatchObject({ code: 0, sources: [{ path: "-", kind: "oci-archive" }] });
    expect(answer.images).toMatchObject([{ id: big.config.digest, state: "complete" }]);
    expect(await ask("verify", ["-"], bytes)).toMatchObject({ code: 0, summary: { ok: 5 } });
    expect(await ask("df", ["-"], bytes)).toMatchObject({ residual: 0, total: { allocated: bytes.length } });
    const text = await run(["df", "-"], bytes);
    expect(text.code).toBe(0);
  });

  test("a compressed archive says what its sizes are of", async () => {
    const { stdout } = await run(["df", whole[0]![1]]);
    expect(stdout).toMatch(/compressed as a whole \(gzip\): 9302 bytes hold a tar of \d+/);
  });

  test("nothing on standard input", async () => {
    const { code, stderr } = await run(["df", "-"]);
    expect(code).toBe(3);
    expect(stderr).toContain("standard input");
  });
});

describe("sources are only read", () => {
  const IMAGE = "lab/repeat:latest";
  const commands: readonly (readonly string[])[] = [
    [],
    ["images"],
    ["df", "-v"],
    ["tree"],
    ["verify"],
    ["what-if", IMAGE],
    ["plan"],
    ["plan", "--free", "1kB"],
    ["images", "--tmp"],
  ];
  type State = { readonly bytes: string; readonly times: readonly number[]; readonly mode: number };

  const stateOf = async (path: string): Promise<Record<string, State>> => {
    const names = [path];
    if ((await stat(path)).isDirectory())
      names.push(...(await readdir(path, { recursive: true })).map((name) => join(path, name)));
    const states: Record<string, State> = {};
    for (const name of names.sort()) {
      const found = await stat(name);
      const bytes = found.isFile() ? (await readFile(name)).toString("latin1") : "";
      states[name] = { bytes, times: [found.mtimeMs, found.ctimeMs], mode: found.mode };
    }
    return states;
  };

  const unchanged = (fill: (path: string) => Promise<void>): Promise<void> =>
    withTemp(async (folder) => {
      const path = join(folder, "source");
      const tmp = join(folder, "tmp");
      await mkdir(tmp);
      await fill(path);
      const before = await stateOf(path);
      for (const command of commands) {
        const argv = command.map((word) => (word === "--tmp" ? `--tmp=${tmp}` : word));
        const sources = command[0] === "what-if" ? ["-s", path] : [path];
        const { code, stderr } = await run([...argv, ...sources, "--workers", "0"]);
        expect([0, 1], `${command.join(" ")}: ${stderr}`).toContain(code);
        expect(await stateOf(path)).toEqual(before);
      }
      expect(await readdir(tmp)).toEqual([]);
      expect((await readdir(folder)).sort()).toEqual(["source", "tmp"]);
    });

  const archive = fixture("docker-archive/docker-legacy-repeat/input.tar");

  test("an archive", () => unchanged(async (path) => writeFile(path, await readFile(archive))));

  test("a compressed archive", () =>
    unchanged(async (path) => writeFile(path, gzipSync(await readFile(archive)))));

  test("an archive that says when it was last read", () =>
    unchanged(async (path) => {
      await writeFile(path, await readFile(archive));
      await utimes(path, new Date(1_000_000_000_000), new Date(1_100_000_000_000));
    }));

  test("a layout", () =>
    unchanged(async (path) => {
      await writeFolder(path, ociLayout([{ target: one.manifest, name: IMAGE }], blobsOf(one)));
    }));

  test("a file that goes while it is looked at does not stop the rest", () =>
    withTemp(async (folder) => {
      const layout = join(folder, "layout");
      await writeFolder(layout, ociLayout([{ target: one.manifest, name: IMAGE }], blobsOf(one)));
      const going = ask("verify", [layout]);
      await rm(join(layout, blobPath(base.digest)));
      const answer = await going;
      expect([0, 1, 4]).toContain(answer.code);
    }));
});
