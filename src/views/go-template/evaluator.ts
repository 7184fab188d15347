/** Runs a parsed template over data, after Go's text/template/exec.go. */

import { UsageError } from "../../errors.ts";
import { sprint } from "./format.ts";
import type { FunctionTable, ParameterType, TemplateFunction } from "./functions.ts";
import type { Source } from "./lexer.ts";
import type { Command, Control, Node, Operand, Pipe, Span } from "./parser.ts";
import { isStringSlice, isTrue, kindOf, ownField, Row, sortedEntries, typeName } from "./values.ts";

/** What was printed, and the error that stopped it there if one did. */
export interface Outcome {
  readonly text: string;
  readonly error: UsageError | null;
}

export function evaluate(
  source: Source,
  nodes: readonly Node[],
  functions: FunctionTable,
  data: unknown,
): Outcome {
  const evaluator = new Evaluator(source, functions, data);
  try {
    evaluator.walk(nodes, data);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { text: evaluator.text, error };
  }
  return { text: evaluator.text, error: null };
}

/** Stands for the value that a pipe's earlier command hands on, where there is none. */
const noValue = Symbol("no value");

/** What an operand is evaluated with: the arguments that only functions and methods may have. */
interface Call {
  readonly dot: unknown;
  readonly args: readonly Operand[];
  /** The last argument, from the pipe's command before, or `noValue`. */
  readonly piped: unknown;
  /** The piece of the template that messages name. */
  readonly span: Span;
}

function countArguments({ args, piped }: Call): number {
  return args.length + (piped === noValue ? 0 : 1);
}

/** Steps and characters one run may take: a template must not hang the program or fill its memory. */
const maxWork = 10_000_000;

class Evaluator {
  text = "";
  readonly #source: Source;
  readonly #functions: FunctionTable;
  /** In scope, innermost last. */
  readonly #variables: { readonly name: string; value: unknown }[];
  #work = 0;

  constructor(source: Source, functions: FunctionTable, data: unknown) {
    this.#source = source;
    this.#functions = functions;
    this.#variables = [{ name: "$", value: data }];
  }

  /** Says whether a {{break}} or {{continue}} ended it, for the range around. */
  walk(nodes: readonly Node[], dot: unknown): "done" | "break" | "continue" {
    for (const node of nodes) {
      switch (node.type) {
        case "text":
          this.#print(node.text);
          break;
        case "print":
          this.#printPipe(node.pipe, dot);
          break;
        case "break":
        case "continue":
          return node.type;
        default: {
          const scope = this.#variables.length;
          const end = node.type === "range" ? this.#walkRange(node, dot) : this.#walkIfOrWith(node, dot);
          this.#variables.length = scope;
          if (end !== "done") return end;
        }
      }
    }
    return "done";
  }

