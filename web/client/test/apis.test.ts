// @vitest-environment happy-dom
// What requests to APIs bring along, in every delivery and every way to prove that they were meant.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Client } from "../src/client.js";
import { startAPI, type API, type Gateway } from "./gateway.js";
import { back, base, gateway, left, lockManager, tab, until, visit } from "./page.js";

let api: API; // on another origin
beforeEach(async () => void (api = await startAPI()));
afterEach(() => api.close());

const post = (body: BodyInit = "milk"): RequestInit => ({ method: "POST", body });
const stream = (): RequestInit => ({ method: "POST", body: new Blob(["milk"]).stream(), duplex: "half" }) as RequestInit;

const deliveries = ["proxy", "cookie", "split", "memory"] as const;
const proofs = ["origin", "header", "token"] as const;
const modes = deliveries.flatMap((delivery) => proofs.map((csrf) => ({ delivery, csrf })));

describe.each(modes)("delivery $delivery, csrf $csrf: the page is the same", ({ delivery, csrf }) => {
  beforeEach(() => void Object.assign(gateway, { delivery, csrf }));

  test("claims, and no token", async () => {
    gateway.person = "ada";
    const session = await tab().session();
    expect(session).toMatchObject({ authenticated: true, user: { sub: "ada" } });
    expect(JSON.stringify(session)).not.toContain(gateway.token());
  });

  test("reads and writes, whether or not the page has asked who is signed in", async () => {
    gateway.person = "ada";
    for (const asked of [true, false]) {
      const client = tab();
      if (asked) await client.session();
      expect(await (await client.fetch("/api/me")).json()).toEqual({ person: "ada", body: "" });
      expect(await (await client.fetch("/api/notes", post())).json()).toEqual({ person: "ada", body: "milk" });
    }
    const first = tab();
    expect(await (await first.fetch("/api/notes", post())).json()).toEqual({ person: "ada", body: "milk" });
  });

  test("an access token that is over is renewed, and a write comes once", async () => {
    vi.stubGlobal("navigator", { locks: lockManager() });
    gateway.person = "ada";
    const client = tab();
    await client.session();
    await client.fetch("/api/me");
    gateway.access = 0;
    gateway.renewal++;
    expect(await (await client.fetch("/api/notes", post())).json()).toEqual({ person: "ada", body: "milk" });
    expect(gateway.count(`POST ${base}refresh`)).toBe(1);
  });

  test("a session that is over leads to the login, once", async () => {
    gateway.person = "ada";
    const client = tab();
    await client.session();
    await client.fetch("/api/me");
    gateway.person = undefined;
    const calls = [client.fetch("/api/a"), client.fetch("/api/b", post())];
    await until(() => expect(left()).toHaveLength(1));
    back();
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([401, 401]);
    expect(left()).toHaveLength(1);
  });

  test("who signed in anew goes on, and what another sent is not repeated", async () => {
    gateway.person = "ada";
    const client = tab();
    await client.session();
    await client.fetch("/api/me");
    gateway.login++; // ada, another session
    expect(await (await client.fetch("/api/notes", post())).json()).toEqual({ person: "ada", body: "milk" });
    gateway.person = "bob";
    const answer = await client.fetch("/api/notes", post("from ada's page"));
    if (csrf === "token" || delivery === "memory") expect(answer.ok).toBe(false);
    expect(gateway.count("POST /api/notes from")).toBe(1);
  });

  test("signing out", async () => {
    gateway.person = "ada";
    await tab().logout();
    expect(left()).toEqual(["/auth/logout?once=1"]);
    expect(gateway.person).toBeUndefined();
  });

  test("nothing of ours goes to a foreign origin", async () => {
    gateway.person = "ada";
    const client = tab();
    await client.session();
    document.cookie = "seen=1";
    for (const init of [{}, post()]) expect((await client.fetch(api.origin, init)).status).toBe(200);
    for (const name of ["authorization", "x-csrf-token", "cookie"]) expect(api.sent("", name)).toEqual([undefined, undefined]);
  });
});

