// The choice of a backend, from the gateway's list.

import { getJson } from "./api.js";
import { byId, h } from "./dom.js";
import { key } from "./keys.js";
import { recordStandIn } from "./stand_in.js";
import { problemState } from "./states.js";

export const BOTH = "both";
export const CASCADE = "cascade";

let loaded = null; // resolves to whether the list is shown

const isOneOfBoth = (value) => ![BOTH, CASCADE, "candidate"].includes(value);

export const names = () => inputs().map(({ value }) => value).filter(isOneOfBoth);

const inputs = () => [...byId("backends").querySelectorAll("input")];

/** Load the list and choose the gateway's default; then call `onLoad`. */
export function load(onLoad) {
  loaded = show().then((done) => {
    if (done) onLoad();
    return done;
  });
  return loaded;

  async function show() {
    const place = byId("backends");
    const legend = place.querySelector("legend");
    try {
      const { default: first, backends } = await getJson("v1/backends");
      backends.forEach(recordStandIn);
      byId("docs").hidden = key() !== null && !(await fetch("docs", { method: "HEAD" })).ok; // a link sends no key
      const options = backends.map(({ name, ready, reason }) => option(name, name, ready ? null : reason));
      if (backends.length > 1) options.push(option(BOTH, "Both", null), option(CASCADE, "Cascade", null));
      const unready = backends.filter(({ ready }) => !ready);
      place.replaceChildren(legend, ...options, ...unready.map(({ name, reason }) => h("p", { class: "hint muted" }, `${name} is not ready: ${reason}`)));
      check(first);
      return true;
    } catch (error) {
      place.replaceChildren(legend, problemState(error, () => load(onLoad)));
      return false;
    }
  }
}

/** Choose a backend once the list is loaded. Resolves to whether it is in the list. */
export async function choose(value) {
  return (await loaded) && check(value);
}

function check(value) {
  const input = inputs().find((each) => each.value === value);
  if (input) input.checked = true;
  return input !== undefined;
}

function option(value, label, reason) {
  return h(
    "label",
    { class: reason === null ? false : "unready" },
    h("input", { type: "radio", name: "backend", value }),
    h("span", {}, label),
  );
}
