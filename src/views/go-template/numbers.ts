/** Numbers to text as Go's strconv does: floats are rounded half to even from their exact decimal expansion. */

interface Decimal {
  /** Without leading zeros; "" is 0. */
  readonly digits: string;
  /** The value is 0.digits × 10^point. */
  readonly point: number;
}

/** `verb` is one of e, f, g; a null precision is as many digits as it takes to read the same value back. */
export function formatFloat(value: number, verb: string, precision: number | null): string {
  if (Number.isNaN(value)) return "NaN";
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const size = Math.abs(value);
  if (size === Number.POSITIVE_INFINITY) return sign === "" ? "+Inf" : "-Inf";
  if (verb === "g") return sign + formatGeneral(size, precision);
  const exact = precision === null ? shortestDecimal(size) : exactDecimal(size);
  if (verb === "f") {
    const places = precision ?? Math.max(0, exact.digits.length - exact.point);
    return sign + fixed(roundTo(exact, exact.point + places), places);
  }
  const places = precision ?? Math.max(0, exact.digits.length - 1);
  return sign + scientific(roundTo(exact, places + 1), places);
}

function formatGeneral(size: number, precision: number | null): string {
  const wanted = precision === 0 ? 1 : precision;
  const decimal = wanted === null ? shortestDecimal(size) : roundTo(exactDecimal(size), wanted);
  const digits = trimZeros(decimal.digits);
  const exponent = decimal.point - 1;
  const isShort = wanted !== null && wanted > digits.length && digits.length >= decimal.point;
  const limit = isShort ? digits.length : (wanted ?? 6);
  if (exponent < -4 || exponent >= limit) {
    return scientific({ ...decimal, digits }, Math.max(0, digits.length - 1));
  }
  return fixed({ ...decimal, digits }, Math.max(0, digits.length - decimal.point));
}

function scientific({ digits, point }: Decimal, places: number): string {
  const padded = digits.padEnd(places + 1, "0");
  const exponent = digits === "" ? 0 : point - 1;
  const fraction = places > 0 ? `.${padded.slice(1, places + 1)}` : "";
  const power = String(Math.abs(exponent)).padStart(2, "0");
  return `${padded.charAt(0)}${fraction}e${exponent < 0 ? "-" : "+"}${power}`;
}

function fixed({ digits, point }: Decimal, places: number): string {
  const all = point > 0 ? digits.padEnd(point, "0") : "0".repeat(-point) + digits;
  const whole = point > 0 ? all.slice(0, point) : "0";
  const fraction = (point > 0 ? all.slice(point) : all).padEnd(places, "0").slice(0, places);
  return places > 0 ? `${whole}.${fraction}` : whole;
}

function shortestDecimal(size: number): Decimal {
  if (size === 0) return { digits: "", point: 0 };
  const [mantissa = "", exponent = ""] = size.toExponential().split("e");
  return { digits: mantissa.replace(".", ""), point: Number(exponent) + 1 };
}

/** Every digit of a double: m × 2^-k is m × 5^k × 10^-k. */
function exactDecimal(size: number): Decimal {
  if (size === 0) return { digits: "", point: 0 };
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, size);
  const bits = view.getBigUint64(0);
  const biased = Number(bits >> 52n);
  const fraction = bits & (2n ** 52n - 1n);
  const mantissa = biased === 0 ? fraction : fraction | (2n ** 52n);
  const power = Math.max(biased, 1) - 1075;
  const scaled = power >= 0 ? mantissa << BigInt(power) : mantissa * 5n ** BigInt(-power);
  const digits = scaled.toString();
  return { digits, point: digits.length + Math.min(power, 0) };
}

function roundTo({ digits, point }: Decimal, count: number): Decimal {
  if (count >= digits.length) return { digits, point };
  if (count < 0) return { digits: "", point: 0 };
  const kept = digits.slice(0, count);
  const rest = digits.slice(count);
  const isTie = rest.charAt(0) === "5" && /^50*$/.test(rest);
  const isOdd = Number(kept.at(-1) ?? 0) % 2 === 1;
  if (rest.charAt(0) < "5" || (isTie && !isOdd))
    return kept === "" ? { digits: "", point: 0 } : { digits: kept, point };
  const raised = (BigInt(`0${kept}`) + 1n).toString();
  return { digits: raised, point: point + raised.length - kept.length };
}

function trimZeros(digits: string): string {
  return digits.replace(/0+$/, "");
}
