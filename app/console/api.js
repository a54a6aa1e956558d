// Requests to the gateway: JSON, server-sent events, and RFC 9457 problems as errors.

import { key, requestKey } from "./keys.js";

/** A problem document, or a failed connection. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title);
    this.document = document;
  }
}

/** Return the response to a request. Throws `Problem`. Without a valid key, it requests one, unless `asksKey` is false, and sends again. */
export async function call(path, { method = "GET", body, headers = {}, signal, asksKey = true } = {}) {
  for (;;) {
    const used = key();
    const response = await send(path, {
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
    if (response.status !== 401 || !asksKey) throw problem;
    const newer = key() !== used && key() !== null;
    if (!newer && !(await requestKey(used ? "This gateway does not know the key: it is wrong or revoked." : "This gateway requires an API key."))) {
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

/** Yield the events of a stream as { event, data }. Throws `Problem` if the connection breaks. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (buffer + value).split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) yield parseEvent(block);
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable("The connection broke before the answer was complete.");
  } finally {
    reader.releaseLock();
  }
}

function parseEvent(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
  return { event: fields.event, data: JSON.parse(fields.data) };
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable("No response from this address. Is the gateway running?");
  }
}

async function problemOf(response) {
  const after = Number(response.headers.get("Retry-After")) || undefined;
  const known = { title: `HTTP ${response.status}`, status: response.status, request_id: response.headers.get("X-Request-Id") };
  try {
    return new Problem({ retry_after: after, ...known, ...(await response.json()) });
  } catch {
    return new Problem({ retry_after: after, ...known, detail: "The response has no explanation." });
  }
}

function unreachable(detail) {
  return new Problem({ title: "The gateway cannot be reached", detail });
}
