/**
 * A layer that is kept as files, put together again and held against its diffID. This is the work that
 * `workers/reassemble.ts` does off the main thread.
 *
 * Where the digest is right so is every byte of every file: checksums are taken only where it is not, in a second
 * pass, to name the files that differ.
 */
import { type BytePath, parentOf, ROOT } from "../byte-path.ts";
import type { Folder } from "../bytes/folder.ts";
import { type Hasher, hasher } from "../bytes/scan.ts";
import { algorithmOf, type Digest, digestOf } from "../digest.ts";
import { FormatError, InterruptedError, messageOf, TruncatedError } from "../errors.ts";
import { type LayerFinding, MemberCheck } from "./layer-check.ts";
import { LayerFolder } from "./layer-folder.ts";
import { assembleLayer, readTarSplit, type TarSplitEntry } from "./tarsplit.ts";

/** A layer to put together. */
export interface LayerParts {
  /** Names its tar-split in messages. */
  readonly label: string;
  readonly diffId: Digest;
  /** The packed tar-split, from its start each time. */
  readonly tarSplit: () => AsyncIterable<Uint8Array>;
  readonly folder: Folder;
  /** As in `UnpackedLayer`. */
  readonly isDiff: boolean;
}

export type FindingKind = LayerFinding["kind"];

/** What was found; plain data, so that it crosses threads. */
export interface LayerFacts {
  /** Of the tar as far as it was put together. */
  readonly byteLength: number;
  /** Digest of the tar in the diffID's algorithm; null where it could not be put together to its end. */
  readonly actual: Digest | null;
  /** The first of each kind, in the order of the tar. */
  readonly findings: readonly LayerFinding[];
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>;
  /** Members that have something in the folder, and those of which it is there. */
  readonly expected: number;
  readonly there: number;
  /** Why the tar-split could not be read to its end. */
  readonly failure: { readonly kind: "truncated" | "format" | "unreadable"; readonly message: string } | null;
}

/** What was put there is not there as it was. */
export const DAMAGE_KINDS: readonly FindingKind[] = [
  "missing",
  "type",
  "size",
  "checksum",
  "target",
  "link",
  "whiteout",
  "opaque",
  "name",
];

/** Findings told of each kind, and those kept until it is known whether something explains them. */
const SHOWN = 5;
const KEPT = 500;

/** Never throws for what the layer is; `onBytes` hears of progress, and what it throws ends the work. */
export async function reassembleLayer(
  layer: LayerParts,
  onBytes: (count: number) => void = () => undefined,
): Promise<LayerFacts> {
  const quick = await pass(layer, false, onBytes);
  if (quick.failure === null && quick.actual === layer.diffId) return withFew(quick);
  const slow = await pass(layer, true, onlyToStop(onBytes));
  return withFew(await withElsewhere(slow, layer.folder));
}

function withFew(facts: LayerFacts): LayerFacts {
  const seen: Partial<Record<FindingKind, number>> = {};
  const findings = facts.findings.filter(({ kind }) => {
    seen[kind] = (seen[kind] ?? 0) + 1;
    return seen[kind] <= SHOWN;
  });
  return { ...facts, findings };
}

/** A second pass is no progress, but can be interrupted. */
function onlyToStop(onBytes: (count: number) => void): () => void {
  return () => onBytes(0);
}

async function pass(
  layer: LayerParts,
  checksums: boolean,
  onBytes: (count: number) => void,
): Promise<LayerFacts> {
  const tally = new Tally();
  const report = (finding: LayerFinding): void => tally.add(finding);
  const folder = new LayerFolder(layer.folder);
  const check = new MemberCheck(folder, layer.isDiff, report);
  const entries = (): AsyncIterable<TarSplitEntry> => readTarSplit(layer.tarSplit(), layer.label);
  const algorithm = algorithmOf(layer.diffId)!;
  const hash = new Gatherer(await hasher(algorithm), onBytes);
  let failure: LayerFacts["failure"] = null;
  try {
    const onMember: MemberCheck["member"] = (...member) => check.member(...member);
    const tar = assembleLayer(entries(), folder, report, { checksums, onMember });
    for await (const chunk of tar) hash.update(chunk);
    const isDamaged = DAMAGE_KINDS.some((kind) => tally.counts[kind] !== undefined);
    await check.finish(entries, isDamaged);
  } catch (error) {
    failure = failureOf(error);
  }
  const actual = failure === null ? digestOf(algorithm, hash.hex()) : null;
  const { byteLength } = hash;
  const { expected, there } = check;
  return { byteLength, actual, findings: tally.findings, counts: tally.counts, expected, there, failure };
}

