// Asking the gateway: JSON, server-sent events, and problems (RFC 9457) as errors.

import { askForKey, key } from "./keys.js";

/** What the gateway said was wrong, or that it said nothing. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title);
    this.document = document;
  }
}

/** The response to a request; raises `Problem`. Asks for a key where one is needed, and then again. */
export async function call(path, { method = "GET", body, headers = {}, signal } = {}) {
  for (;;) {
    const used = key();
    const response = await sent(path, {
      method,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(used ? { Authorization: `Bearer ${used}` } : {}),
        ...headers,
      },
    });
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw problem;
    const newer = key() !== used && key() !== null;
    if (!newer && !(await askForKey(used ? "This gateway does not know the key, or no longer." : "This gateway answers holders of a key."))) {
      throw problem;
    }
  }
}

export async function getJson(path, signal) {
  return (await call(path, { signal })).json();
}

export async function postJson(path, body, { headers, signal } = {}) {
  return (await call(path, { method: "POST", body, headers, signal })).json();
}

/** The events of a stream, each as { event, data }; raises `Problem` where the connection breaks. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (held + value).split("\n\n");
      held = blocks.pop();
      for (const block of blocks) yield parsed(block);
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable("The connection broke off before the answer was whole.");
  } finally {
    reader.releaseLock();
  }
}

function parsed(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
  return { event: fields.event, data: JSON.parse(fields.data) };
}

async function sent(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable("Nothing answers at this address. Does it still run?");
  }
}

async function problemOf(response) {
  const after = Number(response.headers.get("Retry-After")) || undefined;
  const said = { title: `HTTP ${response.status}`, status: response.status, request_id: response.headers.get("X-Request-Id") };
  try {
    return new Problem({ retry_after: after, ...said, ...(await response.json()) });
  } catch {
    return new Problem({ retry_after: after, ...said, detail: "It came without an explanation." });
  }
}

function unreachable(detail) {
  return new Problem({ title: "The gateway cannot be reached", detail });
}
