/** Tokens to a tree, after Go's text/template/parse/parse.go; without define, template and block. */

import { type Source, type Token, type TokenType, tokenize } from "./lexer.ts";
import { parseCharacter, parseNumber, unquote } from "./literals.ts";

/** Where a piece of the template stands, for messages; `end` exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export type Node =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "print"; readonly pipe: Pipe }
  | { readonly type: "break" | "continue" }
  | Control;

export interface Control {
  readonly type: "if" | "with" | "range";
  readonly pipe: Pipe;
  readonly body: readonly Node[];
  readonly otherwise: readonly Node[];
}

/** `$i, $e := first | second`: variables are named with their `$`. */
export interface Pipe extends Span {
  readonly type: "pipe";
  readonly variables: readonly string[];
  /** `=` rather than `:=`. */
  readonly assigns: boolean;
  readonly commands: readonly Command[];
}

/** An operand, the first, that the others are arguments of. */
export interface Command extends Span {
  readonly first: Operand;
  readonly args: readonly Operand[];
}

export type Operand =
  | ({ readonly type: "literal"; readonly value: unknown } & Span)
  | ({ readonly type: "dot" | "nil" } & Span)
  | ({ readonly type: "field"; readonly names: readonly string[] } & Span)
  | ({ readonly type: "variable"; readonly name: string; readonly names: readonly string[] } & Span)
  | ({ readonly type: "function"; readonly name: string } & Span)
  | ({ readonly type: "chain"; readonly of: Operand; readonly names: readonly string[] } & Span)
  | Pipe;

/** Parentheses and control structures within one another; far above use, far below the call stack's end. */
const maxDepth = 200;

/** @throws UsageError */
export function parseNodes(source: Source, isFunction: (name: string) => boolean): readonly Node[] {
  return new Parser(source, isFunction).parse();
}

class Parser {
  readonly #source: Source;
  readonly #isFunction: (name: string) => boolean;
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #rangeDepth = 0;
  /** Names in scope, innermost last. */
  readonly #variables = ["$"];

  constructor(source: Source, isFunction: (name: string) => boolean) {
    this.#source = source;
    this.#isFunction = isFunction;
    this.#tokens = tokenize(source);
  }

  parse(): readonly Node[] {
    const { nodes, stop } = this.#list();
    if (stop !== "end of text") throw this.#error(`unexpected {{${stop}}}`);
    return nodes;
  }

  /** Up to the end of the text, or past the word `end` or `else` of an action. */
  #list(): { nodes: Node[]; stop: "end" | "else" | "end of text" } {
    const nodes: Node[] = [];
    for (;;) {
      const token = this.#next();
      if (token.type === "end of text") return { nodes, stop: token.type };
      if (token.type === "text") {
        nodes.push({ type: "text", text: token.text });
        continue;
      }
      const first = this.#peek();
      if (first.type === "keyword" && (first.text === "end" || first.text === "else")) {
        this.#next();
        if (first.text === "end") this.#expect("close", "end");
        return { nodes, stop: first.text };
      }
      nodes.push(this.#action());
    }
  }

