// One answer, from the moment it is asked for: waiting, the analysis as it is written, then all of it.

import { announce, h, share } from "./dom.js";
import { count, milliseconds, NONE, number, percent, usd } from "./format.js";
import { seen } from "./stand_in.js";
import { failed } from "./states.js";

const ACTIONS = ["buy", "hold", "sell"];
const SOURCES = {
  model: "the model, for this request",
  cache: "the cache: asked before",
  coalesced: "a call that another request shares",
};

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
    this.verdict.append(h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "asked; nothing yet"));
    this.unsaid = "";
    this.began = performance.now();
    this.timer = setInterval(() => (this.elapsed.textContent = milliseconds(100 * Math.round((performance.now() - this.began) / 100))), 100);
  }

  /** More of the analysis. Screen readers get it by whole sentences. */
  tell(delta) {
    if (this.analysis.hidden) {
      this.analysis.hidden = false;
      this.element.classList.add("writing");
      this.verdict.replaceChildren(h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "writing the analysis"));
    }
    this.analysis.append(delta);
    const [whole] = (this.unsaid += delta).match(/^.*[.!?](?=\s)/s) ?? [];
    if (whole) {
      announce(whole);
      this.unsaid = this.unsaid.slice(whole.length);
    }
  }

  /** All of it; `invented` are figures of the analysis that the metrics do not contain, where that was looked at. */
  answer(recommendation, invented = null) {
    this.end();
    this.backend = this.element.dataset.backend = this.name.textContent = recommendation.backend;
    const { action, conviction, stand_in: standIn, model, analysis } = recommendation;
    seen(recommendation);
    this.element.dataset.action = action;
    this.model.textContent = model;
    this.badge.hidden = !standIn;
    this.verdict.replaceChildren(h("p", { class: "action" }, action), convictionBar(conviction));
    this.analysis.hidden = analysis === null;
    this.analysis.textContent = analysis ?? "";
    this.rest.replaceChildren(
      ...[probabilityBars(recommendation), notices(recommendation, invented), figures(recommendation), seenMetrics(recommendation)].filter(Boolean),
      h("p", { class: "muted small" }, recommendation.disclaimer),
    );
    announce(`${this.unsaid} ${this.backend} says ${action}, conviction ${conviction} of 10${standIn ? ", a stand-in's answer" : ""}.`);
  }

  fail(error, again) {
    this.end();
    this.verdict.replaceChildren(failed(error, again));
  }

  stop() {
    this.end();
    this.verdict.replaceChildren(h("p", { class: "waiting" }, "stopped; nothing more is asked of the model"));
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
  );
}

function probabilityBars({ probabilities, probabilities_given: given }) {
  if (probabilities === null) return h("p", { class: "muted" }, "Probabilities: the backend gave none.");
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
  );
}

/** What a reader must know before taking the answer for what it is not. */
function notices({ metrics_source: source, fallback_from: from, experiment, cascade }, invented) {
  const said = [];
  if (source?.simulated?.length) said.push(`Simulated, not market data: ${source.simulated.join(", ")}.`);
  if (source?.stale) said.push("The source of market data cannot be asked now: these figures are older than they should be.");
  if (invented?.length) said.push(`Made up, for the metrics do not contain it: ${invented.join(", ")}.`);
  if (from) said.push(`${from} was asked first and failed.`);
  if (cascade) said.push(cascaded(cascade));
  if (experiment) said.push(`Part of the experiment ${experiment.name}, arm ${experiment.arm}.`);
  return said.length ? h("ul", { class: "notices" }, said.map((text) => h("li", {}, text))) : null;
}

function cascaded({ action, probability, threshold, passed_on: passedOn }) {
  const first = action === null ? "the first backend failed" : `the first backend said ${action}, at ${percent(probability)}`;
  return `Cascade: ${first}; ${passedOn ? "passed on below" : "kept from"} ${percent(threshold)}.`;
}

function figures({ timing, usage, cost, source, metrics_source: market, as_of: asOf, created_at: at, id }) {
  const rows = [
    ["First token", milliseconds(timing.ttft_ms)],
    ["A token", milliseconds(timing.ms_per_token)],
    ["In all", milliseconds(timing.total_ms)],
    ["Tokens a second", number(timing.tokens_per_second)],
    ["Tokens in, out", `${count(usage.prompt_tokens)}, ${count(usage.completion_tokens)}`],
    ["Cost", usd(cost.usd)],
  ];
  const more = [
    ["Comes from", SOURCES[source] ?? source],
    ["Priced by", cost.basis === "capacity" ? "share of the machine at capacity" : "tokens at list price"],
    ["A thousand tokens", usd(cost.usd_per_1k_tokens)],
    ["Of the tokens", `${count(usage.cached_tokens)} cached, ${count(usage.reasoning_tokens)} reasoning${usage.estimated ? "; estimated" : ""}`],
    ["In the gateway", milliseconds(timing.gateway_ms)],
    ["Figures", market ? `${market.provider}, ${Math.round(market.age_s)} s old` : "as given"],
    ["Close of", asOf ?? NONE],
    ["Made", at.replace("T", " ").slice(0, 19)],
    ["Id", h("code", {}, id)],
  ];
  return h("div", {}, facts(rows, "facts wide"), h("details", {}, h("summary", {}, "More of this answer"), facts(more, "facts")));
}

function facts(rows, kind) {
  return h("dl", { class: kind }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function seenMetrics({ metrics, missing }) {
  const { price, options = {}, technicals = {} } = metrics;
  const rows = Object.entries({ ...(price === undefined ? {} : { price }), ...options, ...technicals });
  return h(
    "details",
    {},
    h("summary", {}, `What the model saw: ${rows.length} metrics`, missing.length ? h("small", {}, `, ${missing.length} missing`) : null),
    facts(rows.map(([name, value]) => [name, number(value)]), "facts metrics"),
    missing.length ? h("p", { class: "muted small" }, `Missing: ${missing.join(", ")}.`) : null,
  );
}
