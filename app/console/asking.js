// Asking: a card for each backend, and what comes of it, whole or as it is written.

import { call, events, postJson, Problem } from "./api.js";

/** One backend's answer in its card, as it is written. `failed(card, error)` shows what went wrong. */
export async function stream(request, backend, card, signal, failed) {
  try {
    const response = await call("v1/recommendations", {
      method: "POST",
      body: { ...request, stream: true },
      headers: { "X-Backend": backend },
      signal,
    });
    for await (const { event, data } of events(response)) {
      if (event === "analysis") card.tell(data.delta);
      else if (event === "recommendation") return card.answer(data);
      else if (event === "error") throw new Problem(data);
    }
    throw new Problem({ title: "No answer", detail: "The stream ended before the answer." });
  } catch (error) {
    ended(card, signal, error, failed);
  }
}

/** A card whose work ended otherwise than with an answer. */
function ended(card, signal, error, failed) {
  if (signal.aborted) card.stop();
  else failed(card, error);
}

/** Both at once, kept as a pair; one's failure leaves the other's answer standing. Whether it is stored; null where there is none. */
export async function compare(request, cards, signal, failed) {
  let pair;
  try {
    pair = await postJson("v1/comparisons", request, { signal });
  } catch (error) {
    for (const card of cards.values()) ended(card, signal, error, failed);
    return null;
  }
  for (const [name, card] of cards) {
    const { answer, problem, invented } = pair.sides[name];
    if (answer) card.answer(answer, invented);
    else ended(card, signal, new Problem(problem), failed);
  }
  return pair.stored;
}
