// The card of one answer: waiting, then the analysis while it is written, then the whole answer.

import { announce, h, share } from "./dom.js";
import { count, milliseconds, NONE, number, percent, usd } from "./format.js";
import { recordStandIn } from "./stand_in.js";
import { problemState } from "./states.js";

const ACTIONS = ["buy", "hold", "sell"];
const SOURCES = {
  model: "the model, for this request",
  cache: "the cache: an earlier answer",
  coalesced: "a call shared with another request",
};
const CALIBRATED = "Calibrated: the chance that the action equals the teacher's.";
const UNCALIBRATED = "The model's own chance to write the action; not calibrated.";

export class AnswerCard {
  constructor(backend) {
    this.backend = backend;
    this.name = h("h2", {}, backend);
    this.model = h("span", { class: "muted" });
    this.badge = h("p", { class: "badge", hidden: true }, h("b", {}, "A stand-in, not a model"), ": fixed rules, for tests and demonstrations");
    this.elapsed = h("span", { class: "muted figures", "aria-hidden": "true" });
    this.verdict = h("div", { class: "verdict" });
    this.analysis = h("p", { class: "analysis", hidden: true });
    this.rest = h("div", {});
    this.element = h(
      "article",
      { class: "answer", "data-backend": backend, "aria-busy": "true", "aria-label": `Answer of ${backend}` },
      h("header", {}, this.name, this.model, this.elapsed),
      this.badge,
      this.verdict,
      this.analysis,
      this.rest,
    );
    this.verdict.append(h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "waiting for the first token"));
    this.unannounced = "";
    this.began = performance.now();
    this.timer = setInterval(() => (this.elapsed.textContent = milliseconds(100 * Math.round((performance.now() - this.began) / 100))), 100);
  }

  /** Append to the analysis. Screen readers announce whole sentences. */
  append(delta) {
    if (this.analysis.hidden) {
      this.analysis.hidden = false;
      this.element.classList.add("writing");
      this.verdict.replaceChildren(h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "writing the analysis"));
    }
    this.analysis.append(delta);
    const [whole] = (this.unannounced += delta).match(/^.*[.!?](?=\s)/s) ?? [];
    if (whole) {
      announce(whole);
      this.unannounced = this.unannounced.slice(whole.length);
    }
  }

  /** Show the whole answer. `unsupported`: the figures in the analysis that the metrics do not support, if known. */
  answer(recommendation, unsupported = null) {
    this.end();
    this.backend = this.element.dataset.backend = this.name.textContent = recommendation.backend;
    const { action, conviction, stand_in: standIn, model, analysis } = recommendation;
    recordStandIn(recommendation);
    this.element.dataset.action = action;
    this.model.textContent = model;
    this.badge.hidden = !standIn;
    this.verdict.replaceChildren(h("p", { class: "action" }, action), convictionBar(conviction));
    this.analysis.hidden = analysis === null;
    this.analysis.textContent = analysis ?? "";
    this.rest.replaceChildren(
      ...[probabilityBars(recommendation), notices(recommendation, unsupported), figures(recommendation), usedMetrics(recommendation)].filter(Boolean),
      h("p", { class: "muted small" }, recommendation.disclaimer),
    );
    announce(`${this.unannounced} ${this.backend} says ${action}, conviction ${conviction} of 10${standIn ? ", answered by a stand-in" : ""}.`);
  }

  fail(error, retry) {
    this.end();
    this.verdict.replaceChildren(problemState(error, retry));
  }

  stop() {
    this.end();
    this.verdict.replaceChildren(h("p", { class: "waiting" }, "stopped; the call to the model was cancelled"));
  }

  end() {
    clearInterval(this.timer);
    this.elapsed.remove();
    this.element.classList.remove("writing");
    this.element.removeAttribute("aria-busy");
  }
}

function convictionBar(conviction) {
  const steps = Array.from({ length: 10 }, (_, step) => h("i", { class: step < conviction ? "on" : false }));
  return h(
    "div",
    { class: "conviction" },
    h("p", {}, "Conviction ", h("b", {}, String(conviction)), h("span", { class: "muted" }, " of 10")),
    h("div", { class: "steps", role: "img", "aria-label": `conviction ${conviction} of 10` }, steps),
    h("p", { class: "muted small" }, "Strength of the evidence; not a probability."),
  );
}

function probabilityBars({ probabilities, probabilities_calibrated: calibrated, probabilities_given: given }) {
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
function notices({ metrics_source: source, fallback_from: from, experiment, cascade }, unsupported) {
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

function figures({ timing, usage, cost, source, metrics_source: market, as_of: asOf, created_at: at, id }) {
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
    ["As of the close of", asOf ?? NONE],
    ["Created", at.replace("T", " ").slice(0, 19)],
    ["Id", h("code", {}, id)],
  ];
  return h("div", {}, facts(rows, "facts wide"), h("details", {}, h("summary", {}, "Details"), facts(more, "facts")));
}

function facts(rows, kind) {
  return h("dl", { class: kind }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function usedMetrics({ metrics, missing }) {
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
