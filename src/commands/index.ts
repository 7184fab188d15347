/** The commands, one line each; a command's module is loaded when it is called. */
import type { Command } from "./command.ts";

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  // biome-ignore lint/suspicious/noExplicitAny: each command has options and results of its own, known to itself alone
  load(): Promise<{ command: Command<any, any> }>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "df",
    summary: "where did the disk go? every byte under one heading",
    load: () => import("./df.ts"),
  },
  {
    name: "images",
    summary: "images, with what they share and hold alone",
    load: () => import("./images.ts"),
  },
  { name: "tree", summary: "the layer tree: who shares what", load: () => import("./tree.ts") },
  {
    name: "inspect",
    summary: "one image: history, layers, wasted files",
    load: () => import("./inspect.ts"),
  },
  {
    name: "diff",
    summary: "which files make the difference between two images, or a container and its image",
    load: () => import("./diff.ts"),
  },
  { name: "verify", summary: "does the content match its digests?", load: () => import("./verify.ts") },
  { name: "what-if", summary: "exactly what deleting images frees", load: () => import("./what-if.ts") },
  { name: "who", summary: "whose is this path, ID or digest?", load: () => import("./who.ts") },
  {
    name: "orphans",
    summary: "what nothing refers to, with the cause and the evidence",
    load: () => import("./orphans.ts"),
  },
  { name: "plan", summary: "which deletions free most at the least loss", load: () => import("./plan.ts") },
];

export const OVERVIEW: CommandEntry = {
  name: "overview",
  summary: "the first look (the command when none is named)",
  load: () => import("./overview.ts"),
};
