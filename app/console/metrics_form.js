// The form for metrics, made from the gateway's own schema, so that it never lacks a field or a bound.

import { getJson } from "./api.js";
import { h } from "./dom.js";

const GROUPS = [
  ["options", "Options", "Options"],
  ["technicals", "Technicals", "Technicals"],
];

/** What the gateway says of itself: its metrics and its example. Raises `Problem`. */
export async function schema() {
  const { components, paths } = await getJson("openapi.json");
  const { schemas } = components;
  const example = paths["/v1/recommendations"].post.requestBody.content["application/json"].examples.full.value;
  return { groups: GROUPS.map(([path, title, name]) => ({ path, title, fields: schemas[name].properties })), price: schemas.Metrics.properties.price, example };
}

export class MetricsForm {
  constructor({ groups, price }) {
    this.inputs = new Map(); // by path in the request: "price", "options.call_iv_avg", …
    this.element = h(
      "div",
      {},
      this.field("price", "price", price),
      groups.map(({ path, title, fields }) =>
        h(
          "fieldset",
          { class: "group" },
          h("legend", {}, title),
          h("div", { class: "grid" }, Object.entries(fields).map(([name, form]) => this.field(`${path}.${name}`, name, form))),
        ),
      ),
    );
  }

  field(path, name, form) {
    const id = `metric-${path}`;
    const input = h("input", { id, inputmode: "decimal", spellcheck: "false", "aria-describedby": `${id}-said` });
    this.inputs.set(path, input);
    return h(
      "div",
      { class: "field", "data-field": `metrics.${path}` },
      h("label", { for: id, title: `${form.description}${bounds(form)}` }, name),
      input,
      h("small", { id: `${id}-said` }, form.description),
    );
  }

  /** The metrics as a request has them. What is no number goes as it stands: the gateway says what is wrong with it. */
  value() {
    const metrics = {};
    for (const [path, input] of this.inputs) {
      const typed = input.value.trim();
      if (!typed) continue;
      const [group, name] = divided(path);
      (group ? (metrics[group] ??= {}) : metrics)[name] = Number.isFinite(Number(typed)) ? Number(typed) : typed;
    }
    return metrics;
  }

  given() {
    return [...this.inputs.values()].filter((input) => input.value.trim()).length;
  }

  clear() {
    for (const input of this.inputs.values()) input.value = "";
  }

  /** Fills in metrics; the names that no field has. */
  fill(metrics) {
    this.clear();
    const unknown = [];
    for (const [name, value] of Object.entries(metrics)) {
      if (name === "as_of") continue;
      const parts = value !== null && typeof value === "object" ? Object.entries(value).map(([part, each]) => [`${name}.${part}`, each]) : [[name, value]];
      for (const [path, each] of parts) {
        const input = this.inputs.get(path);
        if (input) input.value = each === null ? "" : String(each);
        else unknown.push(path);
      }
    }
    return unknown;
  }
}

/** A path as its group, if any, and its name, which may have dots of its own. */
function divided(path) {
  const at = path.indexOf(".");
  return at < 0 ? [null, path] : [path.slice(0, at), path.slice(at + 1)];
}

function bounds(form) {
  const number = form.anyOf?.find((kind) => kind.type !== "null") ?? form;
  const low = number.minimum ?? number.exclusiveMinimum;
  return low === undefined ? "" : `, from ${low} to ${number.maximum}`;
}

/** The request that a pasted text is: a whole one, or metrics alone. Raises `SyntaxError` for anything else. */
export function pasted(text) {
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("it is no JSON object");
  if ("metrics" in value || "ticker" in value) return value;
  return { metrics: value };
}
