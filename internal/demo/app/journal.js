import { element } from "./element.js";

// What an event is called, and how it is coloured.
const said = {
  login_started: ["Sign-in started", ""],
  login: ["Signed in", "good"],
  login_failed: ["Sign-in refused", "bad"],
  registered: ["Account made", "good"],
  changed: ["Account changed", ""],
  logout: ["Signed out", ""],
  replaced: ["Older session replaced", ""],
  ended: ["Session ended", ""],
  renewed: ["Access token renewed", "turn"],
  renewal_failed: ["Renewal failed", "bad"],
  rotated: ["Ticket rotated", "turn"],
  theft: ["Stolen ticket: session ended", "bad"],
  refused: ["Request refused", "bad"],
  revoked: ["Tokens revoked", ""],
  revoke_failed: ["Tokens could not be revoked", "bad"],
};
const explained = {
  login_started: "the browser was sent to the provider",
  login: "tokens stored, the browser got a ticket",
  renewed: "new tokens are in the store",
  rotated: "the browser gets a new ticket, the old one goes out of date",
  logout: "the session is gone from the store",
  revoked: "the provider forgot the refresh token",
  cross_site: "it came from another site",
};
// The same where the gateway has the accounts itself, and there is no provider.
const explainedOwn = {
  ...explained,
  login_started: "the browser was shown the gateway's own page",
  login: "the gateway signed a token and stored it, the browser got a ticket",
  registered: "its password, if there is one, is kept as a hash",
  renewed: "the gateway signed a new one, it is in the store",
  revoked: "the gateway takes the access token no more",
};
const most = 100;

/** Shows what the gateway and the provider do, as it happens. */
export function startJournal({ seen }) {
  const list = document.getElementById("journal");
  const live = document.getElementById("live");
  const counts = new Map();
  const begun = Date.now();
  let source;
  let last = 0;

  function open() {
    source = new EventSource(`/demo/events?after=${last}`);
    source.onopen = () => set(true);
    source.onerror = () => set(false);
    source.onmessage = take;
  }

  function take({ data, lastEventId }) {
    const event = JSON.parse(data);
    last = lastEventId;
    const key = `${event.from} ${event.action}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const fresh = Date.parse(event.time) > begun - 1000;
    list.prepend(row(event, fresh));
    while (list.children.length > most) list.lastElementChild.remove();
    if (fresh) seen(event);
  }

  function set(on) {
    live.textContent = on ? "live" : "reconnecting";
    live.classList.toggle("on", on);
  }

  // A hidden tab gives its connection back: a browser has six for one host, and people open many tabs here.
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (!document.hidden) open();
  });
  open();
  return { count: (from, action) => counts.get(`${from} ${action}`) ?? 0 };
}

function row({ time, from, action, reason, session, own }, fresh) {
  const provider = from === "provider";
  const [name, kind] = said[action] ?? [action[0].toUpperCase() + action.slice(1), ""];
  const words = own ? explainedOwn : explained;
  const why = [words[reason] ?? (reason || words[action]), session && `session ${session}`].filter(Boolean).join(" · ");
  return element("li", { class: `${kind}${fresh ? " new" : ""}` },
    element("time", { datetime: time }, new Date(time).toLocaleTimeString()),
    element("span", { class: "said" }, element("b", {}, name), " ", element("span", { class: "from" }, provider ? "provider" : "gateway")),
    ...(why ? [element("span", { class: "why" }, why)] : []),
  );
}
