// Recent answers from the decision log. Each entry is a link that opens the stored answer.

import { link } from "./address.js";
import { getJson, Problem } from "./api.js";
import { byId, h } from "./dom.js";
import { minute } from "./format.js";
import { empty, loading, problemState } from "./states.js";

const PAGE = 10;
const STORED_AFTER_MS = 500; // the log stores entries in batches

export function start() {
  byId("history-form").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  byId("older").addEventListener("click", older);
}

export const reloadSoon = () => setTimeout(load, STORED_AFTER_MS);

let shown = { ticker: "", next: null };
let request = null;

/** Show the newest answers about the ticker in the filter. */
export async function load() {
  const ticker = byId("history-ticker").value.trim();
  const place = byId("decisions");
  byId("history").hidden = false;
  if (!place.hasChildNodes()) place.append(loading("loading the recent answers"));
  request?.abort();
  const { signal } = (request = new AbortController());
  try {
    const { recommendations, next } = await page({ ticker }, signal);
    shown = { ticker, next };
    place.replaceChildren(recommendations.length ? h("ol", { class: "decisions" }, recommendations.map(entry)) : nothing(ticker));
  } catch (error) {
    if (signal.aborted) return;
    shown = { ticker, next: null };
    const off = error instanceof Problem && error.document.code === "conflict";
    place.replaceChildren(off ? empty("The decision log is off", h("p", {}, error.document.detail)) : problemState(error, load));
  }
  byId("history-form").hidden = place.querySelector(".empty") !== null && !ticker;
  byId("older").hidden = shown.next === null;
}

async function older() {
  try {
    const { recommendations, next } = await page({ ticker: shown.ticker, cursor: shown.next }, request.signal);
    shown.next = next;
    byId("decisions").querySelector("ol").append(...recommendations.map(entry));
    byId("older").hidden = next === null;
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("decisions").replaceChildren(problemState(error, load));
    byId("older").hidden = true;
  }
}

function page(parameters, signal) {
  const given = Object.entries({ ...parameters, limit: PAGE }).filter(([, value]) => value);
  return getJson(`v1/recommendations?${new URLSearchParams(given)}`, signal);
}

function nothing(ticker) {
  if (!ticker) return empty("No answers yet", h("p", {}, "The answers that your key receives are listed here."));
  const all = h("button", { type: "button", onclick: showAll }, "Show all");
  return empty(`No answer about ${ticker.toUpperCase()}`, h("p", {}, "The log may hold answers about other tickers."), h("p", { class: "row" }, all));
}

function showAll() {
  byId("history-ticker").value = "";
  byId("history-ticker").focus();
  load();
}

function entry({ recommendation: { id, created_at: at, ticker, action, conviction, backend, analysis } }) {
  return h(
    "li",
    {},
    h(
      "a",
      { href: link({ id }) },
      h("b", {}, ticker ?? "No ticker"),
      h("span", { class: "did", "data-action": action }, `${action} ${conviction}`),
      h("span", { class: "muted" }, `${backend}, ${analysis === null ? "brief" : "full"}`),
      h("span", { class: "muted" }, minute(at)),
    ),
  );
}
