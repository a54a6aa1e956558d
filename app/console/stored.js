// The origin of a stored answer, and its question.

import { link } from "./address.js";
import { h } from "./dom.js";
import { minute } from "./format.js";

/** When the answer was given and to which key, with a link that fills its question in. */
export function origin({ principal, recommendation }) {
  return h(
    "p",
    { class: "origin" },
    h("span", {}, `Stored answer of ${minute(recommendation.created_at)}, received by ${principal.name}. `),
    h("a", { href: link(question(recommendation)) }, "Fill its question in"),
  );
}

/** Return the parameters of the question. Metrics of the market are named by their ticker and close. */
function question({ ticker, as_of: asOf, analysis, backend, metrics, metrics_source: source }) {
  const subject = source ? { as_of: asOf } : { metrics: JSON.stringify(metrics) };
  const all = { ticker, ...subject, detail: analysis === null ? "brief" : "full", backend };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
}
