// The parts of an answer's card: conviction, probabilities, limitations, figures and the metrics in the prompt.

import { h, share } from "./dom.js";
import { count, milliseconds, minute, NONE, number, percent, session, usd } from "./format.js";

const ACTIONS = ["buy", "hold", "sell"];
const SOURCES = {
  model: "the model, for this request",
  cache: "the cache: an earlier answer",
  coalesced: "a call shared with another request",
};
const CALIBRATED = "Calibrated: the chance that the action equals the teacher's.";
const UNCALIBRATED = "The model's own chance to write the action; not calibrated.";

/** The stock, its price, and the session whose close it is. */
export function stock({ ticker, as_of: asOf, metrics: { price }, metrics_source: source }) {
  const close = asOf ? `close of ${session(asOf)}, New York` : null;
  return [
    h("b", {}, ticker ?? "No ticker"),
    price === undefined ? null : h("span", { class: "price" }, usd(price)),
    h("span", { class: "muted" }, source ? close : ["as given", close].filter(Boolean).join(", ")),
  ].filter(Boolean);
}

export function convictionBar(conviction) {
  const steps = Array.from({ length: 10 }, (_, step) => h("i", { class: step < conviction ? "on" : false }));
  return h(
    "div",
    { class: "conviction" },
    h("p", {}, "Conviction ", h("b", {}, String(conviction)), h("span", { class: "muted" }, " of 10")),
    h("div", { class: "steps", role: "img", "aria-label": `conviction ${conviction} of 10` }, steps),
    h("p", { class: "muted small" }, "Strength of the evidence; not a probability."),
  );
}

export function probabilityBars({ probabilities, probabilities_calibrated: calibrated, probabilities_given: given }) {
  if (probabilities === null) return h("p", { class: "muted" }, "Probabilities: the backend returned none.");
  return h(
    "div",
    { class: "probabilities" },
    h("h3", {}, "Probabilities ", h("small", {}, `given the ${given}`)),
    h(
      "dl",
      { class: "bars" },
      ACTIONS.map((action) =>
        h(
          "div",
          { "data-action": action },
          h("dt", {}, action),
          h("dd", {}, share(h("i", { "aria-hidden": "true" }), probabilities[action]), h("span", {}, percent(probabilities[action]))),
        ),
      ),
    ),
    h("p", { class: "muted small" }, calibrated ? CALIBRATED : UNCALIBRATED),
  );
}

/** The limitations of the answer. */
export function notices({ metrics_source: source, fallback_from: from, experiment, cascade }, unsupported) {
  const texts = [];
  if (source?.provider === "sample") texts.push("Sample data for trials: real prices of 2000 to 2013, not of today.");
  if (source?.simulated?.length) texts.push(`Simulated, not market data: ${source.simulated.join(", ")}.`);
  if (source?.stale) texts.push(staleness(source));
  if (unsupported?.length) texts.push(`Figures that the metrics do not support: ${unsupported.join(", ")}.`);
  if (from) texts.push(`${from} failed first; this is the fallback.`);
  if (cascade) texts.push(cascaded(cascade));
  if (experiment) texts.push(`Experiment ${experiment.name}, arm ${experiment.arm}.`);
  return texts.length ? h("ul", { class: "notices" }, texts.map((text) => h("li", {}, text))) : null;
}

/** Why metrics are stale: the source has no newer close, or it is unavailable and earlier metrics are used. */
function staleness({ as_of_age_sessions: sessions }) {
  return sessions > 1
    ? `The market data source has no newer close: these figures are ${sessions} trading sessions old.`
    : "The market data source is unavailable: these figures are out of date.";
}

function cascaded({ action, probability, threshold, passed_on: passedOn }) {
  const first = action === null ? "the first backend failed" : `the first backend answered ${action} at ${percent(probability)}`;
  return `Cascade: ${first}; ${passedOn ? "passed on, below the threshold of" : "kept, at or above the threshold of"} ${percent(threshold)}.`;
}

export function figures({ timing, usage, cost, source, metrics_source: market, as_of: asOf, created_at: at, id }) {
  const rows = [
    ["First token", milliseconds(timing.ttft_ms)],
    ["Per token", milliseconds(timing.ms_per_token)],
    ["Total", milliseconds(timing.total_ms)],
    ["Tokens per second", number(timing.tokens_per_second)],
    ["Tokens in, out", `${count(usage.prompt_tokens)}, ${count(usage.completion_tokens)}`],
    ["Cost", usd(cost.usd)],
  ];
  const more = [
    ["Source", SOURCES[source] ?? source],
    ["Price basis", cost.basis === "capacity" ? "share of the hourly price at capacity" : "tokens at list price"],
    ["Per thousand tokens", usd(cost.usd_per_1k_tokens)],
    ["Tokens", `${count(usage.cached_tokens)} cached, ${count(usage.reasoning_tokens)} reasoning${usage.estimated ? "; estimated" : ""}`],
    ["Gateway time", milliseconds(timing.gateway_ms)],
    ["Before the call", milliseconds(timing.queued_ms)],
    ["Calls to the model", count(timing.attempts)],
    ["Market data", market ? `${market.provider}, ${Math.round(market.age_s)} s old` : "as given"],
    ["As of the close of", asOf ? session(asOf) : NONE],
    ["Created", minute(at)],
    ["Id", h("code", {}, id)],
  ];
  return h("div", {}, facts(rows, "facts wide"), h("details", {}, h("summary", {}, "Details"), facts(more, "facts")));
}

function facts(rows, kind) {
  return h("dl", { class: kind }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function usedMetrics({ metrics, missing }) {
  const { price, options = {}, technicals = {} } = metrics;
  const rows = Object.entries({ ...(price === undefined ? {} : { price }), ...options, ...technicals });
  return h(
    "details",
    {},
    h("summary", {}, `Metrics in the prompt: ${rows.length}`, missing.length ? h("small", {}, `, ${missing.length} missing`) : null),
    facts(rows.map(([name, value]) => [name, number(value)]), "facts metrics"),
    missing.length ? h("p", { class: "muted small" }, `Missing: ${missing.join(", ")}.`) : null,
  );
}
