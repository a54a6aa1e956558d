// What is asked for again and again while its page is shown.

import { failed, loading } from "./states.js";

export class Poll {
  /** `ask(signal)` gives what `draw` is to show in `place`, every so many milliseconds. */
  constructor(place, everyMs, ask, draw) {
    Object.assign(this, { place, everyMs, ask, draw, paused: false, refused: false, asking: null, said: "" });
  }

  show() {
    if (!this.place.hasChildNodes()) this.place.append(loading("adding up"));
    this.renew();
    this.timer = setInterval(() => this.idle() || this.renew(), this.everyMs);
  }

  hide() {
    clearInterval(this.timer);
    this.asking?.abort();
  }

  idle() {
    return this.paused || this.refused || document.hidden || this.asking !== null;
  }

  async renew() {
    this.asking?.abort();
    const own = (this.asking = new AbortController());
    try {
      const answer = await this.ask(own.signal);
      this.refused = false;
      this.said = "";
      this.draw(answer);
    } catch (error) {
      if (own.signal.aborted) return;
      this.refused = error.document?.status < 500; // asking the same again would not help
      if (this.said === String(error)) return;
      this.said = String(error);
      this.place.replaceChildren(failed(error, () => this.again()));
    } finally {
      if (this.asking === own) this.asking = null;
    }
  }

  again() {
    this.said = "";
    return this.renew();
  }
}
