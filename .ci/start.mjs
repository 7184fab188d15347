// `npm start -- [SOURCE...]`: sets up, then runs the main job (the overview, with all digests checked); with no
// SOURCE, on a real archive that ships with the project. A command's name in front runs that command instead.
import { spawnSync } from "node:child_process";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import "./setup.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const given = process.argv.slice(2);
const cwd = process.env.INIT_CWD ?? process.cwd(); // npm runs scripts in the project's folder, whatever the user's
const demo = relative(cwd, join(root, "fixtures/docker-archive/docker-legacy-multi/input.tar"));
const { COMMANDS } = await import("../dist/src/commands/index.js");
const named = COMMANDS.some(({ name }) => name === given[0]);
const rest = named ? given.slice(1) : given;
const hasSource = rest.some((word) => !word.startsWith("-") || word === "-");
const args = [...(named ? [] : ["--verify"]), ...given, ...(hasSource ? [] : [demo])];
const done = spawnSync(process.execPath, [join(root, "dist/src/cli.js"), ...args], { stdio: "inherit", cwd });
process.exitCode = done.status ?? 130;
