/**
 * The templates of `docker images --format` and `podman images --format`: Go's text/template with docker's
 * functions, tables and JSON rows (docker/cli 28: cli/command/formatter/formatter.go, templates/templates.go).
 * Compared with Go 1.19; {{range}} over an int (Go 1.22) and {{else with}} (1.23) are of later ones.
 *
 * Not handled: {{define}}, {{template}}, {{block}}; the functions call, html, js, urlquery; complex numbers,
 * hexadecimal floats; the rest of Go's fmt that format.ts names. A string here is text, not bytes, so a slice
 * that cuts a character ends in U+FFFD.
 *
 * Libraries tried, none of which serves: go-text-template 0.2.2 (no if, range, printf, comments; prints a slice
 * as x,y), @sinkingpoint/gotemplate 0.1.15 (no print or printf; `and`, `or`, `lt`, `gt` give wrong answers,
 * {{break}} throws, 'a' is 145, an unknown field is no error, reaches .constructor), @ctrl/golang-template 2.0.1
 * (only fields, if, range and join; by its own words not safe for user input), @evertdespiegeleer/go-template
 * 1.0.2 (Go itself as 5 MB of WebAssembly, asynchronous, without docker's functions).
 */

import { UsageError } from "../errors.ts";
import { evaluate, type Outcome } from "./go-template/evaluator.ts";
import { type FunctionTable, headerFunctions, templateFunctions } from "./go-template/functions.ts";
import { Source } from "./go-template/lexer.ts";
import { type Node, parseNodes } from "./go-template/parser.ts";
import { alignColumns } from "./go-template/tabwriter.ts";
import { trimEnd, trimStart } from "./go-template/trim.ts";
import { kindOf, Row } from "./go-template/values.ts";

export interface RowFormat {
  /** The line above the rows, not aligned yet; null where the format is no table. */
  readonly header: string | null;
  /** One row without its newline; throws UsageError for a field it does not have. */
  row(values: Readonly<Record<string, unknown>>): string;
}

export class Template {
  readonly #source: Source;
  readonly #nodes: readonly Node[];

  constructor(text: string) {
    this.#source = new Source("format", text);
    this.#nodes = parseNodes(this.#source, (name) => templateFunctions.has(name));
  }

  /** An object given as `data` is a row, where an unknown field is an error; objects inside it are maps. */
  execute(data: unknown): string {
    const isObject = kindOf(data) === "map";
    const { text, error } = this.#run(templateFunctions, isObject ? new Row(data as Row["fields"]) : data);
    if (error) throw error;
    return text;
  }

  /**
   * The template over a table's column titles. What docker cannot make a title of ends the line there
   * (`{{json .}}`), and a field without title is `<no value>`.
   */
  executeHeader(headers: Readonly<Record<string, string>>): string {
    return this.#run(headerFunctions, headers).text;
  }

  #run(functions: FunctionTable, data: unknown): Outcome {
    return evaluate(this.#source, this.#nodes, functions, data);
  }
}

/** @throws UsageError naming the line, as Go does: `template: format:1: function "foo" not defined`. */
export function parseTemplate(text: string): Template {
  return new Template(text);
}

/**
 * docker's --format: `table TEMPLATE`, `json`, or `TEMPLATE` for each row, where the two characters `\t` and `\n`
 * stand for tab and newline. `table` alone takes `defaultTable`, a template without the word. docker's other words
 * (raw, pretty) are the caller's.
 */
export function parseRowFormat(
  format: string,
  headers: Readonly<Record<string, string>>,
  defaultTable?: string,
): RowFormat {
  const isTable = format.startsWith("table");
  const body = isTable ? format.slice("table".length) : format === "json" ? "{{json .}}" : format;
  const trimmed = trimStart(trimEnd(body, " "), " ");
  const text = isTable && trimmed === "" ? defaultTable : trimmed;
  if (text === undefined)
    throw new UsageError('--format table: give columns, as "table {{.ID}}\\t{{.Size}}"');
  const template = parseTemplate(text.replaceAll("\\t", "\t").replaceAll("\\n", "\n"));
  return {
    header: isTable ? template.executeHeader(headers) : null,
    row: (values) => template.execute(values),
  };
}

/** All rows, each ended by a newline; a table has its header even without rows. */
export function renderRows(
  format: string,
  rows: readonly Readonly<Record<string, unknown>>[],
  headers: Readonly<Record<string, string>>,
  defaultTable?: string,
): string {
  const { header, row } = parseRowFormat(format, headers, defaultTable);
  const text = [...(header === null ? [] : [header]), ...rows.map(row)].map((line) => `${line}\n`).join("");
  return header === null ? text : alignColumns(text);
}
