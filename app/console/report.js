// The report of pairs: agreement, actions, and both backends' figures side by side.

import { h, share } from "./dom.js";
import { count, interval, milliseconds, NONE, number, percent, usd } from "./format.js";
import { costBars, latencyBars, latencyAndCostOverTime, QUANTILES } from "./report_charts.js";
import { legend } from "./charts.js";
import { agreementByDay, disagreementTable, groupTable } from "./report_groups.js";
import { empty } from "./states.js";

const LABELS = ["buy", "hold", "sell", "error"];

export function noPairs() {
  return empty(
    "No pairs yet",
    h("p", {}, "A pair is one question with the answers of both backends. Create pairs from a list of tickers, one per line:"),
    h("pre", {}, h("code", {}, "conviction compare --batch tickers.txt")),
    h("p", {}, "Or ask both backends on the Ask page and store the pair."),
  );
}

export function cards(report, pairs, disagreements) {
  const names = Object.keys(report.backends);
  return h(
    "div",
    { class: "cards" },
    standIns(report),
    ...headlines(report, names),
    card("Actions", `${names[0]} in rows, ${names[1]} in columns; percent of the row`, "", confusion(report, names)),
    card(
      "Latency and cost",
      "of whole answers",
      "",
      legend(names),
      latencyBars(report, names),
      h("h3", {}, "Cost of a recommendation, in USD"),
      costBars(report, names),
    ),
    card("Groups", "intervals that are valid whenever you look", "whole", agreementByDay(report.groups), groupTable(report.groups)),
    card("Disagreements", disagreements.length ? `the latest ${count(disagreements.length)}` : "none", "whole", disagreementTable(disagreements, names)),
    card("Side by side", "", "whole", sideBySide(report, names)),
    ...latencyAndCostOverTime(pairs, names).map(({ title, subtitle, chart, note }) =>
      card(title, subtitle, "", legend(names), chart, h("p", { class: "formula" }, note)),
    ),
    card("Method", "", "whole", h("p", { class: "formula" }, report.method)),
  );
}

function card(title, subtitle, kind, ...content) {
  return h("section", { class: `card ${kind}` }, h("h2", {}, title, subtitle ? h("small", {}, subtitle) : null), ...content);
}

function standIns({ backends }) {
  const some = Object.entries(backends).filter(([, { stand_ins: number }]) => number);
  if (!some.length) return null;
  const parts = some.map(([name, { stand_ins: number, answered }]) => `${number === answered ? "all" : count(number)} of ${name}'s`);
  return h("p", { class: "notice strong whole" }, `Of these answers, ${parts.join(" and ")} are a rule-based stand-in's, not a model's.`);
}

function headlines(report, [first, second]) {
  const { agreement_anytime: agreement, agreement: fixed, kappa, weighted_kappa: weighted, needed } = report;
  const { conviction_difference: difference, conviction_distance: distance, marginal_homogeneity: margins } = report;
  const still = needed.pairs_still
    ? `${count(needed.pairs_still)} more pairs for ±${percent(needed.half_width)}`
    : `enough pairs for ±${percent(needed.half_width)}`;
  return [
    card("Agreement", "same action", "third", big(agreement && percent(agreement.value)),
      range(agreement, 0, 1, percent, "95% interval, valid whenever you look,"),
      h("p", { class: "formula" }, fixed?.low == null ? null : `for a number of pairs fixed in advance, by ticker: ${interval([fixed.low, fixed.high], percent)}; `,
        `${still}${needed.basis === "assumed" ? ", if the agreement is 50%" : ""}`)),
    card("Cohen's kappa", "beyond chance", "third", big(kappa && kappa.value.toFixed(2)), range(kappa, -1, 1, (value) => value.toFixed(2)),
      h("p", { class: "formula" }, `1: always equal; 0: as often as by chance. Weighted, buy against sell four times buy against hold: ${weighted ? weighted.value.toFixed(2) : NONE}`),
      margins && h("p", { class: "formula" }, `Equally frequent actions (Bhapkar's test): p ${margins.p_value < 0.0001 ? "< 0.0001" : `= ${number(margins.p_value)}`}`)),
    card("Conviction", `${first} minus ${second}`, "third", big(difference && signed(difference.value)), range(difference, -9, 9, signed),
      h("p", { class: "formula" }, `${distance ? number(distance.value) : NONE} mean absolute difference, on a scale of 1 to 10`)),
    card("Pairs", "", "whole", pairsOf(report)),
  ];
}

function pairsOf({ pairs, answered_by_both: both, tickers, first, last, details, origins, versions }) {
  const when = (time) => (time ? time.replace("T", " ").slice(0, 16) : NONE);
  const parts = (counts) => Object.entries(counts).filter(([, some]) => some).map(([name, some]) => `${count(some)} ${name}`).join(", ") || NONE;
  return facts([
    ["Pairs", count(pairs)],
    ["Answered by both", count(both)],
    ["Tickers", count(tickers)],
    ["From", when(first)],
    ["To", when(last)],
    ["Detail", parts(details)],
    ["Origin", parts(origins)],
    ...Object.entries(versions).map(([name, answered]) => [`Versions of ${name}`, h("span", { class: "codes" }, versionsOf(answered))]),
  ]);
}

