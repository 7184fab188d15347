// Makes the project ready to run: installs what package-lock.json lists and builds dist/, each only when it is
// out of date. Needs nothing but Node, so that `npm start` and `npm test` work on a fresh clone.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function newest(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce(
      (latest, entry) => Math.max(latest, modified(join(entry.parentPath ?? entry.path, entry.name))),
      0,
    );
}

function run(what, command, args) {
  process.stderr.write(`${what} ...\n`);
  const done = spawnSync(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  if (done.status === 0) return;
  process.stderr.write(`${what} failed\n${done.stdout ?? ""}${done.stderr ?? ""}${done.error ?? ""}\n`);
  process.exit(1);
}

export function setUp() {
  if (modified(join(root, "node_modules/.package-lock.json")) < modified(join(root, "package-lock.json"))) {
    run("installing packages", "npm", ["ci", "--no-audit", "--no-fund"]);
  }
  const sources = Math.max(
    ...["src", "workers", "tsconfig.json", "package-lock.json"].map((name) => {
      const path = join(root, name);
      return statSync(path).isDirectory() ? newest(path) : modified(path);
    }),
  );
  const stamp = join(root, "dist/.built");
  if (modified(stamp) < sources) {
    rmSync(join(root, "dist"), { recursive: true, force: true });
    run("building", process.execPath, [join(root, "node_modules/typescript/bin/tsc")]);
    writeFileSync(stamp, "");
  }
}

setUp();
