// The question in the form: its choices, its parameters in the address, and the gateway's problems at its fields.

import * as backends from "./backends.js";
import { byId, h } from "./dom.js";
import * as metrics from "./metrics_entry.js";

const HINTS = {
  full: "The action and the conviction, then an analysis.",
  brief: "Only the action and the conviction: a dozen tokens.",
};
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Call `onReady` when the backends are known, and `onChange` after each change of the question. */
export function start(onReady, onChange) {
  const form = byId("ask-form");
  metrics.start(changed);
  form.addEventListener("change", changed);
  function changed() {
    update();
    onChange();
  }
  update();
  backends.load(() => {
    update();
    onReady();
  });
}

export const chosen = (name) => byId("ask-form").elements[name]?.value;

/** Show the parts of the form that apply to its choices. */
function update() {
  const [subject, detail, backend] = ["subject", "detail", "backend"].map(chosen);
  for (const part of byId("ask-form").querySelectorAll("[data-subject]")) part.hidden = part.dataset.subject !== subject;
  byId("detail-hint").textContent = HINTS[detail];
  byId("cascade-hint").hidden = backend !== backends.CASCADE;
  byId("keep-row").hidden = backend !== backends.BOTH;
  if (subject === "metrics") metrics.show();
}

/** Return the body of the request. */
export function body() {
  const [subject, detail] = ["subject", "detail"].map(chosen);
  const ticker = byId("ticker").value.trim();
  if (subject === "ticker") return { ticker, ...dated(byId("as_of").value), detail };
  return { ...(ticker ? { ticker } : {}), metrics: { ...dated(byId("metrics_as_of").value), ...metrics.value() }, detail };
}

const dated = (day) => (day ? { as_of: day } : {});

/** Return the question as parameters of the address. */
export function parameters() {
  const { ticker, as_of: asOf, metrics: given, detail } = body();
  const all = { ticker, as_of: asOf, metrics: given && JSON.stringify(given), detail, backend: chosen("backend") };
  return new URLSearchParams(Object.entries(all).filter(([, value]) => value));
}

/** Fill the form in from the parameters of an address, and show those that it cannot take. */
export async function restore(given) {
  byId("ticker").value = given.get("ticker") ?? "";
  byId("as_of").value = DAY.test(given.get("as_of")) ? given.get("as_of") : "";
  const refused = [];
  if (given.has("as_of") && byId("as_of").value !== given.get("as_of")) refused.push("as_of");
  if (given.has("detail") && !choose("detail", given.get("detail"))) refused.push("detail");
  choose("subject", given.has("metrics") ? "metrics" : "ticker");
  update();
  if (given.has("backend") && !(await backends.choose(given.get("backend")))) refused.push("backend");
  if (given.has("metrics") && !(await metrics.restore(given.get("metrics")))) refused.push("metrics");
  byId("linked").hidden = !refused.length;
  byId("linked").textContent = `The form cannot take these parts of the link: ${refused.map((name) => `${name} ${given.get(name)}`).join(", ")}.`;
  update();
}

function choose(name, value) {
  const input = byId("ask-form").querySelector(`input[name="${name}"][value="${CSS.escape(value)}"]`);
  if (input) input.checked = true;
  return input !== null;
}

/** Show the gateway's problem at each invalid field, and return the fields that are in the form. */
export function markFields(problems) {
  const form = byId("ask-form");
  for (const old of form.querySelectorAll(".field .wrong")) old.remove();
  for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  const places = problems.map(({ field }) => form.querySelector(`[data-field="${CSS.escape(field)}"]`));
  const shown = problems.map((each, at) => [each, places[at]]).filter(([, place]) => place && !place.closest("[hidden]"));
  for (const [{ problem }, place] of shown) {
    place.querySelector("input").setAttribute("aria-invalid", "true");
    place.append(h("span", { class: "wrong small" }, problem));
  }
  if (shown.length) scrollTo(shown[0][1]);
  return shown.map(([{ field }]) => field);
}

/** Scroll the box of the metrics, not the page, to a field. */
function scrollTo(place) {
  const box = place.closest(".fields");
  if (box) box.scrollTop += place.getBoundingClientRect().top - box.getBoundingClientRect().top;
}
