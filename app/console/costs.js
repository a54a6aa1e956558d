// The Costs page: the gateway's cost figures with their formulas.

import { getJson } from "./api.js";
import { amountTicks, legend, lineChart } from "./charts.js";
import { byId, h } from "./dom.js";
import { clock, count, NONE, number, roundUsd, usd } from "./format.js";
import { Poll } from "./poll.js";
import { recordStandIn } from "./stand_in.js";
import { empty } from "./states.js";

const GROUPS = [
  ["hosted", "Hosted: mistral", "paid by the hour, used or not"],
  ["api", "API: gpt-4", "paid by the token, at list price"],
  ["break_even", "Break-even", "calls per hour above which hosting costs less"],
  ["case_study", "Case study", "the published figures, for comparison"],
];
const TITLES = {
  usd_per_hour: "Hourly cost",
  usd_per_1k_tokens_at_present_use: "At present use",
  usd_per_1k_tokens_at_capacity: "At capacity",
  usd_per_call_at_200_calls_an_hour: "At 200 calls per hour",
  usd_per_1k_input_tokens: "Input",
  usd_per_1k_cached_input_tokens: "Cached input",
  usd_per_1k_output_tokens: "Output",
  usd_per_call_at_present_use: "Per call, at present use",
  calls_per_hour_at_present_use: "At the last hour's calls",
  calls_per_hour_at_the_case_study_price: "At GPT-4's published price",
  api_usd_per_1k_tokens: "GPT-4",
  break_even_calls_per_hour: "Break-even",
};

let lastDrawn = "";
const poll = new Poll(byId("figures"), 10000, (signal) => getJson("v1/costs", signal), draw);

export const show = () => poll.show();
export const hide = () => poll.hide();

function draw({ at, ...costs }) {
  byId("costs-updated").textContent = `as of ${clock(new Date(at))}`;
  if (JSON.stringify(costs) === lastDrawn && byId("figures").querySelector(".cards")) return;
  lastDrawn = JSON.stringify(costs);
  for (const [name, model] of Object.entries(costs.models)) recordStandIn({ name, model });
  byId("figures").replaceChildren(
    h(
      "div",
      { class: "cards" },
      GROUPS.map(([name, title, note]) => group(title, note, costs[name])),
      breakEven(costs),
      usage(costs),
    ),
  );
}

function card(title, note, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title, note ? h("small", {}, note) : null), ...content);
}

function group(title, note, figures) {
  if (!figures) return card(title, note, h("p", { class: "muted" }, "Not configured."));
  return card(title, note, h("dl", { class: "cost-figures" }, Object.entries(figures).map(([name, figure]) => costFigure(TITLES[name] ?? name.replaceAll("_", " "), figure))));
}

function costFigure(title, { value, unit, formula }) {
  const money = unit.startsWith("USD ");
  const shown = value === null ? NONE : money ? usd(value) : number(Number(value));
  return h(
    "div",
    {},
    h("dt", {}, title),
    h("dd", { class: "value" }, shown, h("small", {}, ` ${money ? unit.slice(4) : unit}`)),
    h("dd", { class: "formula" }, `= ${formula}`),
  );
}

/** The cost of an hour by its calls: constant when hosted, rising with the API. */
function breakEven({ hosted, api, break_even: even }) {
  const present = api?.usd_per_call_at_present_use.value;
  const crossing = even && Number(present ? even.calls_per_hour_at_present_use.value : even.calls_per_hour_at_the_case_study_price.value);
  if (!hosted || !crossing) return null;
  const hourly = Number(hosted.usd_per_hour.value);
  const end = 2 * crossing;
  const series = [
    { name: "mistral", points: [], line: [[0, hourly], [end, hourly]] },
    { name: "gpt-4", points: [], line: [[0, 0], [end, 2 * hourly]] },
  ];
  const text = `Hosting costs ${usd(hourly)} per hour; the API costs as much at ${number(crossing)} calls per hour.`;
  return card(
    "Cost of an hour, by calls",
    "USD",
    legend(series.map(({ name }) => name)),
    lineChart({ title: "Cost of an hour by calls", text, series, format: roundUsd, xTicks: amountTicks("calls") }),
    h("p", { class: "formula" }, present ? `The API line uses the last hour's cost per call. ${text}` : `The API line uses GPT-4's published price. ${text}`),
  );
}

function usage({ use, models }) {
  const rows = Object.entries(use);
  if (rows.every(([, { requests }]) => requests === 0)) {
    return h("div", { class: "card" }, h("h2", {}, "The last hour"), empty("No calls in the last hour", h("p", {}, "Figures at present use are computed from the last hour's calls.")));
  }
  const cells = ({ requests, input_tokens: tokensIn, cached_input_tokens: cached, output_tokens: out, nano_usd: nano }) =>
    [count(requests), count(tokensIn), count(cached), count(out), usd(nano / 1e9)].map((text) => h("td", {}, text));
  return card(
    "The last hour",
    "completed calls of all gateways",
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Use in the last hour" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Backend", "Calls", "Input", "Cached", "Output", "Cost"].map((title) => h("th", { scope: "col" }, title)))),
        h("tbody", {}, rows.map(([name, of]) => h("tr", {}, h("th", { scope: "row", "data-series": name, title: models[name] ?? "" }, h("i", { class: "dot" }), name), cells(of)))),
      ),
    ),
    h("p", { class: "formula" }, "Tokens; input without cached input. Costs as stated in the answers."),
  );
}
