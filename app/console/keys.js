// The key, where keys are on: asked for once, kept in this tab's session storage and nowhere else.

import { byId } from "./dom.js";

const NAME = "conviction.key";
let asking = null;

export const key = () => sessionStorage.getItem(NAME);

/** Asks for a key; true once there is one, false where it was not given. Whoever asks meanwhile gets the same answer. */
export function askForKey(reason) {
  asking ??= shown(reason).finally(() => (asking = null));
  return asking;
}

export function forget() {
  sessionStorage.removeItem(NAME);
}

function shown(reason) {
  const dialog = byId("key-dialog");
  byId("key-title").textContent = key() ? "The key" : "A key is needed";
  byId("key-reason").textContent = reason;
  byId("key-forget").hidden = !key();
  byId("key-input").value = "";
  byId("key-input").removeAttribute("aria-invalid");
  dialog.showModal();
  return new Promise((resolve) => {
    let given = false;
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const typed = byId("key-input").value.trim();
      if (!/^[\x21-\x7e]+$/.test(typed)) {
        byId("key-reason").textContent = "A key is made of letters, digits and signs, without blanks.";
        byId("key-input").setAttribute("aria-invalid", "true");
        byId("key-input").focus();
        return;
      }
      sessionStorage.setItem(NAME, typed);
      given = true;
      dialog.close();
    };
    byId("key-cancel").onclick = () => dialog.close();
    byId("key-forget").onclick = () => {
      forget();
      dialog.close();
    };
    dialog.addEventListener("close", () => resolve(given), { once: true });
  });
}
