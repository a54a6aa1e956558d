// Periodic loading while a page is shown.

import { loading, problemState } from "./states.js";

export class Poll {
  /** Every `everyMs` milliseconds, `draw` shows the result of `load(signal)` in `place`. */
  constructor(place, everyMs, load, draw) {
    Object.assign(this, { place, everyMs, load, draw, paused: false, refused: false, request: null, lastError: "" });
  }

  show() {
    if (!this.place.hasChildNodes()) this.place.append(loading("loading"));
    this.reload();
    this.timer = setInterval(() => this.idle() || this.reload(), this.everyMs);
  }

  hide() {
    clearInterval(this.timer);
    this.request?.abort();
  }

  idle() {
    return this.paused || this.refused || document.hidden || this.request !== null;
  }

  async reload() {
    this.request?.abort();
    const own = (this.request = new AbortController());
    try {
      const answer = await this.load(own.signal);
      this.refused = false;
      this.lastError = "";
      this.draw(answer);
    } catch (error) {
      if (own.signal.aborted) return;
      this.refused = error.document?.status < 500; // the same request would fail again
      if (this.lastError === String(error)) return;
      this.lastError = String(error);
      this.place.replaceChildren(problemState(error, () => this.refresh()));
    } finally {
      if (this.request === own) this.request = null;
    }
  }

  refresh() {
    this.lastError = "";
    return this.reload();
  }
}
