/** Template text to tokens, after Go's text/template/parse/lex.go. */

import { UsageError } from "../../errors.ts";
import { trimEnd, trimStart } from "./trim.ts";

export type TokenType =
  | "text"
  | "open"
  | "close"
  | "number"
  | "field"
  | "dot"
  | "variable"
  | "word"
  | "keyword"
  | "bool"
  | "string"
  | "raw"
  | "char"
  | "declare"
  | "assign"
  | "pipe"
  | "leftParen"
  | "rightParen"
  | "other"
  | "end of text";

export interface Token {
  readonly type: TokenType;
  /** As written; of `text` tokens what is left after trimming. */
  readonly text: string;
  /** Offsets into the template, in UTF-16 units; `end` exclusive. */
  readonly start: number;
  readonly end: number;
  /** Whether white space stands before it: `.A.B` is one operand, `.A .B` two. */
  readonly spaced: boolean;
}

/** The text with the name it has in messages. */
export class Source {
  readonly name: string;
  readonly text: string;
  constructor(name: string, text: string) {
    this.name = name;
    this.text = text;
  }

  /** An error of the template's text, as Go words it. */
  parseError(offset: number, message: string): UsageError {
    return new UsageError(`template: ${this.name}:${this.#line(offset)}: ${oneLine(message)}`);
  }

  /** An error of running it, naming the piece of the template at fault. The column counts bytes from 0, as Go's. */
  runError(start: number, end: number, message: string): UsageError {
    const lineStart = this.text.lastIndexOf("\n", start - 1) + 1;
    const column = start === 0 ? 0 : Buffer.byteLength(this.text.slice(lineStart, start));
    const at = `${this.name}:${this.#line(start)}:${column}`;
    const piece = this.text.slice(start, end);
    return new UsageError(
      oneLine(`template: ${at}: executing ${JSON.stringify(this.name)} at <${piece}>: ${message}`),
    );
  }

  #line(offset: number): number {
    return this.text.slice(0, offset).split("\n").length;
  }
}

const keywords = new Set("block break continue define else end if nil range template with".split(" "));
const spaces = " \t\r\n";
const openMark = /\{\{(?:-[ \t\r\n])?/y;
const closeMark = /[ \t\r\n]+-\}\}|[ \t\r\n]*\}\}/y;
const commentClose = /(?:[ \t\r\n]-)?\}\}/y;
const whiteSpace = /[ \t\r\n]*/y;
const tokenPattern = new RegExp(
  [
    String.raw`(?<number>[+\-]?\.?\d(?:[eEpP][+\-]|[\p{L}\p{Nd}_.])*|[+\-])`,
    String.raw`(?<field>\.[\p{L}\p{Nd}_]+)`,
    String.raw`(?<dot>\.)`,
    String.raw`(?<variable>\$[\p{L}\p{Nd}_]*)`,
    String.raw`(?<word>[\p{L}\p{Nd}_]+)`,
    String.raw`(?<string>"(?:[^"\\\n]|\\[^\n])*")`,
    "(?<raw>`[^`]*`)",
    String.raw`(?<char>'(?:[^'\\\n]|\\[^\n])*')`,
    "(?<declare>:=)",
    "(?<assign>=)",
    String.raw`(?<pipe>\|)`,
    String.raw`(?<leftParen>\()`,
    String.raw`(?<rightParen>\))`,
    "(?<other>[!-~])",
  ].join("|"),
  "uy",
);
/** What may follow a field, variable or word at once. */
const terminator = /[ \t\r\n.,|:()]|\}\}|$/y;
const unterminated: Record<string, string> = {
  '"': "unterminated quoted string",
  "`": "unterminated raw quoted string",
  "'": "unterminated character constant",
};

/** @throws UsageError where the text has no tokens: an unclosed action, comment, string or parenthesis. */
export function tokenize(source: Source): Token[] {
  const { text } = source;
  const tokens: Token[] = [];
  let at = 0;
  let trimming = false;
  for (;;) {
    const open = text.indexOf("{{", at);
    const textEnd = open < 0 ? text.length : open;
    const mark = open < 0 ? "" : (matchAt(openMark, text, open) ?? "");
    let plain = text.slice(at, textEnd);
    if (trimming) plain = trimStart(plain, spaces);
    if (mark.length > 2) plain = trimEnd(plain, spaces);
    if (plain !== "") tokens.push({ type: "text", text: plain, start: at, end: textEnd, spaced: false });
    if (open < 0) break;
    at = open + mark.length;
    const close = text.startsWith("/*", at) ? skipComment(source, at) : lexAction(source, open, at, tokens);
    at = close.end;
    trimming = close.text.includes("-");
  }
  tokens.push({ type: "end of text", text: "", start: text.length, end: text.length, spaced: false });
  return tokens;
}

/** Appends the tokens of one action, its marks included; returns the closing one. */
function lexAction(source: Source, open: number, from: number, tokens: Token[]): Token {
  const { text } = source;
  tokens.push({ type: "open", text: "{{", start: open, end: from, spaced: false });
  let at = from;
  let parens = 0;
  for (;;) {
    const close = matchAt(closeMark, text, at);
    if (close !== null) {
      if (parens > 0) throw source.parseError(at, "unclosed left paren");
      const token: Token = { type: "close", text: close, start: at, end: at + close.length, spaced: false };
      tokens.push(token);
      return token;
    }
    const start = at + (matchAt(whiteSpace, text, at)?.length ?? 0);
    const token = nextToken(source, start, start > at);
    if (token.type === "leftParen") parens++;
    if (token.type === "rightParen" && --parens < 0) throw source.parseError(start, "unexpected right paren");
    tokens.push(token);
    at = token.end;
  }
}

function nextToken(source: Source, start: number, spaced: boolean): Token {
  const { text } = source;
  if (start >= text.length) throw source.parseError(start, "unclosed action");
  tokenPattern.lastIndex = start;
  const match = tokenPattern.exec(text);
  const [type, written] = Object.entries(match?.groups ?? {}).find(([, part]) => part !== undefined) ?? [];
  if (type === undefined || written === undefined) {
    throw source.parseError(start, `unrecognized character in action: ${describeCharacter(text, start)}`);
  }
  const wrong = unterminated[written];
  if (type === "other" && wrong !== undefined) throw source.parseError(start, wrong);
  const end = start + written.length;
  if (["field", "dot", "variable", "word"].includes(type) && matchAt(terminator, text, end) === null) {
    throw source.parseError(end, `bad character ${describeCharacter(text, end)}`);
  }
  return {
    type: type === "word" ? wordType(written) : (type as TokenType),
    text: written,
    start,
    end,
    spaced,
  };
}

function wordType(word: string): TokenType {
  if (keywords.has(word)) return "keyword";
  return word === "true" || word === "false" ? "bool" : "word";
}

function skipComment(source: Source, start: number): Token {
  const { text } = source;
  const stop = text.indexOf("*/", start + 2);
  if (stop < 0) throw source.parseError(start, "unclosed comment");
  const close = matchAt(commentClose, text, stop + 2);
  if (close === null) throw source.parseError(start, "comment ends before closing delimiter");
  return { type: "close", text: close, start: stop + 2, end: stop + 2 + close.length, spaced: false };
}

/** What a sticky pattern matches just there, or null. */
function matchAt(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

function describeCharacter(text: string, at: number): string {
  const code = text.codePointAt(at) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")} '${String.fromCodePoint(code)}'`;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, " ");
}
