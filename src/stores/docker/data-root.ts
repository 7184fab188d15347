/** What all parts of the data-root's reader share: the records, the driver's folders, and who owns which place. */
import { type BytePath, displayPath, joinPath } from "../../byte-path.ts";
import type { NodeId, Orphan } from "../../graph/graph.ts";
import type { ReadOnlyTree } from "../../trees/tree.ts";
import type { Reading, UnpackedLayer } from "../store.ts";
import type { Driver } from "./drivers.ts";
import type { Placed, Places } from "./places.ts";
import type { Records } from "./records.ts";

export interface DataRoot {
  readonly tree: ReadOnlyTree;
  readonly reading: Reading;
  readonly records: Records;
  readonly places: Places;
  /** Null where there is no image store of any. */
  readonly driver: Driver | null;
  readonly folders: DriverFolders;
  readonly unpacked: Map<NodeId, UnpackedLayer>;
}

/** The folders of a driver by ID, and which of them something has named. */
export class DriverFolders {
  private readonly paths = new Map<string, BytePath[]>();
  /** Short names by the ID that they lead to. */
  private readonly links = new Map<string, BytePath[]>();
  private readonly targets = new Map<string, string>();
  private readonly named = new Set<string>();
  private readonly driver: Driver | null;
  /** With recorded sizes only, nobody has looked which folders there are. */
  private readonly isListed: boolean;

  constructor(driver: Driver | null, isListed: boolean) {
    this.driver = driver;
    this.isListed = isListed && driver !== null;
  }

  async list(records: Records): Promise<void> {
    if (!this.driver || !this.isListed) return;
    for (const folder of this.driver.idFolders) {
      for (const name of await records.names(folder)) {
        if (!this.driver.others.includes(name)) push(this.paths, name, joinPath(folder, name));
      }
    }
    if (this.driver.links === null) return;
    for (const { path, linkTarget } of await records.list(this.driver.links)) {
      this.targets.set(path.slice(this.driver.links.length + 1), linkTarget ?? "");
      push(this.links, /^\.\.\/([^/]+)\/diff$/.exec(linkTarget ?? "")?.[1] ?? "", path);
    }
  }

  has(id: string): boolean {
    return !this.isListed || this.paths.has(id);
  }

  /** The node that owns the folder of `id`, where there is one. */
  ownerOf(places: Places, id: string): NodeId | undefined {
    if (!this.driver || !this.has(id)) return undefined;
    return places.at(this.paths.get(id)?.[0] ?? joinPath(this.driver.idFolders[0]!, id));
  }

  /**
   * The node of the folder that `id` names, made of `node`, with all that belongs to it; null where it is not there. A
   * folder that something else has named stays that one's.
   */
  claim(places: Places, id: string, node: Placed): NodeId | null {
    if (!this.driver || !this.has(id)) return null;
    const known = this.ownerOf(places, id);
    if (known !== undefined) return known;
    const [first, ...others] = this.paths.get(id) ?? [joinPath(this.driver.idFolders[0]!, id)];
    this.named.add(id);
    const owner = places.add(first!, node);
    for (const path of others) this.belongs(places, owner, path, "further folder of a layer", node);
    for (const path of this.links.get(id) ?? [])
      this.belongs(places, owner, path, "short name of a layer", node);
    return owner;
  }

  private belongs(places: Places, owner: NodeId, path: BytePath, what: string, like: Placed): void {
    const { heading, orphan } = like;
    const own = orphan ? { orphan } : {};
    places.builder.edge(owner, places.add(path, { kind: "files", what, count: 1, heading, ...own }));
  }

  /** IDs of folders that nothing has named. */
  unnamed(): string[] {
    return [...this.paths.keys()].filter((id) => !this.named.has(id));
  }

  /** Short names that lead to no folder. */
  danglingLinks(): BytePath[] {
    return [...this.links].flatMap(([id, paths]) => (this.paths.has(id) ? [] : paths));
  }

  /** Where a short name leads, as the link says; null where there is no such link. */
  linkTarget(name: string): string | null {
    return this.targets.get(name) ?? null;
  }

  /** The ID of the folder that a short name leads to. */
  idOfLink(name: string): string | null {
    for (const [id, paths] of this.links) if (paths.some((path) => path.endsWith(`/${name}`))) return id;
    return null;
  }
}

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

/** An orphan of which `evidence` has been seen. */
export function orphanOf(cause: string, safe: boolean, ...evidence: readonly string[]): Orphan {
  return { cause, evidence, safe };
}

export function shown(path: BytePath | string): string {
  return displayPath(path);
}
