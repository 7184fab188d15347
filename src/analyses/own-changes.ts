/**
 * What a container has changed of its image, as `docker diff` lists it (moby pkg/archive/changes.go, v20.10): a folder
 * that is deleted stands for all in it, a folder in which something changed is changed itself.
 *
 * Docker looks at modes and owners too, which the trees here do not have: what the writable layer holds counts as
 * changed, whatever became of it.
 */
import { type BytePath, parentOf, ROOT } from "../byte-path.ts";
import type { Compared } from "./compare-trees.ts";

export interface OwnChange {
  readonly path: BytePath;
  /** Added, changed, deleted. */
  readonly kind: "A" | "C" | "D";
  /** What the image has there, with all that is in a folder that is gone; and what the container has. */
  readonly bytesA: number;
  readonly bytesB: number;
}

export class OwnChanges {
  private readonly changes = new Map<BytePath, OwnChange>();
  private readonly named: ReadonlySet<BytePath>;
  /** What is gone as a whole, while it goes on. */
  private gone: BytePath | null = null;

  /** `named`: what the container's own layer holds, where it is a layer; nothing where it is a whole view. */
  constructor(named: ReadonlySet<BytePath>) {
    this.named = named;
  }

  /** In the order of a walk, folders before what is in them. */
  add({ path, a, b }: Compared, status: string): void {
    const bytes = { bytesA: a?.bytes ?? 0, bytesB: b?.bytes ?? 0 };
    if (this.gone !== null && path.startsWith(`${this.gone}/`)) {
      const top = this.changes.get(this.gone)!;
      this.changes.set(this.gone, { ...top, bytesA: top.bytesA + bytes.bytesA });
      return;
    }
    const kind = this.kindOf(path, a, b, status);
    if (kind === null) return;
    this.changes.set(path, { path, kind, ...bytes });
    this.gone = a?.kind === "directory" && b?.kind !== "directory" ? path : null;
    for (let at = parentOf(path); at !== ROOT && !this.changes.has(at); at = parentOf(at))
      this.changes.set(at, { path: at, kind: "C", bytesA: 0, bytesB: 0 });
  }

  private kindOf(
    path: BytePath,
    a: Compared["a"],
    b: Compared["b"],
    status: string,
  ): OwnChange["kind"] | null {
    if (a === null) return "A";
    if (b === null) return "D";
    if (status !== "same") return "C";
    // Copied up: its mode or owner is another, or something in it came and went.
    return this.named.has(path) ? "C" : null;
  }

  /** By path, what is in a folder right behind it. */
  result(): OwnChange[] {
    const key = new Map([...this.changes.keys()].map((path) => [path, path.replaceAll("/", "\0")]));
    return [...this.changes.values()].sort((x, y) => (key.get(x.path)! < key.get(y.path)! ? -1 : 1));
  }
}
