// Where a stand-in answers in a model's place, every page says so.

import { byId } from "./dom.js";

const backends = new Set();

/** Takes note of an answer's or a backend's own word. */
export function seen({ stand_in: standIn, backend, name, model }) {
  if (standIn || model?.startsWith("stand-in/")) mark(backend ?? name);
}

export function mark(backend) {
  backends.add(backend);
  const notice = byId("stand-in");
  notice.hidden = false;
  notice.textContent =
    `Stand-in: ${[...backends].sort().join(" and ")} ${backends.size > 1 ? "are" : "is"} answered by a rule-based stand-in here, not by a model.`;
}
