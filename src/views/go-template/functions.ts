/** The functions of a template: Go's builtins and docker's (cli/templates/templates.go). */

import { UsageError } from "../../errors.ts";
import { sprint, sprintf, sprintln } from "./format.ts";
import { encodeJson } from "./json.ts";
import { compareStrings, floatOf, isTrue, type Kind, kindOf, ownField, typeName } from "./values.ts";

export type ParameterType = "any" | "string" | "int" | "[]string";

export interface TemplateFunction {
  readonly parameters: readonly ParameterType[];
  /** Of the further arguments of a variadic function, else null. */
  readonly rest: ParameterType | null;
  /** Gets arguments of the right number and types; throws UsageError with the bare reason. */
  readonly call: (...args: never[]) => unknown;
}

export type FunctionTable = ReadonlyMap<string, TemplateFunction>;

const fixed = (parameters: ParameterType[], call: TemplateFunction["call"]): TemplateFunction => ({
  parameters,
  rest: null,
  call,
});
const variadic = (parameters: ParameterType[], call: TemplateFunction["call"]): TemplateFunction => ({
  parameters,
  rest: "any",
  call,
});

/** `and` and `or` stand here for their parameters: the evaluator does them, since they short-circuit. */
export const templateFunctions: FunctionTable = new Map<string, TemplateFunction>([
  ["and", variadic(["any"], () => undefined)],
  ["or", variadic(["any"], () => undefined)],
  ["not", fixed(["any"], (value: unknown) => !isTrue(value))],
  ["eq", variadic(["any"], isEqual)],
  ["ne", fixed(["any", "any"], (a: unknown, b: unknown) => !isEqual(a, b))],
  ["lt", fixed(["any", "any"], isLess)],
  ["le", fixed(["any", "any"], isLessOrEqual)],
  ["gt", fixed(["any", "any"], (a: unknown, b: unknown) => !isLessOrEqual(a, b))],
  ["ge", fixed(["any", "any"], (a: unknown, b: unknown) => !isLess(a, b))],
  ["len", fixed(["any"], lengthOf)],
  ["index", variadic(["any"], indexInto)],
  ["slice", variadic(["any"], sliceOf)],
  ["print", variadic([], (...values: unknown[]) => sprint(values))],
  ["println", variadic([], (...values: unknown[]) => sprintln(values))],
  ["printf", variadic(["string"], (format: string, ...values: unknown[]) => sprintf(format, values))],
  ["json", fixed(["any"], jsonOrNothing)],
  ["split", fixed(["string", "string"], split)],
  ["join", fixed(["[]string", "string"], join)],
  ["title", fixed(["string"], title)],
  ["lower", fixed(["string"], (text: string) => mapCase(text, (character) => character.toLowerCase()))],
  ["upper", fixed(["string"], (text: string) => mapCase(text, (character) => character.toUpperCase()))],
  ["pad", fixed(["string", "int", "int"], padWithSpace)],
  ["truncate", fixed(["string", "int"], truncate)],
]);

/** Bounds what a short template can ask for. */
const maxLength = 1_000_000;

const passThrough = (text: string) => text;

/** docker's HeaderFunctions: for the header line they hand the column's name on; `pad` still pads. */
export const headerFunctions: FunctionTable = new Map<string, TemplateFunction>([
  ...templateFunctions,
  ["json", fixed(["string"], passThrough)],
  ["split", fixed(["string", "string"], passThrough)],
  ["join", fixed(["string", "string"], passThrough)],
  ["title", fixed(["string"], passThrough)],
  ["lower", fixed(["string"], passThrough)],
  ["upper", fixed(["string"], passThrough)],
  ["truncate", fixed(["string", "int"], passThrough)],
]);

const basicKinds = new Set<Kind>(["bool", "int", "float", "string"]);

/** Whether the first equals any of the others. */
function isEqual(first: unknown, ...others: unknown[]): boolean {
  if (others.length === 0) throw new UsageError("missing argument for comparison");
  return others.some((other) => isEqualPair(first, other));
}

function isEqualPair(a: unknown, b: unknown): boolean {
  const kind = kindOf(a);
  const otherKind = kindOf(b);
  if (kind === "nil" || otherKind === "nil") return kind === otherKind;
  const isBasic = basicKinds.has(kind);
  if (isBasic !== basicKinds.has(otherKind) || (isBasic && kind !== otherKind)) {
    throw new UsageError("incompatible types for comparison");
  }
  if (!isBasic) throw new UsageError(`non-comparable type ${typeName(b)}`);
  if (kind === "float") return floatOf(a) === floatOf(b);
  return kind === "int" ? BigInt(a as number) === BigInt(b as number) : a === b;
}

