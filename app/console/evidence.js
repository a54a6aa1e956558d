// The evidence of an analysis: the readings for the stock and those against it, and their balance.

import { h, share } from "./dom.js";

const SIDES = [
  ["bullish", "Bullish"],
  ["bearish", "Bearish"],
];

export const signed = (votes) => (votes > 0 ? `+${votes}` : String(votes).replace("-", "−"));

export function evidenceLists(evidence) {
  const votes = (group) => evidence.filter((item) => item.group === group).reduce((sum, { vote }) => sum + vote, 0);
  const [bullish, bearish] = SIDES.map(([group]) => votes(group));
  return h(
    "div",
    { class: "evidence" },
    h(
      "p",
      { class: "balance" },
      h("span", {}, "Balance of the evidence ", h("b", {}, signed(bullish + bearish))),
      share(h("i", { "aria-hidden": "true" }), bullish / (bullish - bearish || 1)),
    ),
    SIDES.map(([group, title]) => side(group, title, evidence.filter((item) => item.group === group), votes(group))),
  );
}

function side(group, title, items, votes) {
  return h(
    "section",
    { "data-group": group },
    h("h3", {}, `${title} `, h("b", {}, signed(votes))),
    items.length ? h("ul", {}, items.map(reading)) : h("p", { class: "muted small" }, "No reading."),
  );
}

function reading({ metric, value, reading: words, vote }) {
  return h(
    "li",
    {},
    h("span", {}, metric, value === null ? null : h("span", { class: "value" }, ` ${value}`)),
    h("span", { class: "muted" }, words),
    h("b", {}, h("span", { class: "hidden" }, "vote "), signed(vote)),
  );
}
