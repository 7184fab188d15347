/** Command lines in process, with the shapes of their JSON. */
import { runCli } from "./cli.ts";
import { inChunks } from "./tar-writer.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function run(argv: readonly string[], stdin: Uint8Array = new Uint8Array(0)): Promise<Ran> {
  const { code, out, err } = await runCli(argv, { stdin: inChunks(stdin, 10_000) });
  return { code, stdout: out, stderr: err };
}

export interface SizeJson {
  readonly apparent: number;
  readonly allocated: number | null;
  readonly inodes: number | null;
}

export interface ImageJson {
  readonly id: string;
  readonly names: readonly string[];
  readonly digests: readonly string[];
  readonly created: string | null;
  readonly platform: string | null;
  readonly source: string;
  readonly size: SizeJson;
  readonly shared: SizeJson;
  readonly exclusive: SizeJson;
  readonly attributed: SizeJson;
  readonly dangling: boolean;
  readonly state: string;
  readonly layers: readonly {
    readonly diffId: string | null;
    readonly chainId: string | null;
    readonly digest: string | null;
    readonly size: SizeJson;
    readonly unpacked: number | null;
    readonly sharedBy: readonly string[];
  }[];
}

interface Common {
  readonly code: number;
  readonly sources: readonly { readonly path: string; readonly kind: string; readonly root: string }[];
  readonly warnings: readonly {
    readonly code: string;
    readonly path: string | null;
    readonly message: string;
  }[];
}

export interface DfJson extends Common {
  readonly categories: readonly {
    readonly name: string;
    readonly count: number;
    readonly size: SizeJson;
    readonly reclaimable: SizeJson;
  }[];
  readonly total: SizeJson;
  readonly residual: number | null;
  readonly entries?: readonly { readonly category: string; readonly path: string; readonly size: SizeJson }[];
}

export interface CheckJson {
  readonly what: string;
  readonly id: string;
  readonly verdict: string;
  readonly expected: string | null;
  readonly actual: string | null;
  readonly path: string | null;
  readonly usedBy: readonly string[];
  readonly detail: string | null;
}

export interface VerifyJson extends Common {
  readonly checked: readonly CheckJson[];
  readonly summary: Readonly<Record<string, number>>;
}

export type ImagesJson = Common & { readonly images: readonly ImageJson[] };
export type WhatIfJson = Common & {
  readonly reclaimable: SizeJson;
  readonly each: readonly { readonly id: string; readonly source: string; readonly exclusive: SizeJson }[];
};

interface Answers {
  images: ImagesJson;
  df: DfJson;
  verify: VerifyJson;
  "what-if": WhatIfJson;
}

/**
 * The JSON that a command prints, with its exit code; throws where it printed none. Hashes in this thread unless
 * `argv` asks for others: the real pool is slower to start, but shares no module with the code under test.
 */
export async function ask<Name extends keyof Answers>(
  name: Name,
  argv: readonly string[],
  stdin?: Uint8Array,
): Promise<Answers[Name]> {
  const { code, stdout, stderr } = await run([name, "--json", "--workers", "0", ...argv], stdin);
  if (stdout === "") throw new Error(`exit ${code}: ${stderr}`);
  return { code, ...JSON.parse(stdout) } as Answers[Name];
}

/** Images by their first name, or ID. */
export function byName(answer: ImagesJson): Record<string, ImageJson> {
  return Object.fromEntries(answer.images.map((image) => [image.names[0] ?? image.id, image]));
}

/** Bytes by heading: what `df` says is allocated. */
export function headings(answer: DfJson): Record<string, number | null> {
  return Object.fromEntries(answer.categories.map(({ name, size }) => [name, size.allocated]));
}
