// Suggestions for the ticker, from the gateway's market, while it is typed.

import { call } from "./api.js";
import { byId, h } from "./dom.js";

const PAUSE_MS = 150;
const SHOWN = 20;
const TICKER = /^[A-Za-z0-9][A-Za-z0-9.-]{0,9}$/;

let timer = null;
let request = null;
let listed = true; // false once the market has no list

export function start() {
  byId("ticker").addEventListener("input", () => {
    clearTimeout(timer);
    if (listed) timer = setTimeout(suggest, PAUSE_MS);
  });
}

async function suggest() {
  const prefix = byId("ticker").value.trim();
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  show(TICKER.test(prefix) ? await found(prefix, signal) : [], signal);
}

/** Return the tickers that begin so; none if the request fails, because the question itself reports the failure. */
async function found(prefix, signal) {
  try {
    const response = await call(`v1/market/tickers?${new URLSearchParams({ prefix, limit: SHOWN })}`, { signal, asksKey: false });
    const answer = await response.json();
    listed = answer.listed;
    return answer.tickers;
  } catch {
    return [];
  }
}

function show(tickers, signal) {
  if (!signal.aborted) byId("known-tickers").replaceChildren(...tickers.map((value) => h("option", { value })));
}