  /** Past the opening mark. */
  #action(): Node {
    const first = this.#peek();
    if (first.type !== "keyword") return { type: "print", pipe: this.#pipe("command", "close") };
    switch (first.text) {
      case "if":
      case "with":
      case "range":
        this.#next();
        return this.#control(first.text);
      case "break":
      case "continue":
        this.#next();
        this.#expect("close", `{{${first.text}}}`);
        if (this.#rangeDepth === 0) throw this.#error(`{{${first.text}}} outside {{range}}`);
        return { type: first.text };
      case "define":
      case "template":
      case "block":
        throw this.#error(`{{${first.text}}} is not supported`);
      default:
        return { type: "print", pipe: this.#pipe("command", "close") };
    }
  }

  /** Past the keyword, to its {{end}}; an {{else if}} shares the {{end}} with what it belongs to. */
  #control(type: Control["type"]): Control {
    return this.#nested(() => {
      const scope = this.#variables.length;
      const pipe = this.#pipe(type, "close");
      if (type === "range") this.#rangeDepth++;
      const { nodes: body, stop } = this.#list();
      if (type === "range") this.#rangeDepth--;
      if (stop === "end of text") throw this.#error("unexpected EOF");
      const otherwise = stop === "else" ? this.#otherwise(type) : [];
      this.#variables.length = scope;
      return { type, pipe, body, otherwise };
    });
  }

  #otherwise(type: Control["type"]): readonly Node[] {
    const next = this.#peek();
    if (type !== "range" && next.type === "keyword" && next.text === type) {
      this.#next();
      return [this.#control(type)];
    }
    this.#expect("close", "else");
    const { nodes, stop } = this.#list();
    if (stop === "end of text") throw this.#error("unexpected EOF");
    if (stop === "else") throw this.#error("expected end; found {{else}}");
    return nodes;
  }

  /** Consumes the closing mark or parenthesis too. */
  #pipe(context: string, end: "close" | "rightParen"): Pipe {
    const start = this.#peek().start;
    const { variables, assigns } = this.#declarations(context);
    const commands: Command[] = [];
    while (this.#peek().type !== end) commands.push(this.#command(context));
    const stop = this.#next().start;
    if (commands.length === 0) throw this.#error(`missing value for ${context}`);
    for (const [index, { first }] of commands.entries()) {
      if (index > 0 && ["literal", "dot", "nil"].includes(first.type)) {
        throw this.#error(`non executable command in pipeline stage ${index + 1}`);
      }
    }
    return { type: "pipe", variables, assigns, commands, start, end: stop };
  }

  /** `$x :=`, `$x =`, and in a range also `$i, $e :=`. */
  #declarations(context: string): { variables: string[]; assigns: boolean } {
    const variables: string[] = [];
    while (this.#peek().type === "variable") {
      const after = this.#peek(1);
      if (after.type !== "declare" && after.type !== "assign" && after.text !== ",") break;
      variables.push(this.#next().text);
      this.#next();
      if (after.text !== ",") {
        this.#variables.push(...variables);
        return { variables, assigns: after.type === "assign" };
      }
      if (context !== "range" || variables.length > 1) {
        throw this.#error(`too many declarations in ${context}`);
      }
      if (this.#peek().type !== "variable") throw this.#error("range can only initialize variables");
    }
    if (variables.length > 0) throw this.#unexpected(this.#peek(), context);
    return { variables, assigns: false };
  }

  /** To the end of the pipe, or past a `|`. */
  #command(context: string): Command {
    const first = this.#operand();
    if (first === null) throw this.#unexpected(this.#peek(), context);
    const args: Operand[] = [];
    let end = first.end;
    for (;;) {
      const next = this.#peek();
      if (next.type === "close" || next.type === "rightParen") break;
      if (next.type === "pipe") {
        this.#next();
        break;
      }
      const arg = next.spaced ? this.#operand() : null;
      if (arg === null) throw this.#unexpected(next, "operand");
      args.push(arg);
      end = arg.end;
    }
    return { first, args, start: first.start, end };
  }

  /** A term and the fields directly after it. */
  #operand(): Operand | null {
    const term = this.#term();
    if (term === null) return null;
    const names: string[] = [];
    let end = term.end;
    while (this.#peek().type === "field" && !this.#peek().spaced) {
      const field = this.#next();
      names.push(field.text.slice(1));
      end = field.end;
    }
    if (names.length === 0) return term;
    switch (term.type) {
      case "field":
      case "variable":
        return { ...term, names: [...term.names, ...names], end };
      case "literal":
      case "dot":
      case "nil":
        throw this.#error(
          `unexpected . after term ${JSON.stringify(this.#source.text.slice(term.start, term.end))}`,
        );
      default:
        return { type: "chain", of: term, names, start: term.start, end };
    }
  }

  #term(): Operand | null {
    const token = this.#peek();
    const { start, end, text } = token;
    switch (token.type) {
      case "word":
        if (!this.#isFunction(text)) throw this.#error(`function ${JSON.stringify(text)} not defined`);
        this.#next();
        return { type: "function", name: text, start, end };
      case "dot":
        this.#next();
        return { type: "dot", start, end };
      case "keyword":
        if (text !== "nil") return null;
        this.#next();
        return { type: "nil", start, end };
      case "variable":
        if (!this.#variables.includes(text)) throw this.#error(`undefined variable ${JSON.stringify(text)}`);
        this.#next();
        return { type: "variable", name: text, names: [], start, end };
      case "field":
        this.#next();
        return { type: "field", names: [text.slice(1)], start, end };
      case "leftParen":
        this.#next();
        return this.#nested(() => this.#parenthesized(start));
      default: {
        const literal = this.#literal(token);
        if (literal === undefined) return null;
        this.#next();
        return { type: "literal", value: literal, start, end };
      }
    }
  }

  #parenthesized(start: number): Pipe {
    const pipe = this.#pipe("parenthesized pipeline", "rightParen");
    return { ...pipe, start, end: pipe.end + 1 };
  }

  #literal({ type, text }: Token): unknown {
    const literal = literalParsers[type]?.(text);
    if (literal === null) throw this.#error(`bad ${type} syntax: ${JSON.stringify(text)}`);
    return literal;
  }

  #nested<T>(parse: () => T): T {
    if (++this.#depth > maxDepth) throw this.#error(`nested more than ${maxDepth} deep`);
    const result = parse();
    this.#depth--;
    return result;
  }

  #peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)]!;
  }

  #next(): Token {
    const token = this.#peek();
    this.#at++;
    return token;
  }

  #expect(type: TokenType, context: string): void {
    const token = this.#next();
    if (token.type !== type) throw this.#unexpected(token, context);
  }

  #unexpected(token: Token, context: string): Error {
    const what = token.type === "keyword" ? `<${token.text}>` : JSON.stringify(token.text);
    return this.#error(`unexpected ${what} in ${context}`);
  }

  #error(message: string): Error {
    return this.#source.parseError(this.#peek().start, message);
  }
}

/** Each gives null for what is no such literal. */
const literalParsers: Partial<Record<TokenType, (text: string) => unknown>> = {
  bool: (text) => text === "true",
  number: parseNumber,
  char: parseCharacter,
  string: unquote,
  raw: (text) => text.slice(1, -1).replaceAll("\r", ""),
};
