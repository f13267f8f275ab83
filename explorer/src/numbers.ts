/** Numbers as they are shown. */

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

export function percent(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const hundred = value * 100;
  if (hundred > 0 && hundred < 0.1) return "<0.1 %";
  return `${hundred.toFixed(hundred < 9.95 ? 1 : 0)} %`;
}

/** With a true minus, and no "-0.00". */
export function signed(value: number, digits = 2, plus = false): string {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : plus ? "+" : "") + text;
}

export function nats(value: number): string {
  return signed(value, value < 0.095 && value > 0 ? 3 : 2);
}

/** The value below which `share` of them are. */
export function quantile(values: number[], share: number): number {
  const finite = Float64Array.from(values.filter(Number.isFinite)).sort();
  return finite.length ? finite[Math.min(finite.length - 1, Math.floor(share * finite.length))]! : 0;
}

export function plural(count: number, one: string, many = one + "s"): string {
  return `${count} ${count === 1 ? one : many}`;
}