  #printPipe(pipe: Pipe, dot: unknown): void {
    const value = this.#pipe(pipe, dot);
    if (pipe.variables.length > 0) return;
    if (kindOf(value) === "func") throw this.#error(pipe, `can't print value of type ${typeName(value)}`);
    const text = kindOf(value) === "nil" ? "<no value>" : sprint([value]);
    this.#spend(text.length, pipe);
    this.#print(text);
  }

  #print(text: string): void {
    this.#spend(text.length, { start: 0, end: 0 });
    this.text += text;
  }

  #walkIfOrWith(node: Control, dot: unknown): "done" | "break" | "continue" {
    const value = this.#pipe(node.pipe, dot);
    if (!isTrue(value)) return this.walk(node.otherwise, dot);
    return this.walk(node.body, node.type === "with" ? value : dot);
  }

  #walkRange(node: Control, dot: unknown): "done" | "break" | "continue" {
    const value = this.#pipe(node.pipe, dot);
    const scope = this.#variables.length;
    let isEmpty = true;
    for (const [index, element] of this.#elements(value, node.pipe)) {
      isEmpty = false;
      this.#spend(1, node.pipe);
      this.#setRangeVariables(node.pipe, index, element);
      const end = this.walk(node.body, element);
      this.#variables.length = scope;
      if (end === "break") break;
    }
    return isEmpty ? this.walk(node.otherwise, dot) : "done";
  }

  #elements(value: unknown, pipe: Pipe): Iterable<[unknown, unknown]> {
    switch (kindOf(value)) {
      case "slice":
        return (value as unknown[]).entries();
      case "map":
        return sortedEntries(value as object);
      case "nil":
        return [];
      case "int":
        if (pipe.variables.length < 2) return countTo(Number(value));
        throw this.#error(pipe, `can't use ${value} to iterate over more than one variable`);
      default:
        throw this.#error(pipe, `range can't iterate over ${sprint([value])}`);
    }
  }

  /** One variable is the element, of two the first is the index. */
  #setRangeVariables({ variables, assigns }: Pipe, index: unknown, element: unknown): void {
    const values = variables.length > 1 ? [index, element] : [element];
    for (const [position, name] of variables.entries()) {
      const own = this.#variables.at(position - variables.length);
      const variable = assigns ? this.#variables.findLast((candidate) => candidate.name === name) : own;
      if (variable) variable.value = values[position];
    }
  }

  /** The value of the last command, each getting the one before as its last argument. */
  #pipe(pipe: Pipe, dot: unknown): unknown {
    let value: unknown = noValue;
    for (const command of pipe.commands) value = this.#command(command, dot, value) ?? undefined;
    for (const name of pipe.variables) {
      if (!pipe.assigns) this.#variables.push({ name, value });
      else this.#variable(name, pipe).value = value;
    }
    return value;
  }

  #command({ first, args, start, end }: Command, dot: unknown, piped: unknown): unknown {
    if (first.type === "nil") throw this.#error(first, "nil is not a command");
    return this.#operand(first, { dot, args, piped, span: { start, end } });
  }

  #argument(operand: Operand, dot: unknown): unknown {
    return this.#operand(operand, { dot, args: [], piped: noValue, span: operand });
  }

  #operand(operand: Operand, call: Call): unknown {
    this.#spend(1, operand);
    switch (operand.type) {
      case "function":
        return this.#callNamed(operand.name, call);
      case "field":
        return this.#fields(call.dot, operand.names, { ...call, span: operand });
      case "chain":
        return this.#fields(this.#argument(operand.of, call.dot), operand.names, { ...call, span: operand });
      case "variable": {
        const { value } = this.#variable(operand.name, operand);
        if (operand.names.length > 0) return this.#fields(value, operand.names, { ...call, span: operand });
        this.#refuseArguments(operand, call);
        return value;
      }
    }
    this.#refuseArguments(operand, call);
    if (operand.type === "pipe") return this.#pipe(operand, call.dot);
    if (operand.type === "literal") return operand.value;
    return operand.type === "dot" ? call.dot : null;
  }

  #refuseArguments(operand: Operand, call: Call): void {
    if (countArguments(call) === 0) return;
    const name = this.#source.text.slice(operand.start, operand.end);
    throw this.#error(operand, `can't give argument to non-function ${name}`);
  }

  #variable(name: string, span: Span): { value: unknown } {
    const variable = this.#variables.findLast((candidate) => candidate.name === name);
    if (!variable) throw this.#error(span, `undefined variable: ${name}`);
    return variable;
  }

  /** Follows .A.B.C; only the last may be a method with arguments. */
  #fields(start: unknown, names: readonly string[], call: Call): unknown {
    let value = start;
    for (const [index, name] of names.entries()) {
      const isLast = index === names.length - 1;
      value = this.#field(value, name, isLast ? call : { ...call, args: [], piped: noValue });
    }
    return value;
  }

  #field(receiver: unknown, name: string, call: Call): unknown {
    const { span } = call;
    if (receiver === undefined) return undefined;
    if (receiver === null) throw this.#error(span, `nil pointer evaluating interface {}.${name}`);
    if (receiver instanceof Row) return this.#rowField(receiver, name, call);
    if (kindOf(receiver) !== "map") throw this.#unknownField(name, typeName(receiver), span);
    if (countArguments(call) > 0) throw this.#error(span, `${name} is not a method but has arguments`);
    return ownField(receiver as object, name);
  }

  #rowField({ fields }: Row, name: string, call: Call): unknown {
    if (!Object.hasOwn(fields, name)) {
      throw this.#unknownField(name, `row (it has ${Object.keys(fields).sort().join(", ")})`, call.span);
    }
    const value = fields[name] ?? null;
    if (typeof value === "function") {
      const method = value as TemplateFunction["call"];
      const parameters = Array<ParameterType>(method.length).fill("string");
      return this.#call(name, { parameters, rest: null, call: method }, call);
    }
    if (countArguments(call) === 0) return value;
    throw this.#error(call.span, `${name} has arguments but cannot be invoked as function`);
  }

  #unknownField(name: string, type: string, span: Span): UsageError {
    return this.#error(span, `can't evaluate field ${name} in type ${type}`);
  }

  #callNamed(name: string, call: Call): unknown {
    const { dot, args, piped, span } = call;
    const callee = this.#functions.get(name);
    if (!callee) throw this.#error(span, `${JSON.stringify(name)} is not a defined function`);
    if (name !== "and" && name !== "or") return this.#call(name, callee, call);
    this.#checkCount(name, callee, call);
    let value: unknown;
    for (const arg of args) {
      value = this.#argument(arg, dot);
      if (isTrue(value) === (name === "or")) return value;
    }
    return piped === noValue ? value : piped;
  }

  #call(name: string, callee: TemplateFunction, call: Call): unknown {
    const { dot, args, piped, span } = call;
    this.#checkCount(name, callee, call);
    const typeAt = (index: number) => callee.parameters[index] ?? callee.rest ?? "any";
    const values = args.map((arg, index) => this.#convert(this.#argument(arg, dot), typeAt(index), arg));
    if (piped !== noValue) values.push(this.#convert(piped, typeAt(values.length), span));
    for (const value of values) this.#spend(sizeOf(value), span);
    const result = this.#invoke(name, callee, values, span);
    this.#spend(sizeOf(result), span);
    return result;
  }

  #invoke(name: string, callee: TemplateFunction, values: readonly unknown[], span: Span): unknown {
    try {
      return (callee.call as (...values: unknown[]) => unknown)(...values);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw this.#error(span, `error calling ${name}: ${error.message}`);
    }
  }

  #checkCount(name: string, { parameters, rest }: TemplateFunction, call: Call): void {
    const wanted = parameters.length;
    const count = countArguments(call);
    if (rest === null ? count === wanted : count >= wanted) return;
    const want = rest === null ? wanted : `at least ${wanted}`;
    throw this.#error(call.span, `wrong number of args for ${name}: want ${want} got ${count}`);
  }

  #convert(value: unknown, type: ParameterType, span: Span): unknown {
    const kind = kindOf(value);
    if (type === "any" || type === kind) return type === "int" ? Number(value) : value;
    if (type === "[]string" && isStringSlice(value)) return value;
    if (type === "[]string" && kind === "nil") return [];
    if (kind === "nil") throw this.#error(span, `invalid value; expected ${type}`);
    throw this.#error(span, `wrong type for value; expected ${type}; got ${typeName(value)}`);
  }

  #spend(work: number, span: Span): void {
    this.#work += work;
    if (this.#work > maxWork) throw this.#error(span, "the template does too much work");
  }

  #error({ start, end }: Span, message: string): UsageError {
    return this.#source.runError(start, end, message);
  }
}

function* countTo(end: number): Generator<[unknown, unknown]> {
  for (let index = 0; index < end; index++) yield [index, index];
}

/** What going over a value once costs. */
function sizeOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : 1;
}