function failureOf(error: unknown): LayerFacts["failure"] {
  const isIo = typeof (error as NodeJS.ErrnoException).syscall === "string";
  if (error instanceof TruncatedError) return { kind: "truncated", message: messageOf(error) };
  if (error instanceof FormatError) return { kind: "format", message: messageOf(error) };
  if (error instanceof InterruptedError || !isIo) throw error;
  return { kind: "unreadable", message: messageOf(error) };
}

class Tally {
  readonly counts: Partial<Record<FindingKind, number>> = {};
  readonly findings: LayerFinding[] = [];

  add(finding: LayerFinding): void {
    const count = (this.counts[finding.kind] ?? 0) + 1;
    this.counts[finding.kind] = count;
    if (count <= KEPT) this.findings.push(finding);
  }
}

const GATHERED = 1 << 18;

/** Headers and small files are hashed many at once: a call for each takes longer than to copy them. */
class Gatherer {
  byteLength = 0;
  private readonly hash: Hasher;
  private readonly onBytes: (count: number) => void;
  private readonly buffer = Buffer.allocUnsafe(GATHERED);
  private held = 0;

  constructor(hash: Hasher, onBytes: (count: number) => void) {
    this.hash = hash;
    this.onBytes = onBytes;
  }

  update(chunk: Uint8Array): void {
    this.byteLength += chunk.length;
    if (this.held + chunk.length > GATHERED) this.flush();
    if (chunk.length >= GATHERED / 4) {
      this.flush();
      this.hash.update(chunk);
      this.onBytes(chunk.length);
    } else {
      this.buffer.set(chunk, this.held);
      this.held += chunk.length;
    }
  }

  hex(): string {
    this.flush();
    return this.hash.hex();
  }

  private flush(): void {
    if (this.held === 0) return;
    this.hash.update(this.buffer.subarray(0, this.held));
    this.onBytes(this.held);
    this.held = 0;
  }
}

const MOVED = ["trusted.overlay.metacopy", "trusted.overlay.redirect"];
const MOVED_OF_USER = ["user.overlay.metacopy", "user.overlay.redirect"];

/**
 * Damage that is none, where all of it lies in files or folders of which overlayfs notes that layers below have what is
 * in them. Where only some of it does, the layer is damaged.
 */
async function withElsewhere(facts: LayerFacts, folder: Folder): Promise<LayerFacts> {
  const damage = facts.findings.filter((finding) => DAMAGE_KINDS.includes(finding.kind));
  if (DAMAGE_KINDS.some((kind) => (facts.counts[kind] ?? 0) > KEPT)) return facts;
  const elsewhere: LayerFinding[] = [];
  for (const { path, rawName } of damage) {
    const attribute = path === null ? null : await movedBy(folder, path);
    if (attribute === null) return facts;
    elsewhere.push({ kind: "elsewhere", path, rawName, attribute });
  }
  if (elsewhere.length === 0) return facts;
  const others = facts.findings.filter((finding) => !damage.includes(finding));
  const counts: Partial<Record<FindingKind, number>> = { ...facts.counts };
  counts.elsewhere = DAMAGE_KINDS.reduce((sum, kind) => sum + (counts[kind] ?? 0), 0);
  for (const kind of DAMAGE_KINDS) delete counts[kind];
  return { ...facts, findings: [...elsewhere, ...others], counts };
}

/** The attribute of a file, or of a folder that it is in. */
async function movedBy(folder: Folder, path: BytePath): Promise<string | null> {
  const place = new LayerFolder(folder);
  for (let at: BytePath = path; ; at = parentOf(at)) {
    const real = await place.place(at);
    const attributes = real === null ? null : await folder.attributes(real);
    const found = [...MOVED, ...MOVED_OF_USER].find((name) => attributes?.has(name));
    if (found !== undefined) return found;
    if (at === ROOT) return null;
  }
}
