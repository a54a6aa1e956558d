// SVG charts, redrawn when their width changes.

import { h, svg } from "./dom.js";
import { NONE, number } from "./format.js";

const TOP = 10;
const BOTTOM = 26;
const HEIGHT = 230;
const CHARACTER = 6.7; // pixels: an upper bound of a digit's width in the chart's font

let chartCount = 0;

/** Return an element with the result of `draw(width in pixels)`. `title` and `text` describe it for screen readers. */
function chart({ title, text }, height, draw) {
  const id = `chart-${(chartCount += 1)}`;
  const element = h("div", { class: "chart" });
  const redraw = () => {
    const width = Math.floor(element.clientWidth);
    if (!width) return;
    element.replaceChildren(
      svg(
        "svg",
        { role: "img", "aria-labelledby": `${id}-title ${id}-text`, viewBox: `0 0 ${width} ${height}`, height },
        svg("title", { id: `${id}-title` }, title),
        svg("desc", { id: `${id}-text` }, text),
        draw(width),
      ),
    );
  };
  element.style.minHeight = `${height}px`;
  new ResizeObserver(redraw).observe(element);
  return element;
}

/** The legend: the color and the name of each series. */
export function legend(names) {
  return h("div", { class: "legend", "aria-hidden": "true" }, names.map((name) => h("span", { "data-series": name }, h("i", { class: "dot" }), name)));
}

/** Draw the points of each series as dots, and its line. Both are [x, value] pairs; x is milliseconds since 1970 unless
 * `xTicks` computes other ticks. */
export function lineChart({ title, text, series, format, logarithmic = false, xTicks = timeTicks }) {
  const all = series.flatMap(({ points, line }) => [...points, ...line]);
  const [first, last] = extent(all.map(([x]) => x));
  const values = all.map(([, value]) => value);
  const ticks = logarithmic ? decades(values) : steps(0, Math.max(...values));
  const low = ticks[0];
  const high = ticks.at(-1);
  const height = (value) => (logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  return chart({ title, text }, HEIGHT, (width) => {
    const left = 10 + CHARACTER * Math.max(...ticks.map((tick) => format(tick).length));
    const x = (at) => left + ((at - first) / (last - first || 1)) * (width - left - 14);
    const y = (value) => HEIGHT - BOTTOM - height(value) * (HEIGHT - TOP - BOTTOM);
    return [
      ticks.map((tick) => [
        svg("line", { class: "grid-line", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
        svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, format(tick)),
      ]),
      xTicks(first, last, width - left).map(({ at, label, anchor }) =>
        svg("text", { x: x(at), y: HEIGHT - 6, "text-anchor": anchor }, label),
      ),
      series.map(({ name, points: own }) =>
        svg("g", { "data-series": name }, own.map(([at, value]) => svg("circle", { class: "point", cx: x(at), cy: y(value), r: 2.6 }))),
      ),
      series.map(({ name, line }) =>
        svg(
          "g",
          { "data-series": name },
          svg("polyline", { class: "line", points: line.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }),
        ),
      ),
    ].flat(3);
  });
}

/** Draw groups of bars, one bar per series; null is shown as unknown. */
export function barChart({ title, text, groups, format }) {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value)).filter((value) => value !== null);
  const most = Math.max(...values, 0) || 1;
  const thick = 15;
  const row = (group) => group.bars.length * (thick + 4) + 14;
  const height = groups.reduce((sum, group) => sum + row(group), 0);
  return chart({ title, text }, height, (width) => {
    const left = 14 + CHARACTER * Math.max(...groups.map(({ label }) => label.length));
    const right = 12 + CHARACTER * Math.max(...values.map((value) => format(value).length), 1);
    let top = 0;
    return groups.flatMap((group) => {
      const start = top;
      top += row(group);
      return [
        svg("text", { x: 0, y: start + (row(group) - 14) / 2 + 4 }, group.label),
        ...group.bars.flatMap(({ name, value }, at) => {
          const y = start + at * (thick + 4);
          const length = value === null ? 0 : Math.max(1, (value / most) * (width - left - right));
          return svg(
            "g",
            { "data-series": name },
            svg("rect", { class: "bar", x: left, y, width: length, height: thick, rx: 3 }),
            svg("text", { class: "value", x: left + length + 7, y: y + thick - 3.5 }, value === null ? NONE : format(value)),
          );
        }),
      ];
    });
  });
}

/** Return the running median over `about` points on either side. */
export function runningMedian(points, about) {
  return points.map(([time], at) => {
    const near = points.slice(Math.max(0, at - about), at + about + 1).map(([, value]) => value).sort((a, b) => a - b);
    return [time, near[near.length >> 1]];
  });
}

const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

/** Return about four round values from low to at least high. */
function steps(low, high) {
  const rough = (high - low || 1) / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 2.5, 5, 10].find((factor) => factor * size >= rough);
  return Array.from({ length: Math.ceil((high - low) / step - 1e-9) + 1 || 2 }, (_, at) => low + at * step);
}

/** Return the powers of ten around the positive values. */
function decades(values) {
  const [low, high] = extent(values.filter((value) => value > 0));
  const first = Math.floor(Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)));
  return Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at));
}

/** Return the time ticks of a chart of this width in pixels, with their labels. */
function timeTicks(first, last, width) {
  const days = last - first > 36 * 3600e3;
  const label = (time) =>
    new Date(time).toLocaleString("en-GB", days ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", ...(last - first < 600e3 ? { second: "2-digit" } : {}) });
  const ticks = Math.max(2, Math.min(6, Math.floor(width / 110)));
  return Array.from({ length: ticks }, (_, at) => {
    const time = first + (at / (ticks - 1)) * (last - first);
    return { at: time, label: label(time), anchor: at === 0 ? "start" : at === ticks - 1 ? "end" : "middle" };
  });
}

/** Return a function that computes ticks of amounts, the last with its unit. */
export function amountTicks(unit) {
  return (first, last) =>
    steps(first, last)
      .filter((at) => at <= last)
      .map((at, place, all) => {
        const end = place === all.length - 1;
        return { at, label: end ? `${number(at)} ${unit}` : number(at), anchor: place === 0 ? "start" : end ? "end" : "middle" };
      });
}
