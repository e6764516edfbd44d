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

  let stream;
  function stop() {
    stream?.close();
    stream = undefined;
    $("clock").textContent = "off";
    $("stream").textContent = "Start the stream";
    $("stream").setAttribute("aria-pressed", "false");
  }
  $("stream").addEventListener("click", () => {
    if (stream) return stop();
    stream = new EventSource("/api/events");
    stream.onmessage = ({ data }) => ($("clock").textContent = new Date(JSON.parse(data).time).toLocaleTimeString());
    stream.onerror = stop;
    $("stream").textContent = "Stop the stream";
    $("stream").setAttribute("aria-pressed", "true");
  });

  setInterval(() => {
    if ($("keep").checked && !paused && !$("me").closest("section").hidden && !document.hidden) me().catch(() => {});
  }, 4000);

  return { load, post, stop, pause: (on) => (paused = on) };
}
