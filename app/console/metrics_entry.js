// Entry of metrics: the form's fields, the example, and pasted JSON.

import { byId } from "./dom.js";
import { MetricsForm, parsePasted, schema } from "./metrics_form.js";
import { loading, problemState } from "./states.js";

let form = null;
let example = null;
let loaded = null; // resolves to whether the fields are shown

/** Call `onChange` after the metrics were filled in. */
export function start(onChange) {
  const filling = (fillIn) => async () => {
    if (!(await show())) return;
    fillIn();
    onChange();
  };
  byId("ask-form").addEventListener("input", countGiven);
  byId("example").addEventListener("click", filling(() => fill(example)));
  byId("clear").addEventListener("click", filling(() => fill({ metrics: {} })));
  byId("fill").addEventListener("click", filling(paste));
}

/** Load the fields, once. */
export function show() {
  return (loaded ??= load());
}

export const value = () => form?.value() ?? {};

/** Fill the fields in from the metrics in an address. Resolves to whether all of them are known. */
export async function restore(text) {
  if (!(await show())) return false;
  try {
    return fill({ ...parsePasted(text), ticker: undefined }).length === 0;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return false;
  }
}

async function load() {
  const place = byId("fields");
  place.replaceChildren(loading("loading the list of metrics"));
  try {
    const described = await schema();
    form = new MetricsForm(described);
    example = described.example;
    place.replaceChildren(form.element);
    countGiven();
    return true;
  } catch (error) {
    place.replaceChildren(problemState(error, () => (loaded = load())));
    return false;
  }
}

function countGiven() {
  if (form) byId("given").textContent = `${form.given()} given; at least three are required`;
}

function paste() {
  const message = byId("pasted");
  try {
    fill(parsePasted(byId("json").value));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    message.textContent = `This is not a request: ${error.message}`;
    message.className = "wrong";
  }
}

/** Fill in a request, and return the unknown metrics. */
function fill(request) {
  if (request.ticker !== undefined) byId("ticker").value = request.ticker;
  byId("metrics_as_of").value = request.metrics?.as_of ?? "";
  const unknown = form.fill(request.metrics ?? {});
  const message = byId("pasted");
  message.textContent = unknown.length ? `No such metric: ${unknown.join(", ")}` : "";
  message.className = "wrong";
  countGiven();
  return unknown;
}
