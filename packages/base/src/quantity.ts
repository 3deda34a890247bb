/** Longer texts are no quantity: 10^18 with a nanosecond fraction has 29 digits. */
const MAX_LENGTH = 64;

/** Suffixes as powers: [base, exponent] (k8s.io/apimachinery/pkg/api/resource). */
const SUFFIXES: Readonly<Record<string, readonly [bigint, number]>> = {
  n: [10n, -9],
  u: [10n, -6],
  m: [10n, -3],
  "": [10n, 0],
  k: [10n, 3],
  M: [10n, 6],
  G: [10n, 9],
  T: [10n, 12],
  P: [10n, 15],
  E: [10n, 18],
  Ki: [2n, 10],
  Mi: [2n, 20],
  Gi: [2n, 30],
  Ti: [2n, 40],
  Pi: [2n, 50],
  Ei: [2n, 60],
};

const QUANTITY =
  /^(?<sign>[+-]?)(?<whole>\d*)(?:\.(?<fraction>\d*))?(?:[eE](?<exponent>[+-]?\d{1,4})|(?<suffix>[A-Za-z]{0,2}))$/;

/**
 * A Kubernetes quantity in whole units, exact, rounded up (away from zero) as Kubernetes does;
 * undefined when `text` is none. Surrounding blanks are not part of one. With `parts` 1000n in thousandths.
 */
export function parseQuantity(text: string, parts = 1n): bigint | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const groups = QUANTITY.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const whole = groups["whole"] ?? "";
  const fraction = groups["fraction"] ?? "";
  if (whole === "" && fraction === "") return undefined;
  const power = powerOf(groups["exponent"], groups["suffix"] ?? "");
  if (power === undefined) return undefined;

  const [base, exponent] = power;
  const digits = BigInt(whole + fraction);
  const scale = base ** BigInt(Math.abs(exponent));
  const numerator = parts * (exponent >= 0 ? digits * scale : digits);
  const denominator = 10n ** BigInt(fraction.length) * (exponent < 0 ? scale : 1n);
  const units = (numerator + denominator - 1n) / denominator;
  return groups["sign"] === "-" ? -units : units;
}

function powerOf(
  exponent: string | undefined,
  suffix: string,
): readonly [bigint, number] | undefined {
  if (exponent !== undefined) return [10n, Number(exponent)];
  return Object.hasOwn(SUFFIXES, suffix) ? SUFFIXES[suffix] : undefined;
}

const BINARY = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"] as const;

/** The shortest quantity that says exactly `units`, for messages: 1073741824n is "1Gi". */
export function formatQuantity(units: bigint): string {
  for (const suffix of BINARY) {
    const [base, exponent] = SUFFIXES[suffix] ?? [1n, 0];
    const size = base ** BigInt(exponent);
    if (units !== 0n && units % size === 0n) return `${String(units / size)}${suffix}`;
  }
  return String(units);
}
