// The notice that a stand-in answers instead of a model. It appears on every page of this tab once an answer or a
// backend's state reports a stand-in, until an answer of that backend reports a model.

import { byId } from "./dom.js";

const NAME = "conviction.stand-ins";
const backends = new Set(JSON.parse(sessionStorage.getItem(NAME) ?? "[]"));

/** Record what an answer or a backend's state reports. */
export function recordStandIn({ stand_in: standIn, backend, name, model }) {
  if (standIn || model?.startsWith("stand-in/")) backends.add(backend ?? name);
  else if (standIn === false) backends.delete(backend);
  show();
}

export function show() {
  sessionStorage.setItem(NAME, JSON.stringify([...backends]));
  const notice = byId("stand-in");
  notice.hidden = backends.size === 0;
  notice.textContent =
    `Stand-in: ${[...backends].sort().join(" and ")} ${backends.size > 1 ? "are" : "is"} answered by a rule-based stand-in, not by a model.`;
}
