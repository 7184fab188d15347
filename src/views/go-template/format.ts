/**
 * Values to text as Go's fmt does: Sprint, Sprintln, Sprintf. Not handled: `*` widths, `%p`, `%U`,
 * complex numbers, floats in base 2 or 16 (`%b`, `%x`) or with `#`, and Go syntax (`%#v` prints as `%v`).
 */

import { UsageError } from "../../errors.ts";
import { formatFloat } from "./numbers.ts";
import { floatOf, kindOf, sortedEntries, typeName } from "./values.ts";

interface Directive {
  readonly verb: string;
  readonly minus: boolean;
  readonly plus: boolean;
  readonly sharp: boolean;
  readonly space: boolean;
  readonly zero: boolean;
  readonly width: number;
  readonly precision: number | null;
}

const plain: Directive = {
  verb: "v",
  minus: false,
  plus: false,
  sharp: false,
  space: false,
  zero: false,
  width: 0,
  precision: null,
};

/** As `{{.}}` and print show it: operands are parted by a space where neither is a string. */
export function sprint(values: readonly unknown[]): string {
  let text = "";
  for (const [index, value] of values.entries()) {
    const apart = index > 0 && typeof value !== "string" && typeof values[index - 1] !== "string";
    text += (apart ? " " : "") + formatValue(value, plain);
  }
  return text;
}

export function sprintln(values: readonly unknown[]): string {
  return `${values.map((value) => formatValue(value, plain)).join(" ")}\n`;
}

