// The Compare page: the report of the stored pairs, refreshed while the page is shown.

import { getJson } from "./api.js";
import { byId } from "./dom.js";
import { clock } from "./format.js";
import { Poll } from "./poll.js";
import { cards, noPairs } from "./report.js";

const MAX_CHARTED = 500;
const MAX_DISAGREEMENTS = 20;

let lastDrawn = "";
const poll = new Poll(byId("report"), 5000, load, draw);

export const show = () => poll.show();
export const hide = () => poll.hide();

export function start() {
  byId("report-form").addEventListener("submit", (event) => {
    event.preventDefault();
    poll.refresh();
  });
  for (const id of ["span", "report-detail", "group-by"]) byId(id).addEventListener("change", () => poll.refresh());
  byId("pause").addEventListener("click", pause);
}

function pause() {
  poll.paused = !poll.paused;
  byId("pause").setAttribute("aria-pressed", String(poll.paused));
  byId("pause").textContent = poll.paused ? "Resume" : "Pause";
  if (!poll.paused) poll.refresh();
}

function load(signal) {
  return Promise.all([
    getJson(`v1/comparisons/report${query({ group_by: byId("group-by").value })}`, signal),
    getJson(`v1/comparisons${query({ limit: MAX_CHARTED })}`, signal),
    getJson(`v1/comparisons${query({ agree: false, limit: MAX_DISAGREEMENTS })}`, signal),
  ]);
}

function query(more) {
  const within = Number(byId("span").value);
  const detail = byId("report-detail").value;
  const tickers = byId("tickers").value.split(/[\s,]+/).filter(Boolean).join(",");
  const parameters = new URLSearchParams({
    ...(within ? { from: new Date(Date.now() - 1000 * within).toISOString() } : {}),
    ...(detail ? { detail } : {}),
    ...(tickers ? { tickers } : {}),
    ...more,
  });
  return parameters.size ? `?${parameters}` : "";
}

/** Redraw only after a change, so that the reader keeps the scroll position. */
function draw([report, { pairs }, { pairs: disagreements }]) {
  byId("updated").textContent = `as of ${clock(new Date())}`;
  const now = JSON.stringify([report, pairs.map(({ id }) => id)]);
  if (now === lastDrawn && byId("report").querySelector(".cards, .empty")) return;
  lastDrawn = now;
  byId("report").replaceChildren(report.pairs ? cards(report, pairs, disagreements) : noPairs());
}