describe("X-CSRF-Token", () => {
  test("writes bring the session's, reads what tells them from a link", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token" });
    const client = tab();
    await client.session();
    await client.fetch("/api/me");
    await client.fetch("/api/me", { method: "PUT" });
    expect(gateway.sent("GET", "x-csrf-token")).toEqual(["1", "1"]);
    expect(gateway.sent("PUT", "x-csrf-token")).toEqual([gateway.proof()]);
  });

  test("where there is no token, writes bring a constant", async () => {
    gateway.person = "ada";
    const client = tab();
    await client.session();
    await client.fetch("/api/notes", post());
    await client.logout();
    expect(gateway.sent("POST", "x-csrf-token")).toEqual(["1", "1"]);
  });

  test("one of another session: the gateway is asked once, and the write repeated once", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token" });
    const client = tab();
    await client.session();
    gateway.login++;
    gateway.log.length = gateway.headers.length = 0;
    expect((await client.fetch("/api/notes", post())).status).toBe(200);
    expect(gateway.log).toEqual(["POST /api/notes milk", `GET ${base}session`, "POST /api/notes milk"]);
  });

  test("of another person: the answer is passed on", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token" });
    const client = tab();
    const change = vi.fn();
    client.on("change", change);
    await client.session();
    Object.assign(gateway, { person: "bob", login: 2 });
    expect((await client.fetch("/api/notes", post())).status).toBe(403);
    expect(gateway.count("POST /api/notes")).toBe(1);
    expect(change).toHaveBeenCalledTimes(1);
  });

  test("refused though it is the session's: the answer is passed on", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token", proof: () => "1" });
    const client = tab();
    await client.session();
    gateway.proof = () => (gateway.log.at(-1)!.startsWith("GET") ? "1" : "another");
    expect((await client.fetch("/api/notes", post())).status).toBe(403);
    expect(gateway.count("POST")).toBe(1);
  });

  test("the API's own 403 asks nobody", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token" });
    const client = tab();
    await client.session();
    expect((await client.fetch("/api/forbidden", post())).status).toBe(403);
    expect(gateway.count(`GET ${base}session`)).toBe(1);
  });

  test("a stream has no second try: who is signed in is asked first", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token", delivery: "memory" });
    const sent: Request[] = [];
    const network = fetch;
    vi.stubGlobal("fetch", (input: Request, init?: RequestInit) => {
      if (!(input instanceof Request)) return network(input, init);
      sent.push(input); // happy-dom sends no streams
      return Promise.resolve(new Response());
    });
    await tab().fetch("/api/notes", stream());
    expect(sent.map(({ headers }) => headers.get("X-CSRF-Token"))).toEqual([gateway.proof()]);
    expect(sent.map(({ headers }) => headers.get("Authorization"))).toEqual([`Bearer ${gateway.token()}`]);
  });

  test("logout and renewal of a page that has another session's repeat once as well", async () => {
    Object.assign(gateway, { person: "ada", csrf: "token" });
    const client = tab();
    await client.session();
    gateway.login++;
    gateway.access = 0;
    expect((await client.fetch("/api/me")).status).toBe(200);
    expect(gateway.count(`POST ${base}refresh`)).toBe(1);
    gateway.login++;
    await client.logout();
    expect(gateway.count(`POST ${base}logout`)).toBe(2);
  });

  test("the page's own stays", async () => {
    gateway.person = "ada";
    await tab().fetch("/api/notes", { ...post(), headers: { "X-CSRF-Token": "the application's" } });
    expect(gateway.sent("POST", "x-csrf-token")).toEqual(["the application's"]);
  });
});

