/**
 * How JavaScript values stand for Go's in a template: whole numbers and bigints are `int`, other numbers
 * `float64`, arrays slices, objects `map[string]interface {}`. `null` is a nil inside data, `undefined` is
 * no value at all (a key that is missing); both print as `<no value>`.
 */

/** A float64, for the literals that are whole: `1.0` is not an int. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/**
 * What docker hands to a template: like a Go struct, an unknown field is an error (in a map it is no value).
 * A field that is a function is a method taking strings, as `{{.Label "name"}}`.
 */
export class Row {
  readonly fields: Readonly<Record<string, unknown>>;
  constructor(fields: Readonly<Record<string, unknown>>) {
    this.fields = fields;
  }
}

export type Kind = "nil" | "bool" | "int" | "float" | "string" | "slice" | "map" | "row" | "func";

export function kindOf(value: unknown): Kind {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "string":
      return "string";
    case "bigint":
      return "int";
    case "number":
      return Number.isSafeInteger(value) ? "int" : "float";
    case "function":
      return "func";
    case "object":
      if (value === null) return "nil";
      if (value instanceof Float) return "float";
      if (value instanceof Row) return "row";
      return Array.isArray(value) ? "slice" : "map";
    default:
      return "nil";
  }
}

const typeNames = {
  nil: "<nil>",
  bool: "bool",
  int: "int",
  float: "float64",
  string: "string",
  map: "map[string]interface {}",
  row: "row",
  func: "func",
} as const;

/** The Go type as `%T` prints it; an array of strings is a `[]string`, any other a `[]interface {}`. */
export function typeName(value: unknown): string {
  const kind = kindOf(value);
  if (kind === "slice") return isStringSlice(value) && value.length > 0 ? "[]string" : "[]interface {}";
  return typeNames[kind];
}

export function isStringSlice(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((element) => typeof element === "string");
}

export function floatOf(value: unknown): number {
  return value instanceof Float ? value.value : Number(value);
}

/** Go's truth: false, 0, nil, and whatever is empty are false. */
export function isTrue(value: unknown): boolean {
  switch (kindOf(value)) {
    case "nil":
      return false;
    case "float":
      return floatOf(value) !== 0;
    case "slice":
      return (value as unknown[]).length > 0;
    case "map":
      return Object.keys(value as object).length > 0;
    case "row":
    case "func":
      return true;
    default:
      return Boolean(value);
  }
}

/** An own field; never one of the prototype's, so `.constructor` is an unknown key like any other. */
export function ownField(object: object, name: string): unknown {
  return Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
}

/** Go's order of strings, which is that of their UTF-8 bytes. */
export function compareStrings(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The entries of a map, or the fields of a row without its methods, by key. */
export function sortedEntries(value: object): [string, unknown][] {
  const entries = Object.entries(value instanceof Row ? value.fields : value);
  return entries.filter(([, field]) => typeof field !== "function").sort(([a], [b]) => compareStrings(a, b));
}
