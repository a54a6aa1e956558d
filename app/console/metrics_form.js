// The form for metrics, built from the gateway's schema, so that it has every field and bound.

import { getJson } from "./api.js";
import { h } from "./dom.js";

const GROUPS = [
  ["options", "Options", "Options"],
  ["technicals", "Technicals", "Technicals"],
];

/** Return the metrics and the example from the OpenAPI document. Throws `Problem`. */
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
    const input = h("input", { id, inputmode: "decimal", spellcheck: "false", "aria-describedby": `${id}-hint` });
    this.inputs.set(path, input);
    return h(
      "div",
      { class: "field", "data-field": `metrics.${path}` },
      h("label", { for: id }, form.title, " ", h("code", {}, name)),
      input,
      h("small", { id: `${id}-hint` }, `${form.description}${bounds(form)}`),
    );
  }

  /** Return the metrics of a request. Text that is not a number is sent as it is, and the gateway reports it. */
  value() {
    const metrics = {};
    for (const [path, input] of this.inputs) {
      const typed = input.value.trim();
      if (!typed) continue;
      const [group, name] = splitPath(path);
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

  /** Fill in metrics, and return the unknown names. */
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

/** Split a path into its group, if any, and its name, which may contain dots. */
function splitPath(path) {
  const at = path.indexOf(".");
  return at < 0 ? [null, path] : [path.slice(0, at), path.slice(at + 1)];
}

const SHOWN_TO = 1000;

/** The range of an index or a ratio; that of prices and counts is wide and only excludes errors. */
function bounds(form) {
  const number = form.anyOf?.find((kind) => kind.type !== "null") ?? form;
  const low = number.minimum ?? number.exclusiveMinimum;
  return number.maximum < SHOWN_TO ? `; ${low} to ${number.maximum}`.replaceAll("-", "−") : "";
}

/** Parse a pasted request, or its metrics alone. Throws `SyntaxError`. */
export function parsePasted(text) {
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("not a JSON object");
  if ("metrics" in value || "ticker" in value) return value;
  return { metrics: value };
}