describe("memory", () => {
  const bearers = (start = "GET /api") => gateway.sent(start, "authorization");
  const signedIn = async (): Promise<Client> => {
    Object.assign(gateway, { person: "ada", delivery: "memory" });
    const client = tab();
    await client.session();
    return client;
  };

  test("M1 the first request that needs it has the token asked for", async () => {
    Object.assign(gateway, { person: "ada", delivery: "memory" });
    expect((await tab().fetch("/api/me")).status).toBe(200);
    expect(gateway.log).toEqual(["GET /api/me", `GET ${base}session`, `POST ${base}token`, "GET /api/me"]);
    expect(bearers()).toEqual([undefined, `Bearer ${gateway.token()}`]);
  });

  test("all calls of a page share one", async () => {
    const client = await signedIn();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => client.fetch(`/api/${n}`)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(gateway.count("POST")).toBe(1);
    expect(bearers()).toEqual(Array(20).fill(`Bearer ${gateway.token()}`));
  });

  test("one that is not good any more is asked for again, once", async () => {
    const client = await signedIn();
    await client.fetch("/api/me");
    gateway.renewal += 2; // by other tabs
    expect((await client.fetch("/api/notes", post())).status).toBe(200);
    expect(gateway.count(`POST ${base}token`)).toBe(2);
    expect(gateway.count("POST /api/notes")).toBe(2);

    vi.spyOn(gateway, "token").mockImplementation(() => "never the same".replaceAll(" ", "-") + gateway.log.length);
    expect((await client.fetch("/api/me")).status).toBe(401);
    expect(gateway.count("GET /api/me")).toBe(3);
    expect(left()).toEqual([]);
  });

  test("is renewed shortly before its end, while calls go on with the old one; when it is over they wait", async () => {
    const client = await signedIn();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    await client.fetch("/api/1");
    vi.setSystemTime(Date.now() + 47_000);
    await client.fetch("/api/2");
    expect(gateway.count(`POST ${base}token`)).toBe(1);
    vi.setSystemTime(Date.now() + 2_000); // a fifth is left
    const asked = new Promise<void>((seen) => (gateway.before = (line) => void (line.includes("token") && seen())));
    await client.fetch("/api/3");
    await asked;
    expect(bearers("GET /api/3")).toEqual([`Bearer ${gateway.token()}`]);

    await until(() => expect(gateway.count(`POST ${base}token`)).toBe(2));
    gateway.renewal++;
    vi.setSystemTime(Date.now() + 59_000);
    await client.fetch("/api/4");
    expect(gateway.count(`POST ${base}token`)).toBe(3);
    expect(bearers("GET /api/4")).toEqual([`Bearer ${gateway.token()}`]); // at the first try
  });

  test("T4 no timer asks for it: a page that nobody uses keeps no session alive", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const client = await signedIn();
    await client.fetch("/api/me");
    await vi.advanceTimersByTimeAsync(600_000);
    expect(gateway.count("POST")).toBe(1);
  });

  test("tabs ask one after the other, each for itself", async () => {
    const locks = lockManager();
    vi.stubGlobal("navigator", { locks });
    const tabs = await Promise.all([signedIn(), signedIn(), signedIn()]);
    await Promise.all(tabs.map((client) => client.fetch("/api/me")));
    expect(gateway.count(`POST ${base}token`)).toBe(3);
    expect(locks.widest).toBe(1);
  });

  test("while it cannot be had, requests go without, and their answers are passed on", async () => {
    const client = await signedIn();
    gateway.before = (line) => {
      gateway.away = line.endsWith("token");
    };
    const answer = await client.fetch("/api/me");
    expect([answer.status, answer.headers.get("Cloakroom")]).toEqual([401, "token-required"]);
    expect(left()).toEqual([]);
  });

  test("while it cannot be renewed, the old one goes on", async () => {
    const client = await signedIn();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    await client.fetch("/api/me");
    vi.setSystemTime(Date.now() + 55_000);
    gateway.before = (line) => {
      gateway.away = line.endsWith("token");
    };
    expect((await client.fetch("/api/me")).status).toBe(200);
  });

  test("M2 goes to the gateway and to listed APIs, to the latter with nothing beside it", async () => {
    Object.assign(gateway, { person: "ada", delivery: "memory", csrf: "token" });
    document.cookie = "seen=1";
    const client = tab({ origins: [api.origin] });
    await client.fetch(`${api.origin}/me`);
    await client.fetch(`${api.origin}/notes`, post());
    expect(api.sent("", "authorization")).toEqual(Array(2).fill(`Bearer ${gateway.token()}`));
    for (const name of ["cookie", "x-csrf-token"]) expect(api.sent("", name)).toEqual([undefined, undefined]);
    expect(api.count("")).toBe(2);
  });

  test("a listed API that refuses it gets the renewed one", async () => {
    const client = await signedIn().then(() => tab({ origins: [api.origin] }));
    api.admits = ({ authorization }) => authorization === `Bearer ${gateway.token()}` && gateway.renewal > 1;
    expect((await client.fetch(`${api.origin}/notes`, post())).status).toBe(200);
    expect(gateway.count(`POST ${base}refresh`)).toBe(1);
    expect(gateway.count(`POST ${base}token`)).toBe(2);
  });

  test("another person's is never used, nor what one sent repeated with it", async () => {
    const client = tab({ origins: [api.origin] });
    Object.assign(gateway, { person: "ada", delivery: "memory" });
    await client.session();
    await client.fetch("/api/me");
    const old = gateway.token();
    gateway.person = "bob";
    expect((await client.fetch("/api/notes", post())).status).toBe(401);
    expect(gateway.count("POST /api/notes")).toBe(1);
    await client.fetch(api.origin);
    expect(api.sent("", "authorization")).toEqual([`Bearer ${gateway.token()}`]);
    expect(gateway.token()).not.toBe(old);
  });

  test("is forgotten when the person signs out", async () => {
    const client = tab({ origins: [api.origin] });
    Object.assign(gateway, { person: "ada", delivery: "memory" });
    await client.fetch("/api/me");
    await client.logout();
    back();
    await client.fetch(api.origin);
    expect(api.sent("", "authorization")).toEqual([undefined]);
  });

  test("the page's own Authorization stays", async () => {
    const client = await signedIn();
    await client.fetch("/api/me", { headers: { Authorization: "Basic eDp5" } });
    expect(gateway.sent("GET /api/me", "authorization")[0]).toBe("Basic eDp5");
  });

  test("M3 lives in a variable: nothing that a page can reach leads to it", async () => {
    const seen: unknown[] = [window, globalThis, localStorage, sessionStorage];
    const client = await signedIn();
    seen.push(client);
    for (const type of ["change", "expiring", "expired"] as const) client.on(type, (event) => void seen.push(event));
    const heard = new BroadcastChannel("cloakroom" + base);
    heard.onmessage = ({ data }) => void seen.push(data);
    const request = new Request(`${gateway.origin}/api/notes`, post());
    const answer = await client.fetch(request);
    seen.push(request, answer, await answer.json(), await client.session());
    seen.push(await client.fetch("/api/me", { signal: AbortSignal.abort() }).catch((error: unknown) => error));
    gateway.before = (line) => void (line.endsWith("token") && seen.push(line)); // and it is asked for again
    gateway.renewal += 2;
    await client.fetch("/api/me");
    const token = gateway.token();
    await gateway.close();
    seen.push(await client.fetch("/api/me").catch((error: unknown) => error), await client.logout().catch((error: unknown) => error));
    heard.close();
    expect(seen.length).toBeGreaterThan(10);
    expect(reaches(seen, token)).toBe(false);
    expect(reaches([...seen, { deep: new Map([["x", new Error("", { cause: [token] })]]) }], token)).toBe(true);
  });
});

