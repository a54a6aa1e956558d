// The address of the Ask page: after "#ask?", the question in the form or the id of a stored answer.

/** Return the page and its parameters. */
export function read() {
  const [page, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  return { page, parameters: new URLSearchParams(query) };
}

export const link = (parameters) => `#ask?${new URLSearchParams(parameters)}`;

/**
 * Replace the address of the Ask page without a new entry in the browser's history.
 *
 * The address may name another page already: the event that shows a page comes after the change of the address.
 */
export function write(parameters) {
  const { page } = read();
  if (page !== "ask" && document.getElementById(page)?.hasAttribute("data-page")) return;
  history.replaceState(null, "", link(parameters));
}
