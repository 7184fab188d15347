/** The real inputs of `fixtures/<kind>/<case>/`: a file `input.*` or a folder `input`. */
import { readdirSync } from "node:fs";

export interface Fixture {
  readonly kind: string;
  readonly name: string;
  /** Relative to the project, as golden outputs have it. */
  readonly input: string;
  readonly expected: string;
}

const FIXTURES = "fixtures";
/** Other folders hold input for single formats, and for kinds that are not read yet. */
const KINDS = ["docker-archive", "oci-archive", "oci-layout", "skopeo-dir"];

/** All cases; a new one is a dropped folder. */
export function listFixtures(): Fixture[] {
  return KINDS.flatMap((kind) =>
    folders(`${FIXTURES}/${kind}`).map((name) => {
      const base = `${FIXTURES}/${kind}/${name}`;
      const input = readdirSync(base).find((file) => file === "input" || file.startsWith("input."));
      if (input === undefined) throw new Error(`${base} has no input`);
      return { kind, name, input: `${base}/${input}`, expected: `${base}/expected` };
    }),
  );
}

export function fixture(path: string): string {
  const found = listFixtures().find((one) => `${one.kind}/${one.name}` === path);
  if (!found) throw new Error(`no fixture ${path}`);
  return found.input;
}

function folders(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}