const versionsOf = (answered) =>
  answered.map(({ model, prompt_version: prompt, pairs }) => `${count(pairs)} ${model ? `${model}, prompt ${prompt}` : "unknown"}`).join("; ") || NONE;
const facts = (rows) => h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
const big = (text) => h("p", { class: "big" }, text ?? NONE);
const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(2);

/** Draw an estimate and its interval on a scale. */
function range(estimate, low, high, format, label = "95% interval") {
  if (!estimate) return null;
  if (estimate.low === null) return h("p", { class: "formula" }, "no interval for fewer than five tickers");
  const place = (value) => `${(100 * (value - low)) / (high - low)}%`;
  const band = h("i", { class: "band" });
  band.style.left = place(estimate.low);
  band.style.right = `calc(100% - ${place(estimate.high)})`;
  const at = h("i", { class: "at" });
  at.style.left = place(estimate.value);
  return h(
    "div",
    {},
    h("div", { class: "range", "aria-hidden": "true" }, band, at),
    h("p", { class: "formula" }, `${label} ${interval([estimate.low, estimate.high], format)}`),
  );
}

function confusion({ confusion: counts, confusion_shares: shares }, [first, second]) {
  const labels = LABELS.filter((label) => label !== "error" || LABELS.some((other) => counts.error[other] || counts[other].error));
  const most = Math.max(...labels.flatMap((row) => labels.map((column) => counts[row][column])), 1);
  const cell = (row, column) => {
    const some = counts[row][column];
    return share(h("td", { class: row === column && "same" }, count(some), h("small", {}, percent(shares[row][column], 0))), some / most);
  };
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "confusion" },
      h("caption", { class: "hidden" }, `Rows: actions of ${first}; columns: actions of ${second}`),
      h("thead", {}, h("tr", {}, h("td", { class: "corner" }), labels.map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", {}, labels.map((row) => h("tr", {}, h("th", { scope: "row" }, row), labels.map((column) => cell(row, column))))),
    ),
  );
}

/** The figures of each backend, and their estimated ratio. */
function sideBySide({ backends, ratios }, names) {
  const sides = names.map((name) => backends[name]);
  const spread = (key, format) => (side) => (side[key] ? three(QUANTILES.map((part) => format(side[key][part]))) : NONE);
  const failures = ({ failed: kinds }) => Object.entries(kinds).map(([code, some]) => `${count(some)} ${code}`).join(", ") || "none";
  const rows = [
    ["Latency, p50 / p95 / p99", spread("latency_ms", milliseconds), "latency"],
    ["First token, p50 / p95 / p99", spread("ttft_ms", milliseconds), "ttft"],
    ["Per token, p50 / p95 / p99", spread("ms_per_token", milliseconds), "ms_per_token"],
    ["Tokens per second, p50 / p95 / p99", spread("tokens_per_second", number)],
    ["Cost of a recommendation", (side) => usd(side.usd_per_recommendation), "usd_per_recommendation"],
    ["Cost per thousand tokens", (side) => usd(side.usd_per_1k_tokens), "usd_per_1k_tokens"],
    ["Total cost", (side) => usd(side.usd)],
    ["Tokens in, cached, out", ({ tokens }) => three([tokens.input, tokens.cached_input, tokens.output].map(count))],
    ["Unsupported figures", ({ invention }) => (invention.analyses ? `${count(invention.invented)} of ${count(invention.figures)}` : NONE)],
    ["Answered", (side) => count(side.answered)],
    ["Failed", (side) => h("span", { class: "codes" }, failures(side))],
  ];
  const times = (key) => (key && ratios[key] ? ratio(ratios[key]) : NONE);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of both backends" },
    h(
      "table",
      { class: "sides" },
      h(
        "thead",
        {},
        h("tr", {}, h("td", { class: "corner" }), names.map((name) => h("th", { scope: "col", "data-series": name }, h("i", { class: "dot" }), name)), h("th", { scope: "col" }, `${names[1]} / ${names[0]}`)),
      ),
      h("tbody", {}, rows.map(([title, of, key]) => h("tr", {}, h("th", { scope: "row" }, title), sides.map((side) => h("td", {}, of(side))), h("td", {}, times(key))))),
    ),
  );
}

const three = (texts) => h("span", { class: "three" }, texts.map((text) => h("span", {}, text)));

function ratio({ value, low, high }) {
  return h("span", {}, `${number(value)}×`, low === null ? null : h("small", {}, ` ${interval([low, high])}`));
}
