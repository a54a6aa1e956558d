// The loading, error and empty states of every page.

import { Problem } from "./api.js";
import { announce, h } from "./dom.js";

export function loading(text) {
  return h("div", { class: "state loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), text);
}

export function empty(title, ...content) {
  return h("div", { class: "state empty" }, h("h2", {}, title), ...content);
}

/**
 * Show a problem, with a retry button that counts down to the `retry_after` of the problem. Its detail repeats its errors
 * by field, so only these are shown, without those of the fields in `marked`, which the form shows.
 */
export function problemState(error, retry, marked = []) {
  const problem = error instanceof Problem ? error.document : { title: "The console failed", detail: String(error) };
  if (!(error instanceof Problem)) console.error(error);
  announce(`${problem.title}. ${problem.detail ?? ""}`);
  return h(
    "div",
    { class: "state problem" },
    h("h2", {}, problem.title, problem.status ? h("span", { class: "code" }, `${problem.status} ${problem.code ?? ""}`) : null),
    problem.errors?.length ? invalidFields(problem.errors, marked) : h("p", {}, problem.detail ?? ""),
    retry ? h("p", { class: "row" }, retryButton(problem.retry_after, retry)) : null,
    problem.request_id ? h("p", { class: "muted small" }, "Request ", h("code", {}, problem.request_id)) : null,
  );
}

function invalidFields(errors, marked) {
  const others = errors.filter(({ field }) => !marked.includes(field));
  return [
    marked.length ? h("p", {}, marked.length > 1 ? `The form marks ${marked.length} fields.` : "The form marks the field.") : null,
    others.length ? h("ul", {}, others.map(({ field, problem: text }) => h("li", {}, h("code", {}, field), ` ${text}`))) : null,
  ];
}

function retryButton(after, retry) {
  const button = h("button", { type: "button", onclick: retry }, "Try again");
  const ends = Date.now() + 1000 * (after ?? 0);
  const tick = () => {
    const left = Math.ceil((ends - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
  return button;
}
