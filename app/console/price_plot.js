// The two plots of a price history: closes with averages, pivots and volume, and the RSI below. The library draws them.

import { roundUsd } from "./format.js";

export const PRICES = ["close", "SMA_20", "SMA_50", "SMA_200", "EMA_50"];
export const LEVELS = ["PIVOT", "R1", "R2", "S1", "S2"];
export const RSI = "RSI_14";

const HEIGHTS = [280, 140];
const AXIS = 58; // pixels of the vertical axis, equal in both plots so that their sessions are aligned
const ROOM = 0.02; // of the period, behind the as-of bar
const LEVEL_SESSIONS = 42; // the pivots are drawn through the last sessions only: they are levels of the as-of bar
const DASHES = { SMA_50: [6, 3], SMA_200: [2, 3], EMA_50: [9, 3, 2, 3] };
const HIDDEN = { show: false };

/** Draw both plots into `place`. `colour(name)` returns a color, `onHover(index)` gets a session or null. */
export function plots(uPlot, place, history, colour, onHover) {
  const { dates, closes, volumes, indicators, levels } = history;
  const times = dates.map((day) => Date.parse(day) / 1000);
  const flat = LEVELS.filter((name) => name in levels);
  const first = Math.max(0, dates.length - LEVEL_SESSIONS);
  const averages = PRICES.slice(1).map((name) => indicators[name]);
  const pivots = flat.map((name) => dates.map((_, at) => (at < first ? null : levels[name])));
  const shared = options(uPlot, times, colour, onHover);
  const price = {
    ...shared,
    height: HEIGHTS[0],
    padding: [12, 10, 0, 0],
    scales: { x: shared.scales.x, y: { range: aboveVolume }, volume: { range: (_, __, high) => [0, 5 * (high || 1)] } },
    axes: [axis(colour, { size: 6, values: (_, ticks) => ticks.map(() => "") }), axis(colour, { size: AXIS, values: (_, ticks) => ticks.map(roundUsd) })],
    series: [
      {},
      { scale: "volume", fill: () => colour("volume"), width: 0, paths: uPlot.paths.bars({ size: [0.7, 6] }), points: HIDDEN },
      ...flat.map(() => line(() => colour("pivots"), 1, [3, 3])),
      ...PRICES.map((name) => line(() => colour(name), name === "close" ? 2 : 1.25, DASHES[name])),
    ],
    hooks: { ...shared.hooks, draw: [(plot) => markClose(plot, times.at(-1), closes.at(-1), colour)] },
  };
  const rsi = {
    ...shared,
    height: HEIGHTS[1],
    padding: [8, 10, 0, 0],
    scales: { x: shared.scales.x, y: { range: [0, 100] } },
    axes: [axis(colour, { space: 70 }), axis(colour, { size: AXIS, splits: () => [30, 50, 70] })],
    series: [{}, line(() => colour(RSI), 1.5)],
    hooks: { ...shared.hooks, draw: [(plot) => markClose(plot, times.at(-1), indicators[RSI].at(-1), colour)] },
  };
  return [
    new uPlot(price, [times, volumes, ...pivots, closes, ...averages], place),
    new uPlot(rsi, [times, indicators[RSI]], place),
  ];
}

export const resize = (drawn, width) => drawn.forEach((plot, at) => plot.setSize({ width, height: HEIGHTS[at] }));

/** Place the cursors of the plots at a session, without calling `onHover`. */
export function point(drawn, index) {
  for (const plot of drawn) plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: 0 }, false);
}

function options(uPlot, times, colour, onHover) {
  const room = ROOM * (times.at(-1) - times[0]) || 86400;
  return {
    width: 100,
    tzDate: (time) => uPlot.tzDate(new Date(1000 * time), "Etc/UTC"),
    legend: HIDDEN,
    cursor: { y: false, drag: { x: false, y: false }, points: HIDDEN },
    scales: { x: { range: [times[0], times.at(-1) + room] } },
    hooks: { setCursor: [({ cursor: { left, idx } }) => onHover(left < 0 ? null : idx)] },
  };
}

/** Return the range of prices that leaves the lowest quarter to the volume. */
function aboveVolume(_, low, high) {
  const size = high - low || high;
  return [Math.max(0, low - 0.3 * size), high + 0.05 * size];
}

function line(stroke, width, dash) {
  return { stroke, width, dash, points: HIDDEN };
}

function axis(colour, more) {
  return { stroke: () => colour("text"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: HIDDEN, font: "12px system-ui, sans-serif", ...more };
}

/** Mark the as-of bar with a vertical line and its value with a dot. */
function markClose(plot, time, value, colour) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  const left = Math.round(plot.valToPos(time, "x", true));
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("text");
  ctx.lineWidth = scale;
  ctx.beginPath();
  ctx.moveTo(left, bbox.top);
  ctx.lineTo(left, bbox.top + bbox.height);
  ctx.stroke();
  if (value !== null) {
    ctx.beginPath();
    ctx.arc(left, plot.valToPos(value, "y", true), 4 * scale, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}
