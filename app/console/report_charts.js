// What of a report is drawn.

import { barChart, lineChart, runningMedian } from "./charts.js";
import { count, milliseconds, roundUsd, usd } from "./format.js";

export const QUANTILES = ["p50", "p95", "p99"];
const FEW = 12;

export function latencyBars({ backends }, names) {
  const groups = QUANTILES.map((label) => ({
    label,
    bars: names.map((name) => ({ name, value: backends[name].latency_ms?.[label] ?? null })),
  }));
  const said = names.map((name) => `${name}: ${groups.map(({ label }) => `${label} ${milliseconds(backends[name].latency_ms?.[label])}`).join(", ")}`);
  return barChart({ title: "Latency by backend", text: said.join("; "), groups, format: milliseconds });
}

export function costBars({ backends }, names) {
  const bars = names.map((name) => ({ name, value: backends[name].usd_per_recommendation && Number(backends[name].usd_per_recommendation) }));
  const said = bars.map(({ name, value }) => `${name}: ${usd(value)}`).join("; ");
  return barChart({ title: "Cost of a recommendation by backend", text: said, groups: [{ label: "mean", bars }], format: usd });
}

/** What there is to chart of the latest pairs, the newest of which comes first. */
export function latencyAndCostOverTime(pairs, names) {
  const note = `the latest ${count(pairs.length)} pairs, and their running median`;
  const charted = (title, said, key, format, logarithmic) => {
    const series = names.map((name) => lineOf(pairs, name, key)).filter(({ points }) => points.length > 1);
    if (!series.length) return null;
    const text = series.map(({ name, points }) => `${name}: ${format(points.at(-1)[1])} at last`).join("; ");
    return { title, said, note, chart: lineChart({ title, text, series, format, logarithmic }) };
  };
  return [
    charted("Latency over time", "", "total_ms", milliseconds, false),
    charted("Cost over time", "USD an answer, on a scale of powers of ten", "usd", roundUsd, true),
  ].filter(Boolean);
}

/** One backend's points, the oldest first, and, of enough of them, their median's line. */
function lineOf(pairs, name, key) {
  const points = pairs
    .filter(({ sides }) => sides[name]?.action && Number(sides[name][key]) > 0)
    .map(({ at, sides }) => [Date.parse(at), Number(sides[name][key])])
    .reverse();
  return { name, points, line: points.length < FEW ? [] : runningMedian(points, Math.max(4, Math.round(points.length / 40))) };
}
