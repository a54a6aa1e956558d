// The Ask page: a ticker or metrics, to one backend or to both, and stored answers.

import * as address from "./address.js";
import { AnswerCard } from "./answer.js";
import { getJson, Problem } from "./api.js";
import { BOTH, names } from "./backends.js";
import { byId, h } from "./dom.js";
import * as form from "./form.js";
import * as history from "./history.js";
import { compare, stream } from "./requests.js";
import { empty, loading, problemState } from "./states.js";
import { origin } from "./stored.js";
import * as tickers from "./tickers.js";

let running = null;
let asked = null; // the address of the question that the answers belong to

export function start() {
  showState(empty("Nothing asked yet", h("p", {}, "Enter a ticker, and the gateway looks its metrics up. Or enter metrics.")));
  byId("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("ask-form").addEventListener("input", compareWithAsked);
  byId("stop").addEventListener("click", () => running?.abort());
  byId("copy").addEventListener("click", copyLink);
  history.start();
  tickers.start();
  form.start(history.load, changed);
}

/** Show what the address names: a question in the form, or a stored answer. */
export function open(parameters) {
  if (parameters.has("id")) openStored(parameters.get("id"));
  else if (parameters.size) form.restore(parameters).then(compareWithAsked);
  else if (asked) changed();
}

function changed() {
  address.write(form.parameters());
  byId("copied").textContent = "";
  compareWithAsked();
}

/** Grey the answers out while the form holds another question than theirs. */
function compareWithAsked() {
  const outdated = asked !== null && address.link(form.parameters()) !== asked;
  byId("answers").classList.toggle("outdated", outdated);
  byId("outdated").textContent = outdated ? "The form has changed since this question was asked." : "";
}

function showState(...elements) {
  asked = null;
  byId("answers").replaceChildren(...elements);
  byId("answers").classList.remove("several");
  compareWithAsked();
}

async function ask() {
  const backend = form.chosen("backend");
  if (!backend || running) return;
  const backends = backend === BOTH ? names() : [backend];
  const store = backend === BOTH && byId("keep").checked;
  const request = form.body();
  const cards = new Map(backends.map((name) => [name, new AnswerCard(name, request.as_of ?? null)]));
  showState(...[...cards.values()].map(({ element }) => element));
  byId("answers").classList.toggle("several", backends.length > 1);
  scrollToAnswers(-Infinity);
  form.markFields([]);
  byId("kept").textContent = "";
  changed();
  asked = address.link(form.parameters());
  const { signal } = begin();
  if (store) showStored(await compare(request, cards, signal, showError));
  else await Promise.all([...cards].map(([name, card]) => stream(request, name, card, signal, showError)));
  end(signal);
  if ([...cards.values()].some(({ answered }) => answered)) history.reloadSoon();
}

/** Scroll to the answers if they begin lower than most of the window, or above `top`, in pixels. */
function scrollToAnswers(top) {
  const at = byId("answers").getBoundingClientRect().top;
  if (at < top || at > 0.7 * innerHeight) byId("answers").scrollIntoView();
}

async function openStored(id) {
  const { signal } = begin();
  showState(loading("loading the stored answer"));
  try {
    const stored = await getJson(`v1/recommendations/${encodeURIComponent(id)}`, signal);
    const card = new AnswerCard(stored.recommendation.backend);
    card.answer(stored.recommendation);
    showState(origin(stored), card.element);
    scrollToAnswers(0);
  } catch (error) {
    if (!signal.aborted) showState(problemState(error, () => openStored(id)));
  }
  end(signal);
}

/** Begin a request, and stop the one in progress. */
function begin() {
  running?.abort();
  running = new AbortController();
  setBusy(true);
  return running;
}

function end(signal) {
  if (running?.signal !== signal) return;
  running = null;
  setBusy(false);
}

/** Show an error once: at the fields it names, and not again in the card of the second backend. */
function showError(card, error) {
  const { code, detail, errors = [] } = error instanceof Problem ? error.document : {};
  const fault = `${code} ${detail}`;
  const same = byId("answers").querySelector(`[data-fault="${CSS.escape(fault)}"]`);
  card.element.dataset.fault = fault;
  card.fail(error, ask, errors.length ? form.markFields(errors) : []);
  if (same) card.name.textContent = `${same.querySelector("h2").textContent}, ${card.backend}`;
  same?.remove();
}

function showStored(stored) {
  if (stored !== null) byId("kept").textContent = stored ? "Stored as a pair: the report includes it." : "Not stored: the store is unavailable.";
}

function setBusy(busy) {
  byId("submit").setAttribute("aria-disabled", String(busy)); // not disabled, so that it keeps the focus
  byId("stop").hidden = !busy;
}

async function copyLink() {
  if (!address.read().parameters.has("id")) address.write(form.parameters());
  try {
    await navigator.clipboard.writeText(location.href);
    byId("copied").textContent = "Copied.";
  } catch {
    byId("copied").textContent = "The browser does not allow it: copy the address of this page.";
  }
}