/** Of a width or precision; Go's own bound is near. */
const maxWidth = 1_000_000;
const maxLength = 10_000_000;
const directivePattern = /%([+\-# 0]*)(\d*)(?:(\.)(\d*))?(?:\[([^\]]*)\])?([\s\S])?/uy;

/** @throws UsageError when the text gets absurdly long; a wrong verb or operand is told in the text, as in Go. */
export function sprintf(format: string, values: readonly unknown[]): string {
  let text = "";
  let next = 0;
  let reordered = false;
  let at = 0;
  for (;;) {
    const percent = format.indexOf("%", at);
    text += format.slice(at, percent < 0 ? format.length : percent);
    if (text.length > maxLength) throw new UsageError("text is too long");
    if (percent < 0) break;
    directivePattern.lastIndex = percent;
    const match = directivePattern.exec(format);
    const [whole = "", flags = "", width = "", point, precision = "", position, verb] = match ?? [];
    at = percent + whole.length;
    if (verb === undefined || Number(width) > maxWidth || Number(precision) > maxWidth) {
      text += "%!(NOVERB)";
      break;
    }
    if (verb === "%") {
      text += "%";
      continue;
    }
    const index = position === undefined ? next : Number(position) - 1;
    reordered ||= position !== undefined;
    if (!(index >= 0 && index < values.length)) {
      text += `%!${verb}(${position === undefined ? "MISSING" : "BADINDEX"})`;
      continue;
    }
    next = index + 1;
    const exact = point === undefined ? null : Number(precision);
    text += formatValue(values[index], toDirective(verb, flags, Number(width), exact));
  }
  return text + (reordered ? "" : extraOperands(values.slice(next)));
}

function toDirective(verb: string, flags: string, width: number, precision: number | null): Directive {
  return {
    verb,
    minus: flags.includes("-"),
    plus: flags.includes("+") && verb !== "v",
    sharp: flags.includes("#") && verb !== "v",
    space: flags.includes(" "),
    zero: flags.includes("0") && !flags.includes("-"),
    width,
    precision,
  };
}

function extraOperands(extra: readonly unknown[]): string {
  if (extra.length === 0) return "";
  return `%!(EXTRA ${extra.map((value) => describe(value, plain)).join(", ")})`;
}

/** `int=5`, as Go shows an operand that its verb does not fit; flags and width still hold for the value. */
function describe(value: unknown, directive: Directive): string {
  if (kindOf(value) === "nil") return "<nil>";
  return `${typeName(value)}=${formatValue(value, { ...directive, verb: "v" })}`;
}

function formatValue(value: unknown, directive: Directive): string {
  const { verb } = directive;
  if (verb === "T") return formatString(typeName(value), { ...directive, verb: "s" }) ?? "";
  switch (kindOf(value)) {
    case "nil":
      return verb === "v" ? pad("<nil>", directive) : badVerb(value, directive);
    case "bool":
      return verb === "v" || verb === "t" ? pad(String(value), directive) : badVerb(value, directive);
    case "int":
      return formatInt(BigInt(value as number | bigint), directive) ?? badVerb(value, directive);
    case "float":
      return formatFloatVerb(floatOf(value), directive) ?? badVerb(value, directive);
    case "string":
      return formatString(value as string, directive) ?? badVerb(value, directive);
    case "slice":
      return `[${joinElements(value as unknown[], (element) => formatElement(element, directive))}]`;
    case "func":
      return badVerb("func", directive);
    default:
      return `map[${joinElements(
        sortedEntries(value as object),
        ([key, element]) => `${formatValue(key, directive)}:${formatElement(element, directive)}`,
      )}]`;
  }
}

function joinElements<T>(elements: readonly T[], format: (element: T) => string): string {
  let text = "";
  for (const [index, element] of elements.entries()) {
    text += (index > 0 ? " " : "") + format(element);
    if (text.length > maxLength) throw new UsageError("text is too long");
  }
  return text;
}

/** A nil inside a value is `<nil>` whatever the verb. */
function formatElement(value: unknown, directive: Directive): string {
  return kindOf(value) === "nil" ? "<nil>" : formatValue(value, directive);
}

function badVerb(value: unknown, directive: Directive): string {
  return `%!${directive.verb}(${describe(value, directive)})`;
}

const bases: Record<string, readonly [base: number, prefix: string]> = {
  v: [10, ""],
  d: [10, ""],
  b: [2, "0b"],
  o: [8, "0"],
  O: [8, "0o"],
  x: [16, "0x"],
  X: [16, "0X"],
};

function formatInt(value: bigint, directive: Directive): string | null {
  const { verb, precision, width, sharp } = directive;
  if (verb === "c") return pad(characterOf(value), { ...directive, precision: null });
  if (verb === "q")
    return pad(quote(characterOf(value), "'", directive.plus), { ...directive, precision: null });
  const [base, prefix] = bases[verb] ?? [];
  if (base === undefined) return null;
  const sign = signOf(value < 0n, directive);
  let digits = (value < 0n ? -value : value).toString(base);
  if (verb === "X") digits = digits.toUpperCase();
  if (precision === 0 && value === 0n) return " ".repeat(width);
  digits = digits.padStart(precision ?? (directive.zero ? width - sign.length : 0), "0");
  const marked = verb === "O" || (sharp && !(verb === "o" && digits.startsWith("0"))) ? prefix : "";
  return pad(sign + marked + digits, { ...directive, zero: false, precision: null });
}

function formatFloatVerb(value: number, directive: Directive): string | null {
  const { verb, precision } = directive;
  const lower = verb === "v" ? "g" : verb.toLowerCase();
  if (!["e", "f", "g"].includes(lower)) return null;
  const text = formatFloat(value, lower, precision ?? (lower === "g" ? null : 6));
  const digits = verb === "E" || verb === "G" ? text.toUpperCase() : text;
  const size = digits.replace(/^[+-]/, "");
  const sign = text === "+Inf" ? (directive.plus ? "+" : "") : signOf(digits.startsWith("-"), directive);
  const zero = directive.zero && Number.isFinite(value);
  const padded = zero ? size.padStart(directive.width - sign.length, "0") : size;
  return pad(sign + padded, { ...directive, zero: false, precision: null });
}

function signOf(isNegative: boolean, { plus, space }: Directive): string {
  if (isNegative) return "-";
  if (plus) return "+";
  return space ? " " : "";
}

function formatString(value: string, directive: Directive): string | null {
  const { verb, precision, sharp } = directive;
  if (verb === "x" || verb === "X") return pad(hexOf(value, directive), { ...directive, precision: null });
  const text = precision === null ? value : [...value].slice(0, precision).join("");
  if (verb === "s" || verb === "v") return pad(text, directive);
  if (verb !== "q") return null;
  const isRaw = sharp && !/[`\p{Cc}\u{FEFF}]/u.test(text.replaceAll("\t", ""));
  return pad(isRaw ? `\`${text}\`` : quote(text, '"', directive.plus), directive);
}

function hexOf(value: string, { verb, precision, space, sharp }: Directive): string {
  const bytes = Buffer.from(value).subarray(0, precision ?? undefined);
  const pairs = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
  const prefix = sharp ? "0x" : "";
  const text = space
    ? pairs.map((pair) => prefix + pair).join(" ")
    : (pairs.length > 0 ? prefix : "") + pairs.join("");
  return verb === "X" ? text.toUpperCase() : text;
}

/** Widths count code points. */
function pad(text: string, { width, minus, zero }: Directive): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  return minus ? text + " ".repeat(missing) : (zero ? "0" : " ").repeat(missing) + text;
}

function characterOf(value: bigint): string {
  const isCharacter = value >= 0n && value <= 0x10ffffn && !(value >= 0xd800n && value < 0xe000n);
  return isCharacter ? String.fromCodePoint(Number(value)) : "\ufffd";
}

const shortEscapes: Record<string, string> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
};

const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** strconv.Quote: what cannot be printed is escaped. */
function quote(text: string, mark: string, asciiOnly: boolean): string {
  const inner = [...text].map((character) => {
    if (character === mark) return `\\${mark}`;
    const short = shortEscapes[character];
    if (short !== undefined) return short;
    const code = character.codePointAt(0)!;
    if (printable.test(character) && !(asciiOnly && code >= 0x80)) return character;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code > 0xffff
      ? `\\U${code.toString(16).padStart(8, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return mark + inner.join("") + mark;
}
