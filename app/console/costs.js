// The page that costs: each figure under its own name, with its formula, as the gateway gives them.

import { getJson } from "./api.js";
import { amounts, legend, lineChart } from "./charts.js";
import { byId, h } from "./dom.js";
import { clock, count, NONE, number, roundUsd, usd } from "./format.js";
import { Poll } from "./poll.js";
import { seen } from "./stand_in.js";
import { empty } from "./states.js";

const GROUPS = [
  ["hosted", "Hosted: mistral", "paid by the hour, whether or not it is asked"],
  ["api", "API: gpt-4", "paid by the token, at list price"],
  ["break_even", "Break-even", "from so many calls an hour on, hosting costs less"],
  ["case_study", "The case study's", "the published figures, for comparison"],
];
const TITLES = {
  usd_per_hour: "The bill",
  usd_per_1k_tokens_at_present_use: "At present use",
  usd_per_1k_tokens_at_capacity: "At capacity",
  usd_per_call_at_200_calls_an_hour: "At 200 calls an hour",
  usd_per_1k_input_tokens: "Input",
  usd_per_1k_cached_input_tokens: "Cached input",
  usd_per_1k_output_tokens: "Output",
  usd_per_call_at_present_use: "A call, at present use",
  calls_per_hour_at_present_use: "At the last hour's calls",
  calls_per_hour_at_the_case_study_price: "At GPT-4's published price",
  api_usd_per_1k_tokens: "GPT-4",
  break_even_calls_per_hour: "Break-even",
};

let drawn = "";
const poll = new Poll(byId("figures"), 10000, (signal) => getJson("v1/costs", signal), draw);

export const show = () => poll.show();
export const hide = () => poll.hide();

function draw({ at, ...costs }) {
  byId("costs-updated").textContent = `as of ${clock(new Date(at))}`;
  if (JSON.stringify(costs) === drawn && byId("figures").querySelector(".cards")) return;
  drawn = JSON.stringify(costs);
  for (const [name, model] of Object.entries(costs.models)) seen({ name, model });
  byId("figures").replaceChildren(
    h(
      "div",
      { class: "cards" },
      GROUPS.map(([name, title, said]) => group(title, said, costs[name])),
      breakEven(costs),
      used(costs),
    ),
  );
}

function card(title, said, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title, said ? h("small", {}, said) : null), ...content);
}

function group(title, said, figures) {
  if (!figures) return card(title, said, h("p", { class: "muted" }, "Not set up here."));
  return card(title, said, h("dl", { class: "reckoned" }, Object.entries(figures).map(([name, figure]) => reckoned(TITLES[name] ?? name.replaceAll("_", " "), figure))));
}

function reckoned(title, { value, unit, formula }) {
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

/** What an hour costs by the calls in it: the host's level line, and the API's, that rises. */
function breakEven({ hosted, api, break_even: even }) {
  const present = api?.usd_per_call_at_present_use.value;
  const crossing = even && Number(present ? even.calls_per_hour_at_present_use.value : even.calls_per_hour_at_the_case_study_price.value);
  if (!hosted || !crossing) return null;
  const bill = Number(hosted.usd_per_hour.value);
  const end = 2 * crossing;
  const series = [
    { name: "mistral", points: [], line: [[0, bill], [end, bill]] },
    { name: "gpt-4", points: [], line: [[0, 0], [end, 2 * bill]] },
  ];
  const text = `Hosting costs ${usd(bill)} an hour; the API as much at ${number(crossing)} calls an hour.`;
  return card(
    "An hour, by the calls in it",
    "USD",
    legend(series.map(({ name }) => name)),
    lineChart({ title: "Cost of an hour by calls", text, series, format: roundUsd, across: amounts("calls") }),
    h("p", { class: "formula" }, present ? `The API at what a call cost in the last hour. ${text}` : `The API at GPT-4's published price. ${text}`),
  );
}

function used({ use, models }) {
  const rows = Object.entries(use);
  if (rows.every(([, { requests }]) => requests === 0)) {
    return h("div", { class: "card" }, h("h2", {}, "The last hour"), empty("Nothing was asked", h("p", {}, "Figures at present use need calls to be of.")));
  }
  const cells = ({ requests, input_tokens: tokensIn, cached_input_tokens: cached, output_tokens: out, nano_usd: nano }) =>
    [count(requests), count(tokensIn), count(cached), count(out), usd(nano / 1e9)].map((text) => h("td", {}, text));
  return card(
    "The last hour",
    "calls that ended, of all gateways",
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Use in the last hour" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["", "Calls", "Input", "Cached", "Output", "Cost"].map((title) => h("th", { scope: "col" }, title)))),
        h("tbody", {}, rows.map(([name, of]) => h("tr", {}, h("th", { scope: "row", "data-series": name, title: models[name] ?? "" }, h("i", { class: "dot" }), name), cells(of)))),
      ),
    ),
    h("p", { class: "formula" }, "Tokens; input without what was cached. Costs as answers state them."),
  );
}
