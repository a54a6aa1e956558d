// Creates elements. No string is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Create an HTML element from attributes (`on…` adds a listener; false and null are omitted) and children. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Create an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the fraction that style sheets read as `--share`: the length of a bar or the depth of a cell. */
export function share(element, value) {
  element.style.setProperty("--share", String(Math.max(0, Math.min(1, value))));
  return element;
}

/** Let screen readers announce a text without moving the focus. */
export function announce(text) {
  byId("announcer").textContent = text;
}
