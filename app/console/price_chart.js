// The price chart of an answer: a year of closes up to the as-of bar, with the gateway's own indicators.

import { getJson } from "./api.js";
import { legend } from "./charts.js";
import { h } from "./dom.js";
import { count, NONE, number, session, usd } from "./format.js";
import { LEVELS, plots, point, PRICES, resize, RSI } from "./price_plot.js";
import { loading, problemState } from "./states.js";
import { table } from "./table.js";

const SERIES = [...PRICES, "pivots", "volume", RSI];

/**
 * Return the chart of a ticker up to `close`, which loads itself. `day` is the day of the question, whose metrics the
 * gateway has just looked up; null for the latest.
 */
export function priceChart(ticker, close, day) {
  const element = h("figure", { class: "price-chart", "aria-label": `Price of ${ticker}` });
  async function load() {
    element.replaceChildren(loading("loading the chart"));
    try {
      const [{ default: uPlot }, history] = await Promise.all([import("./uPlot.esm.js"), upTo(ticker, close, day)]);
      draw(uPlot, element, history);
    } catch (error) {
      element.replaceChildren(problemState(error, load));
    }
  }
  load();
  return element;
}

/** Return the bars up to a close: those of the question, unless its day has a newer close by now. */
async function upTo(ticker, close, day) {
  const history = await bars(ticker, day);
  return history.as_of === close ? history : bars(ticker, close);
}

function bars(ticker, day) {
  return getJson(`v1/market/${encodeURIComponent(ticker)}/bars${day ? `?as_of=${day}` : ""}`);
}

function draw(uPlot, element, history) {
  const { dates, bars_source: source, as_of: asOf } = history;
  const last = dates.length - 1;
  const place = h("div", { class: "plots", role: "img", "aria-label": summary(history) });
  const readout = h("p", { class: "readout small" });
  const slider = h("input", { type: "range", min: 0, max: last, value: last, oninput: () => select(Number(slider.value)) });
  element.replaceChildren(
    h("h3", {}, `Closes up to ${session(asOf)} `, h("small", {}, [source.provider, staleness(source)].filter(Boolean).join(", "))),
    place,
    legend(SERIES),
    h("label", { class: "session" }, "Session", slider),
    readout,
    h("details", {}, h("summary", {}, "The chart as a table"), byMonth(history)),
  );
  let drawn = []; // hovering may be reported before the plots are there
  drawn = plots(uPlot, place, history, colours(element), (index) => select(index ?? last));
  function select(index) {
    const figures = figuresAt(history, index);
    slider.value = index;
    slider.setAttribute("aria-valuetext", figures.map((pair) => pair.join(" ")).join(", "));
    readout.replaceChildren(...figures.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, value))));
    point(drawn, index);
  }
  follow(element, place, drawn, () => select(Number(slider.value)));
}

/** Adapt the plots to the width and the theme for as long as the element is in the page. */
function follow(element, place, drawn, select) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => drawn.forEach((plot) => plot.redraw(false));
  const theme = new MutationObserver(redraw);
  const width = new ResizeObserver(() => {
    if (!place.isConnected) {
      drawn.forEach((plot) => plot.destroy());
      system.removeEventListener("change", redraw);
      theme.disconnect();
      width.disconnect();
    } else if (element.clientWidth) {
      resize(drawn, element.clientWidth);
      select();
    }
  });
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", redraw);
  width.observe(element);
}

/** Return the color of a series, which is that of its dot in the legend, or of text or grid lines. */
function colours(element) {
  return (name) => {
    if (name === "text") return getComputedStyle(element.querySelector(".legend")).color;
    if (name === "grid") return getComputedStyle(element).borderTopColor;
    return getComputedStyle(element.querySelector(`.legend [data-series="${name}"] .dot`)).backgroundColor;
  };
}

function staleness({ as_of_age_sessions: sessions }) {
  return sessions ? `${count(sessions)} sessions ago` : null;
}

function figuresAt({ dates, closes, volumes, indicators, levels }, index) {
  const last = index === dates.length - 1;
  return [
    [last ? "as of" : "on", session(dates[index])],
    ["close", usd(rounded(closes[index]))],
    ...PRICES.slice(1).map((name) => [name, usd(rounded(indicators[name][index]))]),
    [RSI, number(indicators[RSI][index])],
    ["volume", count(volumes[index])],
    ...(last ? LEVELS.filter((name) => name in levels).map((name) => [name, usd(rounded(levels[name]))]) : []),
  ];
}

/** Round a price to cents, below ten dollars to hundredths of a cent. */
const rounded = (value) => (value === null ? null : Number(value.toFixed(value < 10 ? 4 : 2)));

/** Describe the chart in a sentence. */
function summary({ ticker, dates, closes, indicators }) {
  const price = (value) => usd(rounded(value));
  const at = (value) => `${price(value)} on ${session(dates[closes.indexOf(value)])}`;
  const rsi = indicators[RSI].at(-1);
  return `${ticker}, ${dates.length} sessions: first close ${price(closes[0])}, lowest ${at(Math.min(...closes))}, highest ${at(Math.max(...closes))}, last ${price(closes.at(-1))} on ${session(dates.at(-1))}; RSI ${number(rsi)}.`;
}

/** The last session of each month. */
function byMonth({ ticker, dates, closes, volumes, indicators }) {
  const ends = dates.map((_, at) => at).filter((at) => dates[at].slice(0, 7) !== dates[at + 1]?.slice(0, 7));
  const rows = ends.reverse().map((at) => [dates[at], usd(rounded(closes[at])), indicators[RSI][at] === null ? NONE : indicators[RSI][at].toFixed(1), number(volumes[at] / 1e6)]);
  return table(`${ticker} at the last session of each month`, ["session", "close", "RSI", "volume, millions"], rows);
}
