// Drill-down: figures by group, agreement by day, and the latest disagreements.

import { lineChart } from "./charts.js";
import { count, interval, NONE, percent } from "./format.js";
import { scrolled as table } from "./table.js";

export function groupTable(groups) {
  if (!groups.length) return null;
  const dimensions = Object.keys(groups[0].by);
  const kappa = (estimate) => (estimate ? estimate.value.toFixed(2) : NONE);
  return table(
    "Figures by group",
    [...dimensions.map((name) => name.replaceAll("_", " ")), "pairs", "agreement", "95% interval", "kappa", "weighted kappa"],
    groups.map(({ by, pairs, agreement_anytime: agreed, kappa: plain, weighted_kappa: weighted }) => [
      ...dimensions.map((name) => by[name] ?? "unknown"),
      count(pairs),
      agreed ? percent(agreed.value) : NONE,
      agreed ? interval([agreed.low, agreed.high], percent) : NONE,
      kappa(plain),
      kappa(weighted),
    ]),
  );
}

/** Draw the agreement of groups by day; null for other groups, and for a single day. */
export function agreementByDay(groups) {
  const points = groups.filter(({ by, agreement }) => by.day && agreement).map(({ by, agreement }) => [Date.parse(by.day), agreement.value]);
  if (points.length < 2) return null;
  const text = `${percent(points.at(-1)[1])} on the last day`;
  return lineChart({ title: "Agreement by day", text, series: [{ name: "agreement", points, line: points }], format: (value) => percent(value, 0) });
}

export function disagreementTable(pairs, names) {
  if (!pairs.length) return null;
  return table(
    "The latest disagreements",
    ["asked", "ticker", "detail", ...names, ...names.map((name) => `${name}'s model`)],
    pairs.map(({ at, ticker, detail, sides }) => [
      at.replace("T", " ").slice(0, 19),
      ticker ?? NONE,
      detail,
      ...names.map((name) => said(sides[name])),
      ...names.map((name) => sides[name].model ?? "unknown"),
    ]),
  );
}

/** The action, its conviction, and its probability if it is known. */
function said({ action, conviction, probabilities }) {
  return `${action} ${conviction}${probabilities ? `, ${percent(probabilities[action], 0)}` : ""}`;
}
