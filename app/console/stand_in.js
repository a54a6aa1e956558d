// Where a stand-in answers in a model's place, every page says so: as soon as a backend's name or an answer told it,
// in this tab, and until an answer tells otherwise.

import { byId } from "./dom.js";

const NAME = "conviction.stand-ins";
const backends = new Set(JSON.parse(sessionStorage.getItem(NAME) ?? "[]"));

/** Takes note of an answer's or a backend's own word. */
export function seen({ stand_in: standIn, backend, name, model }) {
  if (standIn || model?.startsWith("stand-in/")) backends.add(backend ?? name);
  else if (standIn === false) backends.delete(backend);
  show();
}

export function show() {
  sessionStorage.setItem(NAME, JSON.stringify([...backends]));
  const notice = byId("stand-in");
  notice.hidden = backends.size === 0;
  notice.textContent =
    `Stand-in: ${[...backends].sort().join(" and ")} ${backends.size > 1 ? "are" : "is"} answered by a rule-based stand-in here, not by a model.`;
}
