// The card of one answer: waiting, then the decision, then the analysis while it is written, then the whole answer.

import { convictionBar, figures, notices, probabilityBars, stock, usedMetrics } from "./answer_parts.js";
import { announce, h } from "./dom.js";
import { evidenceLists } from "./evidence.js";
import { milliseconds } from "./format.js";
import { priceChart } from "./price_chart.js";
import { problemState } from "./states.js";

export class AnswerCard {
  /** `day`: that of the question, null for the latest; that of the answer's close by default. */
  constructor(backend, day) {
    this.backend = backend;
    this.day = day;
    this.stock = h("p", { class: "stock", hidden: true });
    this.name = h("h2", {}, backend);
    this.model = h("span", { class: "muted" });
    this.badge = h("p", { class: "badge", hidden: true }, h("b", {}, "A stand-in, not a model"), ": fixed rules, for tests and demonstrations");
    this.elapsed = h("span", { class: "muted figures", "aria-hidden": "true" });
    this.verdict = h("div", { class: "verdict" });
    this.analysis = h("p", { class: "analysis", hidden: true });
    this.reasons = h("div", { class: "reasons" }, this.analysis);
    this.chart = h("div", { hidden: true });
    this.rest = h("div", {});
    this.element = h(
      "article",
      { class: "answer", "data-backend": backend, "aria-busy": "true", "aria-label": `Answer of ${backend}` },
      h("header", {}, this.stock, this.name, this.model, this.elapsed),
      this.badge,
      this.verdict,
      this.reasons,
      this.chart,
      this.rest,
    );
    this.verdict.append(h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "waiting for the first token"));
    this.answered = false;
    this.unannounced = "";
    this.began = performance.now();
    this.timer = setInterval(() => (this.elapsed.textContent = milliseconds(100 * Math.round((performance.now() - this.began) / 100))), 100);
  }

  /** Show action and conviction, which precede the analysis. */
  decide({ action, conviction }) {
    this.element.dataset.action = action;
    this.verdict.replaceChildren(h("p", { class: "action" }, action), convictionBar(conviction));
  }

  /** Append to the analysis. Screen readers announce whole sentences. */
  append(delta) {
    if (this.analysis.hidden) {
      this.analysis.hidden = false;
      this.element.classList.add("writing");
      this.verdict.querySelector(".waiting")?.lastChild.replaceWith("writing the analysis");
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
    this.answered = true;
    this.backend = this.element.dataset.backend = this.name.textContent = recommendation.backend;
    const { action, conviction, stand_in: standIn, model } = recommendation;
    this.decide({ action, conviction });
    this.stock.hidden = false;
    this.stock.replaceChildren(...stock(recommendation));
    this.model.textContent = model;
    this.badge.hidden = !standIn;
    this.showReasons(recommendation);
    this.showChart(recommendation);
    this.rest.replaceChildren(
      ...[probabilityBars(recommendation), notices(recommendation, unsupported), figures(recommendation), usedMetrics(recommendation)].filter(Boolean),
      h("p", { class: "muted small" }, recommendation.disclaimer),
    );
    announce(`${this.unannounced} ${this.backend} says ${action}, conviction ${conviction} of 10${standIn ? ", answered by a stand-in" : ""}.`);
  }

  /** Show the evidence as lists, with the analysis behind them; an analysis in another format is shown itself. */
  showReasons({ analysis, evidence = [] }) {
    this.analysis.hidden = analysis === null;
    this.analysis.textContent = analysis ?? "";
    if (evidence.length) this.reasons.replaceChildren(evidenceLists(evidence), h("details", {}, h("summary", {}, "The analysis as text"), this.analysis));
  }

  /** Show the chart of a ticker whose metrics the gateway looked up; other metrics have no bars. */
  showChart({ ticker, as_of: close, metrics_source: source }) {
    this.chart.hidden = !(source && ticker && close);
    if (!this.chart.hidden) this.chart.replaceChildren(priceChart(ticker, close, this.day === undefined ? close : this.day));
  }

  /** Show an error. `marked`: the names of the fields at which the form shows it. */
  fail(error, retry, marked = []) {
    this.end();
    this.verdict.replaceChildren(problemState(error, retry, marked));
  }

  stop() {
    this.end();
    this.verdict.replaceChildren(h("p", { class: "waiting" }, "stopped; the call to the model was cancelled"));
  }

  end() {
    clearInterval(this.timer);
    this.elapsed.remove();
    this.element.classList.remove("writing");
    delete this.element.dataset.action;
    this.element.removeAttribute("aria-busy");
  }
}