describe("origins", () => {
  const open = async (delivery: Gateway["delivery"]) => {
    Object.assign(gateway, { person: "ada", delivery, csrf: "token" });
    document.cookie = "access_token=1";
    return tab({ origins: [api.origin + "/"] });
  };

  test.each(["cookie", "split"] as const)("%s: requests carry the cookies, writes the CSRF token as well", async (delivery) => {
    const client = await open(delivery);
    await client.fetch(`${api.origin}/me`);
    await client.fetch(new Request(`${api.origin}/notes`, post()));
    expect(api.sent("", "cookie").map((cookie) => cookie?.includes("access_token=1"))).toEqual([true, true]);
    expect(api.sent("", "x-csrf-token")).toEqual(["1", gateway.proof()]);
    expect(api.sent("", "authorization")).toEqual([undefined, undefined]);
    await client.fetch(`${api.origin}/public`, { credentials: "omit" });
    expect(api.sent("GET /public", "cookie")).toEqual([undefined]);
  });

  test.each([
    ["without a word", {}],
    ["invalid_token", { "WWW-Authenticate": 'Bearer error="invalid_token"' }],
    ["login-required, as package verify says it", { Cloakroom: "login-required" }],
  ])("a 401, %s: the token is renewed once for all calls, and each repeated once", async (_, refusal) => {
    const client = await open("cookie");
    Object.assign(api, { refusal, admits: () => gateway.renewal > 1 });
    const answers = await Promise.all(["a", "b", "c"].map((text) => client.fetch(`${api.origin}/notes`, post(text))));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(gateway.count(`POST ${base}refresh`)).toBe(1);
    expect(api.log.sort()).toEqual(["a", "a", "b", "b", "c", "c"].map((text) => `POST /notes ${text}`));
    expect(left()).toEqual([]);
  });

  test("a CSRF token of another session: the gateway is asked, and the write repeated once", async () => {
    const client = await open("cookie");
    await client.session();
    gateway.login++;
    api.admits = (headers) => headers["x-csrf-token"] === gateway.proof();
    Object.assign(api, { status: 403, refusal: { Cloakroom: "cross-site" } });
    expect((await client.fetch(`${api.origin}/notes`, post())).status).toBe(200);
    expect([api.count(""), gateway.count(`POST ${base}refresh`)]).toEqual([2, 0]);
  });

  test("a 401 that stays is passed on", async () => {
    const client = await open("cookie");
    api.admits = () => false;
    expect((await client.fetch(api.origin)).status).toBe(401);
    expect([api.count(""), gateway.count(`POST ${base}refresh`), left()]).toEqual([2, 1, []]);
  });

  test.each(["cookie", "memory"] as const)("%s: a 401 when the session is over leads to the login", async (delivery) => {
    const client = await open(delivery);
    await client.session();
    api.admits = () => false;
    gateway.person = undefined;
    void client.fetch(api.origin);
    await until(() => expect(left()).toHaveLength(1));
    expect(api.count("")).toBe(1);
  });

  test("loginOn []: it is renewed, and the page never left", async () => {
    Object.assign(gateway, { person: "ada", delivery: "cookie" });
    const client = tab({ origins: [api.origin], loginOn: [] });
    api.admits = () => gateway.renewal > 1;
    expect((await client.fetch(api.origin)).status).toBe(200);
    api.admits = () => false;
    gateway.person = undefined;
    expect((await client.fetch(api.origin)).status).toBe(401);
    expect(left()).toEqual([]);
  });

  test("the gateway itself may be listed", async () => {
    gateway.person = "ada";
    expect((await tab({ origins: [gateway.origin] }).fetch("/api/own-401")).status).toBe(401);
    expect(gateway.log).toEqual(["GET /api/own-401"]);
  });

  test("what is no URL is an error at once", () => {
    for (const wrong of ["*", "api.example.com", "https://*.example.com:x"]) expect(() => tab({ origins: [wrong] })).toThrow(TypeError);
  });
});

