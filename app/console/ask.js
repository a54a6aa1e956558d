// The Ask page: a ticker or metrics, to one backend or to both.

import { AnswerCard } from "./answer.js";
import { getJson, Problem } from "./api.js";
import { compare, stream } from "./requests.js";
import { byId, h } from "./dom.js";
import { key } from "./keys.js";
import { MetricsForm, parsePasted, schema } from "./metrics_form.js";
import { recordStandIn } from "./stand_in.js";
import { empty, loading, problemState } from "./states.js";

const BOTH = "both";
const CASCADE = "cascade";
const HINTS = {
  full: "An analysis, then the action and the conviction.",
  brief: "Only the action and the conviction: a dozen tokens.",
};

let names = [];
let metricsForm = null;
let example = null;
let running = null;

export function start() {
  byId("answers").append(
    empty("Nothing asked yet", h("p", {}, "Enter a ticker, and the gateway looks its metrics up. Or enter metrics.")),
  );
  byId("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("ask-form").addEventListener("change", update);
  byId("ask-form").addEventListener("input", countMetrics);
  byId("stop").addEventListener("click", () => running?.abort());
  byId("example").addEventListener("click", () => fill(example));
  byId("clear").addEventListener("click", () => fill({ metrics: {} }));
  byId("fill").addEventListener("click", paste);
  update();
  loadBackends();
}

const chosen = (name) => byId("ask-form").elements[name]?.value;

/** Show the parts of the form that apply to its choices. */
function update() {
  const [subject, detail, backend] = ["subject", "detail", "backend"].map(chosen);
  for (const part of byId("ask-form").querySelectorAll("[data-subject]")) part.hidden = part.dataset.subject !== subject;
  byId("detail-hint").textContent = HINTS[detail];
  byId("cascade-hint").hidden = backend !== CASCADE;
  byId("keep-row").hidden = backend !== BOTH;
  if (subject === "metrics" && metricsForm === null) loadMetricsForm();
}

async function loadBackends() {
  const place = byId("backends");
  const legend = place.querySelector("legend");
  try {
    const { default: first, backends } = await getJson("v1/backends");
    backends.forEach(recordStandIn);
    byId("docs").hidden = key() !== null && !(await fetch("docs", { method: "HEAD" })).ok; // a link sends no key
    names = backends.map(({ name }) => name);
    const options = backends.map(({ name, ready, reason }) => option(name, name, ready ? null : reason));
    if (names.length > 1) options.push(option(BOTH, "Both", null), option(CASCADE, "Cascade", null));
    place.replaceChildren(legend, ...options);
    place.querySelector(`input[value="${CSS.escape(first)}"]`).checked = true;
    const unready = backends.filter(({ ready }) => !ready);
    place.append(...unready.map(({ name, reason }) => h("p", { class: "hint muted" }, `${name} is not ready: ${reason}`)));
  } catch (error) {
    place.replaceChildren(legend, problemState(error, loadBackends));
  }
  update();
}

function option(value, label, reason) {
  return h(
    "label",
    { class: reason === null ? false : "unready" },
    h("input", { type: "radio", name: "backend", value }),
    h("span", {}, label),
  );
}

async function loadMetricsForm() {
  const place = byId("fields");
  place.replaceChildren(loading("loading the list of metrics"));
  try {
    const described = await schema();
    metricsForm = new MetricsForm(described);
    example = described.example;
    place.replaceChildren(metricsForm.element);
    countMetrics();
  } catch (error) {
    place.replaceChildren(problemState(error, loadMetricsForm));
  }
}

function countMetrics() {
  if (metricsForm) byId("given").textContent = `${metricsForm.given()} given; at least three are required`;
}

function paste() {
  const message = byId("pasted");
  try {
    fill(parsePasted(byId("json").value));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    message.textContent = `This is not a request: ${error.message}`;
    message.className = "wrong";
  }
}

function fill(request) {
  if (!request || !metricsForm) return;
  if (request.ticker !== undefined) byId("ticker").value = request.ticker;
  byId("metrics_as_of").value = request.metrics?.as_of ?? "";
  const unknown = metricsForm.fill(request.metrics ?? {});
  const message = byId("pasted");
  message.textContent = unknown.length ? `No such metric: ${unknown.join(", ")}` : "";
  message.className = "wrong";
  countMetrics();
}

function body() {
  const [subject, detail] = ["subject", "detail"].map(chosen);
  const ticker = byId("ticker").value.trim();
  if (subject === "ticker") return { ticker, ...dated(byId("as_of").value), detail };
  const metrics = { ...dated(byId("metrics_as_of").value), ...(metricsForm?.value() ?? {}) };
  return { ...(ticker ? { ticker } : {}), metrics, detail };
}

const dated = (day) => (day ? { as_of: day } : {});

async function ask() {
  const backend = chosen("backend");
  if (!backend || running) return;
  const backends = backend === BOTH ? names : [backend];
  const store = backend === BOTH && byId("keep").checked;
  const cards = new Map(backends.map((name) => [name, new AnswerCard(name)]));
  byId("answers").replaceChildren(...[...cards.values()].map(({ element }) => element));
  byId("answers").classList.toggle("several", backends.length > 1);
  if (byId("answers").getBoundingClientRect().top > 0.7 * innerHeight) byId("answers").scrollIntoView();
  markFields([]);
  byId("kept").textContent = "";
  running = new AbortController();
  setBusy(true);
  const request = body();
  const { signal } = running;
  if (store) showStored(await compare(request, cards, signal, show));
  else await Promise.all([...cards].map(([name, card]) => stream(request, name, card, signal, show)));
  running = null;
  setBusy(false);
}

function show(card, error) {
  if (error instanceof Problem) markFields(error.document.errors ?? []);
  card.fail(error, ask);
}

function showStored(stored) {
  if (stored !== null) byId("kept").textContent = stored ? "Stored as a pair: the report includes it." : "Not stored: the store is unavailable.";
}

function setBusy(busy) {
  byId("submit").setAttribute("aria-disabled", String(busy)); // not disabled, so that it keeps the focus
  byId("stop").hidden = !busy;
}

/** Show the gateway's problem at each invalid field. */
function markFields(problems) {
  const form = byId("ask-form");
  for (const old of form.querySelectorAll(".field .wrong")) old.remove();
  for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  for (const { field, problem } of problems) {
    const place = form.querySelector(`[data-field="${CSS.escape(field)}"]`);
    if (!place) continue;
    place.querySelector("input").setAttribute("aria-invalid", "true");
    place.append(h("span", { class: "wrong small" }, problem));
  }
}

