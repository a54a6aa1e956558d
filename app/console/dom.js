// Making elements. Text only ever becomes text: nothing here, or elsewhere, reads a string as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An HTML element: attributes by name (`on…` are listeners, false and null leave one out), then children. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A share of a whole as a bar's length or a cell's depth; style sheets read it as `--share`. */
export function share(element, value) {
  element.style.setProperty("--share", String(Math.max(0, Math.min(1, value))));
  return element;
}

/** Said once by screen readers, without moving anybody. */
export function announce(text) {
  byId("announcer").textContent = text;
}
