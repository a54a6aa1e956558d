// The API key: requested once and stored only in this tab's session storage.

import { byId } from "./dom.js";

const NAME = "conviction.key";
let pending = null;

export const key = () => sessionStorage.getItem(NAME);

/** Request a key from the user. Resolves to whether one was entered; concurrent callers share the dialog. */
export function requestKey(reason) {
  pending ??= show(reason).finally(() => (pending = null));
  return pending;
}

function forget() {
  sessionStorage.removeItem(NAME);
}

function show(reason) {
  const dialog = byId("key-dialog");
  byId("key-title").textContent = key() ? "API key" : "An API key is required";
  byId("key-reason").textContent = reason;
  byId("key-forget").hidden = !key();
  byId("key-input").value = "";
  byId("key-input").removeAttribute("aria-invalid");
  dialog.showModal();
  return new Promise((resolve) => {
    let entered = false;
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const typed = byId("key-input").value.trim();
      if (!/^[\x21-\x7e]+$/.test(typed)) {
        byId("key-reason").textContent = "A key consists of letters, digits and punctuation, without spaces.";
        byId("key-input").setAttribute("aria-invalid", "true");
        byId("key-input").focus();
        return;
      }
      sessionStorage.setItem(NAME, typed);
      entered = true;
      dialog.close();
    };
    byId("key-cancel").onclick = () => dialog.close();
    byId("key-forget").onclick = () => {
      forget();
      dialog.close();
    };
    dialog.addEventListener("close", () => resolve(entered), { once: true });
  });
}
