import { element } from "./element.js";

const $ = (id) => document.getElementById(id);
const pretty = (value) => JSON.stringify(value, null, 2);

/** Puts the API's answers on the page, all fetched through the client. */
export function startApi(client) {
  let paused = false;

  async function ask(path, init) {
    const response = await client.fetch(path, init);
    const body = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, body };
  }

  const post = (path, body) =>
    ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

  async function me() {
    const { status, body, ok } = await ask("/api/me");
    $("me").textContent = ok ? pretty(body) : `${status}\n${pretty(body)}`;
  }

  async function notes() {
    const { ok, body } = await ask("/api/notes");
    if (!ok) return;
    const rows = body.notes.toReversed().map(({ text, at }) =>
      element("li", {}, text, element("time", { datetime: at }, new Date(at).toLocaleTimeString())));
    $("notes").replaceChildren(...(rows.length ? rows : [element("li", { class: "none" }, "No notes yet.")]));
  }

  const load = () => Promise.all([me(), notes()]).catch(() => {});

  $("note-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { ok } = await post("/api/notes", { text: $("note").value }).catch(() => ({ ok: false }));
    if (ok) event.target.reset();
    await notes().catch(() => {});
  });

  $("query-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { body } = await post("/api/graphql", { query: $("query").value }).catch((error) => ({ body: String(error) }));
    $("query-answer").textContent = pretty(body);
    $("query-answer").hidden = false;
  });

  let stream; // what ends it
  function stop() {
    stream?.abort();
    stream = undefined;
    $("clock").textContent = "off";
    $("stream").textContent = "Start the stream";
    $("stream").setAttribute("aria-pressed", "false");
  }
  $("stream").addEventListener("click", async () => {
    if (stream) return stop();
    const mine = (stream = new AbortController());
    $("stream").textContent = "Stop the stream";
    $("stream").setAttribute("aria-pressed", "true");
    // Read by fetch: an EventSource could not bring a bearer, where the API wants one from the page.
    await tick(await client.fetch("/api/events", { signal: mine.signal }).catch(() => {})).catch(() => {});
    if (stream === mine) stop();
  });

  async function tick(response) {
    if (!response?.ok) return;
    let text = "";
    for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (text += value).split("\n\n");
      text = events.pop();
      for (const event of events) $("clock").textContent = new Date(JSON.parse(event.slice(6)).time).toLocaleTimeString();
    }
  }

  // The form goes out as it is, unless the gateway wants of it what only script can add.
  let plain = true;
  $("email-form").addEventListener("submit", async (event) => {
    if (plain) return;
    event.preventDefault();
    const { ok } = await client.fetch("/api/email", { method: "POST", body: new URLSearchParams(new FormData(event.target)) }).catch(() => ({}));
    saved(ok ? "Saved." : "That was not saved.", ok);
    if (ok) await me().catch(() => {});
  });

  function saved(text, good = true) {
    $("email-saved").textContent = text;
    $("email-saved").className = `result ${good ? "good" : "bad"}`;
    $("email-saved").hidden = false;
  }

  function suit({ delivery, csrf_token }) {
    const csrf = $("csrf").value;
    plain = delivery !== "memory" && csrf !== "header";
    $("email-form").elements._csrf.value = csrf_token ?? "";
    $("email-form").elements._csrf.disabled = !csrf_token;
    $("email-text").textContent =
      !plain ? "Sent by script: a plain form could not bring what is wanted here."
      : csrf_token ? "A plain HTML form with the session's CSRF token in a hidden field, sent by the browser itself."
      : "A plain HTML form, sent by the browser itself without any script.";
  }

  setInterval(() => {
    if ($("keep").checked && !paused && !$("me").closest("section").hidden && !document.hidden) me().catch(() => {});
  }, 4000);

  return { load, post, stop, suit, saved, pause: (on) => (paused = on) };
}
