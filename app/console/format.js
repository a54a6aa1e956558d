// Formats figures.

export const NONE = "–";

const fixed = (digits) => new Intl.NumberFormat("en-US", { maximumFractionDigits: digits });
const WHOLE = fixed(0);

export const count = (value) => (value === null || value === undefined ? NONE : WHOLE.format(value));

/** About three significant digits. */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  return fixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 4).format(value);
}

export function milliseconds(value) {
  if (value === null || value === undefined) return NONE;
  return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`;
}

export function percent(value, digits = 1) {
  return value === null || value === undefined ? NONE : `${(100 * value).toFixed(digits)}%`;
}

/** An amount in USD, from a number or a decimal string, with three significant digits below a cent. */
export function usd(value) {
  if (value === null || value === undefined) return NONE;
  const amount = Number(value);
  if (amount === 0) return "$0";
  if (Math.abs(amount) >= 0.01) return `$${amount.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 })}`;
  const digits = Math.min(12, 2 - Math.floor(Math.log10(Math.abs(amount))));
  return `$${amount.toFixed(digits)}`;
}

/** An amount in USD on an axis, where values are round. */
export const roundUsd = (value) => `$${Number(Number(value).toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 12 })}`;

export function interval(bounds, format = number) {
  return bounds ? `${format(bounds[0])} to ${format(bounds[1])}` : NONE;
}

export const clock = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A trading session's date, without a time zone. */
export const session = (day) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

/** A time of the gateway to the minute. */
export const minute = (time) => `${time.replace("T", " ").slice(0, 16)} UTC`;
