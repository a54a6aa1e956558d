// Navigation between the pages, the theme and the key button.

import { read } from "./address.js";
import * as ask from "./ask.js";
import * as compare from "./compare.js";
import * as costs from "./costs.js";
import { byId } from "./dom.js";
import { key, requestKey } from "./keys.js";
import { show as showStandIns } from "./stand_in.js";

const PAGES = { ask, compare, costs };
let shown = null;

function route() {
  const { page, parameters } = read();
  const name = Object.hasOwn(PAGES, page) ? page : "ask";
  if (name === "ask") ask.open(parameters);
  if (name === shown) return;
  for (const section of document.querySelectorAll("[data-page]")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${name}-title`).textContent} – Conviction`;
  PAGES[shown]?.hide?.();
  PAGES[name].show?.();
  if (shown) byId("main").focus({ preventScroll: true });
  shown = name;
}

function theme() {
  const root = document.documentElement;
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  const label = () => (button.textContent = current() === "dark" ? "Light" : "Dark");
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    localStorage.setItem("conviction.theme", root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();
}

byId("skip").addEventListener("click", () => byId("main").focus());
byId("key").addEventListener("click", async () => {
  if (await requestKey(key() ? "Enter another key to replace it." : "If this gateway has keys switched on, requests need one.")) location.reload();
});
window.addEventListener("hashchange", route);
theme();
showStandIns();
ask.start();
compare.start();
route();
