// The page that compares: what all kept pairs say of the two backends, asked for again while it is looked at.

import { getJson } from "./api.js";
import { byId } from "./dom.js";
import { clock } from "./format.js";
import { Poll } from "./poll.js";
import { cards, none } from "./report.js";

const CHARTED = 500;

let drawn = "";
const poll = new Poll(byId("report"), 5000, ask, draw);

export const show = () => poll.show();
export const hide = () => poll.hide();

export function start() {
  byId("report-form").addEventListener("submit", (event) => {
    event.preventDefault();
    poll.again();
  });
  for (const id of ["span", "report-detail"]) byId(id).addEventListener("change", () => poll.again());
  byId("pause").addEventListener("click", pause);
}

function pause() {
  poll.paused = !poll.paused;
  byId("pause").setAttribute("aria-pressed", String(poll.paused));
  byId("pause").textContent = poll.paused ? "Go on" : "Pause";
  if (!poll.paused) poll.again();
}

function ask(signal) {
  return Promise.all([
    getJson(`v1/comparisons/report${query({})}`, signal),
    getJson(`v1/comparisons${query({ limit: CHARTED })}`, signal),
  ]);
}

function query(more) {
  const within = Number(byId("span").value);
  const detail = byId("report-detail").value;
  const tickers = byId("tickers").value.split(/[\s,]+/).filter(Boolean).join(",");
  const asked = new URLSearchParams({
    ...(within ? { from: new Date(Date.now() - 1000 * within).toISOString() } : {}),
    ...(detail ? { detail } : {}),
    ...(tickers ? { tickers } : {}),
    ...more,
  });
  return asked.size ? `?${asked}` : "";
}

/** Drawn anew only where something changed: what is being read stays where it is. */
function draw([report, { pairs }]) {
  byId("updated").textContent = `as of ${clock(new Date())}`;
  const now = JSON.stringify([report, pairs.map(({ id }) => id)]);
  if (now === drawn && byId("report").querySelector(".cards, .empty")) return;
  drawn = now;
  byId("report").replaceChildren(report.pairs ? cards(report, pairs) : none());
}