function isLess(a: unknown, b: unknown): boolean {
  const kind = kindOf(a);
  const otherKind = kindOf(b);
  if (!basicKinds.has(kind) || !basicKinds.has(otherKind))
    throw new UsageError("invalid type for comparison");
  if (kind !== otherKind) throw new UsageError("incompatible types for comparison");
  switch (kind) {
    case "string":
      return compareStrings(a as string, b as string) < 0;
    case "float":
      return floatOf(a) < floatOf(b);
    case "int":
      return (a as number) < (b as number);
    default:
      throw new UsageError("invalid type for comparison");
  }
}

function isLessOrEqual(a: unknown, b: unknown): boolean {
  return isLess(a, b) || isEqualPair(a, b);
}

/** Of a string in bytes. */
function lengthOf(value: unknown): number {
  switch (kindOf(value)) {
    case "string":
      return Buffer.byteLength(value as string);
    case "slice":
      return (value as unknown[]).length;
    case "map":
      return Object.keys(value as object).length;
    case "nil":
      throw new UsageError("len of nil pointer");
    default:
      throw new UsageError(`len of type ${typeName(value)}`);
  }
}

/** `index x 1 "k"` is x[1]["k"]; in a string it gives a byte. */
function indexInto(value: unknown, ...indexes: unknown[]): unknown {
  if (kindOf(value) === "nil") throw new UsageError("index of untyped nil");
  let item = value;
  for (const index of indexes) {
    switch (kindOf(item)) {
      case "string": {
        const bytes = Buffer.from(item as string);
        item = bytes[offsetOf(index, bytes.length - 1)];
        break;
      }
      case "slice": {
        const elements = item as unknown[];
        item = elements[offsetOf(index, elements.length - 1)];
        break;
      }
      case "map":
        if (typeof index !== "string") {
          throw new UsageError(`value has type ${typeName(index)}; should be string`);
        }
        item = ownField(item as object, index);
        break;
      case "nil":
        throw new UsageError("index of nil pointer");
      default:
        throw new UsageError(`can't index item of type ${typeName(item)}`);
    }
  }
  return item;
}

/** `slice x 1 2` is x[1:2], in a string by bytes. */
function sliceOf(value: unknown, ...indexes: unknown[]): unknown {
  const kind = kindOf(value);
  if (kind === "nil") throw new UsageError("slice of untyped nil");
  if (kind !== "string" && kind !== "slice")
    throw new UsageError(`can't slice item of type ${typeName(value)}`);
  if (indexes.length > 3) throw new UsageError(`too many slice indexes: ${indexes.length}`);
  if (indexes.length === 3 && kind === "string") throw new UsageError("cannot 3-index slice a string");
  const length = lengthOf(value);
  const [start = 0, end = length, limit = length] = indexes.map((index) => offsetOf(index, length));
  if (start > end) throw new UsageError(`invalid slice index: ${start} > ${end}`);
  if (end > limit) throw new UsageError(`invalid slice index: ${end} > ${limit}`);
  if (kind === "slice") return (value as unknown[]).slice(start, end);
  return Buffer.from(value as string)
    .subarray(start, end)
    .toString();
}

function offsetOf(index: unknown, max: number): number {
  const kind = kindOf(index);
  if (kind === "nil") throw new UsageError("cannot index slice/array with nil");
  if (kind !== "int") throw new UsageError(`cannot index slice/array with type ${typeName(index)}`);
  const offset = Number(index);
  if (offset < 0 || offset > max) throw new UsageError(`index out of range: ${index}`);
  return offset;
}

/** docker drops the encoder's error and prints what was encoded: nothing. */
function jsonOrNothing(value: unknown): string {
  try {
    return encodeJson(value);
  } catch {
    return "";
  }
}

function split(text: string, separator: string): string[] {
  return separator === "" ? [...text] : text.split(separator);
}

function join(parts: string[], separator: string): string {
  if (parts.length * separator.length > maxLength) throw new UsageError("text is too long");
  return parts.join(separator);
}

/** By single characters as Go does: a character whose other case is several stays ("ß"). */
function mapCase(text: string, map: (character: string) => string): string {
  return Array.from(text, (character) => {
    const mapped = map(character);
    return [...mapped].length === 1 ? mapped : character;
  }).join("");
}

/** strings.Title: what follows anything but a letter, digit, underscore or non-ASCII symbol starts a word. */
function title(text: string): string {
  return text.replaceAll(/(^|[\0-/:-@[-^`{-\x7f\s])(\p{L})/gu, (_, before: string, letter: string) => {
    return before + mapCase(letter, (character) => character.toUpperCase());
  });
}

function padWithSpace(text: string, before: number, after: number): string {
  if (text === "") return text;
  if (before < 0 || after < 0) throw new UsageError("negative padding");
  if (before + after > maxLength) throw new UsageError("text is too long");
  return " ".repeat(before) + text + " ".repeat(after);
}

/** To so many bytes. */
function truncate(text: string, length: number): string {
  if (length < 0) throw new UsageError(`slice bounds out of range [:${length}]`);
  return Buffer.from(text).subarray(0, length).toString();
}
