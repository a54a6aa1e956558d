// The address of the Ask page: after "#ask?", the question in the form or the id of a stored answer.

/** Return the page and its parameters. */
export function read() {
  const [page, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  return { page, parameters: new URLSearchParams(query) };
}

export const link = (parameters) => `#ask?${new URLSearchParams(parameters)}`;

/** Replace the address without a new entry in the browser's history. */
export function write(parameters) {
  history.replaceState(null, "", link(parameters));
}
