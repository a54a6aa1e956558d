// Sends a question and shows the answer, whole or while it is written, in the card of each backend.

import { call, events, postJson, Problem } from "./api.js";
import { recordStandIn } from "./stand_in.js";

/** Stream one backend's answer into its card. `onError(card, error)` shows an error. */
export async function stream(request, backend, card, signal, onError) {
  try {
    const response = await call("v1/recommendations", {
      method: "POST",
      body: { ...request, stream: true },
      headers: { "X-Backend": backend },
      signal,
    });
    for await (const { event, data } of events(response)) {
      if (event === "decision") card.decide(data);
      else if (event === "analysis") card.append(data.delta);
      else if (event === "recommendation") return show(card, data);
      else if (event === "error") throw new Problem(data);
    }
    throw new Problem({ title: "No answer", detail: "The stream ended before the answer." });
  } catch (error) {
    end(card, signal, error, onError);
  }
}

function show(card, answer, invented) {
  recordStandIn(answer);
  card.answer(answer, invented);
}

/** End a card without an answer. */
function end(card, signal, error, onError) {
  if (signal.aborted) card.stop();
  else onError(card, error);
}

/** Ask both backends and store the pair; if one fails, the other's answer is still shown. Return whether the pair is stored, null without a pair. */
export async function compare(request, cards, signal, onError) {
  let pair;
  try {
    pair = await postJson("v1/comparisons", request, { signal });
  } catch (error) {
    for (const card of cards.values()) end(card, signal, error, onError);
    return null;
  }
  for (const [name, card] of cards) {
    const { answer, problem, invented } = pair.sides[name];
    if (answer) show(card, answer, invented);
    else end(card, signal, new Problem(problem), onError);
  }
  return pair.stored;
}