describe("a front end on another origin than the gateway", () => {
  test.each(modes)("$delivery, $csrf: has the session, its API, login and logout", async (mode) => {
    Object.assign(gateway, { person: "ada", ...mode });
    visit(api.origin);
    document.cookie = "session=1";
    const client = tab({ base: gateway.origin + base });
    expect(await client.session()).toMatchObject({ user: { sub: "ada" } });
    expect(await (await client.fetch(`${gateway.origin}/api/notes`, post())).json()).toEqual({ person: "ada", body: "milk" });
    await client.fetch("/own.json");
    expect(["authorization", "x-csrf-token"].flatMap((name) => api.sent("", name))).toEqual([undefined, undefined]);
    expect(gateway.headers.map(({ cookie }) => cookie?.includes("session=1"))).toEqual(gateway.log.map(() => true));
    await client.logout();
    expect(left()).toEqual([`${gateway.origin}/auth/logout?once=1`]);
  });

  test("comes back from the login", () => {
    visit(api.origin);
    tab({ base: gateway.origin + base }).login();
    expect(left()).toEqual([`${gateway.origin}${base}login?return_to=${encodeURIComponent(`${api.origin}/notes/7?sort=new#top`)}`]);
  });
});

/** Whether text can be found from the roots by properties, elements, entries and prototypes. */
function reaches(roots: unknown[], text: string): boolean {
  const seen = new Set<unknown>();
  const queue = [...roots];
  for (let next = queue.pop(); queue.length > 0 || next !== undefined; next = queue.pop()) {
    if (typeof next === "string" && next.includes(text)) return true;
    if ((typeof next !== "object" && typeof next !== "function") || next === null || seen.has(next)) continue;
    seen.add(next);
    if (next instanceof Map || next instanceof Set) queue.push(...next.keys(), ...next.values());
    if (next instanceof Headers) queue.push(...next.values());
    for (const key of Reflect.ownKeys(next)) {
      queue.push(key);
      // Not getters: they run, and what they would compute, something else holds.
      const property = Reflect.getOwnPropertyDescriptor(next, key);
      if (property && "value" in property) queue.push(property.value);
    }
    queue.push(Object.getPrototypeOf(next));
  }
  return false;
}
