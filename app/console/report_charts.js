// The charts of the report.

import { barChart, lineChart, runningMedian } from "./charts.js";
import { count, milliseconds, roundUsd, usd } from "./format.js";

export const QUANTILES = ["p50", "p95", "p99"];
const MIN_FOR_MEDIAN = 12;

export function latencyBars({ backends }, names) {
  const groups = QUANTILES.map((label) => ({
    label,
    bars: names.map((name) => ({ name, value: backends[name].latency_ms?.[label] ?? null })),
  }));
  const text = names.map((name) => `${name}: ${groups.map(({ label }) => `${label} ${milliseconds(backends[name].latency_ms?.[label])}`).join(", ")}`);
  return barChart({ title: "Latency by backend", text: text.join("; "), groups, format: milliseconds });
}

export function costBars({ backends }, names) {
  const bars = names.map((name) => ({ name, value: backends[name].usd_per_recommendation && Number(backends[name].usd_per_recommendation) }));
  const text = bars.map(({ name, value }) => `${name}: ${usd(value)}`).join("; ");
  return barChart({ title: "Cost of a recommendation by backend", text, groups: [{ label: "mean", bars }], format: usd });
}

/** Return the charts of the latest pairs, which are ordered from the newest. */
export function latencyAndCostOverTime(pairs, names) {
  const note = `the latest ${count(pairs.length)} pairs, and their running median`;
  const charted = (title, subtitle, key, format, logarithmic) => {
    const series = names.map((name) => lineOf(pairs, name, key)).filter(({ points }) => points.length > 1);
    if (!series.length) return null;
    const text = series.map(({ name, points }) => `${name}: ${format(points.at(-1)[1])} latest`).join("; ");
    return { title, subtitle, note, chart: lineChart({ title, text, series, format, logarithmic }) };
  };
  return [
    charted("Latency over time", "", "total_ms", milliseconds, false),
    charted("Cost over time", "USD per answer, logarithmic scale", "usd", roundUsd, true),
  ].filter(Boolean);
}

/** Return one backend's points from the oldest, and the line of their running median if there are enough. */
function lineOf(pairs, name, key) {
  const points = pairs
    .filter(({ sides }) => sides[name]?.action && Number(sides[name][key]) > 0)
    .map(({ at, sides }) => [Date.parse(at), Number(sides[name][key])])
    .reverse();
  return { name, points, line: points.length < MIN_FOR_MEDIAN ? [] : runningMedian(points, Math.max(4, Math.round(points.length / 40))) };
}
