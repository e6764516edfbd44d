// @vitest-environment happy-dom
import { describe, expect, test, vi } from "vitest";
import type { ChangeEvent, Client } from "../src/client.js";
import { back, base, gateway, hide, left, lockManager, tab, until } from "./page.js";

describe("session", () => {
  test("says who is signed in", async () => {
    gateway.person = "ada";
    const session = await tab().session();
    expect(session.authenticated && session.user.sub).toBe("ada");
  });

  test("shares one request between calls at the same time", async () => {
    const client = tab();
    await Promise.all([client.session(), client.session(), client.session()]);
    expect(gateway.count(`GET ${base}session`)).toBe(1);
    await client.session();
    expect(gateway.count(`GET ${base}session`)).toBe(2);
  });

  test("503 keeps what is known, without an event", async () => {
    gateway.person = "ada";
    const client = tab();
    const change = vi.fn();
    client.on("change", change);
    const before = await client.session();
    gateway.away = true;
    expect(await client.session()).toBe(before);
    expect(change).not.toHaveBeenCalled();
  });

  test("503 with nothing known is an error with the gateway's code", async () => {
    gateway.away = true;
    await expect(tab().session()).rejects.toMatchObject({ name: "ClientError", code: "unavailable", message: expect.stringContaining("The store is away") });
  });

  test("no answer keeps what is known, and is offline otherwise", async () => {
    const client = tab();
    const before = await client.session();
    await gateway.close();
    expect(await client.session()).toBe(before);
    await expect(tab().session()).rejects.toMatchObject({ code: "offline" });
  });

  test("a page in place of an answer is an error that names the likely reason", async () => {
    const client = tab({ base: "/api/session-of-something-else/" });
    gateway.person = "ada";
    await expect(client.session()).rejects.toMatchObject({ code: "internal", message: expect.stringContaining("is base right?") });
  });

  test("a base without its last slash is understood", async () => {
    await tab({ base: base.slice(0, -1) }).session();
    expect(gateway.log).toEqual([`GET ${base}session`]);
  });
});

describe("fetch", () => {
  test("passes answers on", async () => {
    gateway.person = "ada";
    const response = await tab().fetch("/api/me");
    expect(await response.json()).toEqual({ person: "ada", body: "" });
    expect(gateway.log).toEqual(["GET /api/me"]);
  });

  test("the API's own 401 is none of our business", async () => {
    const response = await tab().fetch("/api/own-401");
    expect(response.status).toBe(401);
    expect(gateway.log).toEqual(["GET /api/own-401"]);
    expect(left()).toEqual([]);
  });

  test("O11 50 calls failing at once lead to one navigation", async () => {
    const client = tab();
    const expired = vi.fn();
    client.on("expired", expired);
    await client.session();
    const calls = Array.from({ length: 50 }, (_, i) => client.fetch(`/api/n/${i}`));
    await until(() => {
      expect(gateway.count("GET /api/")).toBe(50);
      expect(left()).toHaveLength(1);
    });
    expect(left()).toEqual([`${base}login?return_to=${encodeURIComponent("/notes/7?sort=new#top").replaceAll("%20", "+")}`]);

    back();
    const answers = await Promise.all(calls);
    expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(401));
    expect(gateway.count("GET /api/")).toBe(50);
    expect(left()).toHaveLength(1);
    expect(expired).toHaveBeenCalledTimes(1);
  });

  test("a call refused while the page is being left waits too", async () => {
    const client = tab();
    client.login();
    const call = client.fetch("/api/me");
    await until(() => expect(gateway.count(`GET ${base}session`)).toBe(1));
    back();
    expect((await call).status).toBe(401);
    expect(left()).toHaveLength(1);
  });

  test("coming back signed in repeats the calls that waited", async () => {
    const client = tab();
    const call = client.fetch("/api/me");
    await until(() => expect(left()).toHaveLength(1));
    gateway.person = "ada";
    back();
    expect(await (await call).json()).toMatchObject({ person: "ada" });
  });

  test("a person who cancels leaving gets the refused answers", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.stubGlobal("fetch", answers({ authenticated: false }));
    const client = tab();
    const call = client.fetch("/api/me");
    await vi.advanceTimersByTimeAsync(29_000);
    expect(left()).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect((await call).status).toBe(401);
    expect(left()).toHaveLength(1);
  });

  test("another tab signed in meanwhile: the request is repeated with its body", async () => {
    const client = tab();
    await client.session(); // nobody
    gateway.log.length = 0;
    gateway.before = (line) => {
      if (line.endsWith("session")) gateway.person = "ada";
    };
    const response = await client.fetch("/api/notes", { method: "POST", body: "milk" });
    expect(await response.json()).toEqual({ person: "ada", body: "milk" });
    expect(gateway.log).toEqual(["POST /api/notes milk", `GET ${base}session`, "POST /api/notes milk"]);
    expect(left()).toEqual([]);
  });

  test("a Request with a body is repeated too", async () => {
    const client = tab();
    await client.session();
    gateway.before = (line) => {
      if (line.endsWith("session")) gateway.person = "ada";
    };
    const response = await client.fetch(new Request(`${gateway.origin}/api/notes`, { method: "POST", body: "milk" }));
    expect(await response.json()).toEqual({ person: "ada", body: "milk" });
  });

  test("who sent it is not known: a write is not repeated in the name of whoever is signed in now", async () => {
    gateway.before = (line) => {
      if (line.endsWith("session")) gateway.person = "bob";
    };
    const response = await tab().fetch("/api/notes", { method: "POST", body: "from ada" });
    expect(response.status).toBe(401);
    expect(gateway.log.filter((line) => line.startsWith("POST"))).toHaveLength(1);
  });

  test("a request is repeated once, and a session that lives never leads to a login", async () => {
    gateway.person = "ada";
    const response = await tab().fetch("/api/never");
    expect(response.status).toBe(401);
    expect(gateway.count("GET /api/never")).toBe(2);
    expect(left()).toEqual([]);
  });

  test("a stream is not sent twice", async () => {
    gateway.before = (line) => {
      if (line.endsWith("session")) gateway.person = "ada";
    };
    const sent = vi.fn(answers({ authenticated: true, user: { sub: "ada" } }));
    vi.stubGlobal("fetch", sent);
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("milk"));
        controller.close();
      },
    });
    const response = await tab().fetch("/api/notes", { method: "POST", body, duplex: "half" } as RequestInit);
    expect(response.status).toBe(401);
    expect(sent.mock.calls.filter(([input]) => path(input).startsWith("/api/"))).toHaveLength(1);
    expect(left()).toEqual([]);
  });

  test("what one person sent is not repeated in the name of another", async () => {
    gateway.person = "ada";
    const client = tab();
    const changes: ChangeEvent[] = [];
    client.on("change", (event) => void changes.push(event));
    await client.session();
    gateway.person = undefined;
    gateway.before = (line) => {
      if (line.endsWith("session")) gateway.person = "bob";
    };
    const response = await client.fetch("/api/notes", { method: "POST", body: "milk" });
    expect(response.status).toBe(401);
    expect(gateway.count("POST")).toBe(1);
    expect(changes).toMatchObject([{ previous: { user: { sub: "ada" } }, session: { user: { sub: "bob" } } }]);
    expect(left()).toEqual([]);
  });

  test("while the gateway cannot say who is signed in, the answer is passed on", async () => {
    gateway.before = (line) => {
      gateway.away = line.endsWith("session");
    };
    const response = await tab().fetch("/api/me");
    expect(response.status).toBe(401);
    expect(left()).toEqual([]);
  });

  test("an abort ends the wait", async () => {
    const client = tab();
    const stop = new AbortController();
    const call = client.fetch("/api/me", { signal: stop.signal });
    const outcome = expect(call).rejects.toMatchObject({ name: "AbortError" });
    await until(() => expect(left()).toHaveLength(1));
    stop.abort();
    await outcome;
  });
});

describe("loginOn", () => {
  test("[401, 403]: a 403 without our header counts as signed out", async () => {
    void tab({ loginOn: [401, 403] }).fetch("/api/forbidden");
    await until(() => expect(left()).toHaveLength(1));
  });

  test("[401, 403]: the API's own 401 still does not count", async () => {
    expect((await tab({ loginOn: [401, 403] }).fetch("/api/own-401")).status).toBe(401);
    expect(gateway.log).toHaveLength(1);
  });

  test("[401, 403]: a 403 for somebody who is signed in is passed on", async () => {
    gateway.person = "ada";
    expect((await tab({ loginOn: [401, 403] }).fetch("/api/forbidden")).status).toBe(403);
    expect(left()).toEqual([]);
  });

  test("by default a 403 is passed on at once", async () => {
    expect((await tab().fetch("/api/forbidden")).status).toBe(403);
    expect(gateway.log).toEqual(["GET /api/forbidden"]);
  });

  test("[]: never leaves the page", async () => {
    expect((await tab({ loginOn: [] }).fetch("/api/me")).status).toBe(401);
    expect(gateway.log).toEqual(["GET /api/me"]);
  });
});

describe("expired", () => {
  test("a listener vetoes: the calls get their 401, and the next one asks again", async () => {
    const client = tab();
    const expired = vi.fn((event: { preventDefault(): void }) => event.preventDefault());
    client.on("expired", expired);
    const first = await Promise.all([client.fetch("/api/a"), client.fetch("/api/b")]);
    expect(first.map((answer) => answer.status)).toEqual([401, 401]);
    expect(expired).toHaveBeenCalledTimes(1);
    expect((await client.fetch("/api/c")).status).toBe(401);
    expect(expired).toHaveBeenCalledTimes(2);
    expect(left()).toEqual([]);
  });

  test("the navigation waits for a listener that saves", async () => {
    const client = tab();
    let saved = () => {};
    const saving = vi.fn(() => new Promise<void>((done) => (saved = done)));
    client.on("expired", saving);
    void client.fetch("/api/me");
    await until(() => expect(saving).toHaveBeenCalled());
    await client.session(); // a whole round trip later
    expect(left()).toEqual([]);
    saved();
    await until(() => expect(left()).toHaveLength(1));
  });

  test("a veto may come late", async () => {
    const client = tab();
    client.on("expired", async (event) => {
      await client.session();
      event.preventDefault();
    });
    expect((await client.fetch("/api/me")).status).toBe(401);
    expect(left()).toEqual([]);
  });

  test("a listener that fails keeps the page, and is reported; the others are told", async () => {
    const report = vi.fn();
    vi.stubGlobal("reportError", report);
    const client = tab();
    const other = vi.fn();
    client.on("expired", () => {
      throw new Error("not saved");
    });
    client.on("expired", other);
    expect((await client.fetch("/api/me")).status).toBe(401);
    expect(other).toHaveBeenCalledTimes(1);
    expect(report).toHaveBeenCalledWith(new Error("not saved"));
    expect(left()).toEqual([]);
  });

  test("a listener may leave for a login of its own making", async () => {
    const client = tab();
    client.on("expired", () => client.login({ provider: "staff" }));
    void client.fetch("/api/me");
    await until(() => expect(left()).toHaveLength(1));
    expect(left()[0]).toContain("provider=staff");
  });

  test("an unsubscribed listener is not told", async () => {
    const client = tab();
    const listener = vi.fn();
    client.on("expired", listener)();
    void client.fetch("/api/me");
    await until(() => expect(left()).toHaveLength(1));
    expect(listener).not.toHaveBeenCalled();
  });
});

describe("a hidden tab", () => {
  test("waits until it is visible, then leaves", async () => {
    hide(true);
    const client = tab();
    const expired = vi.fn();
    client.on("expired", expired);
    void client.fetch("/api/me");
    await until(() => expect(gateway.log).toContain("GET /api/me"));
    await client.session();
    await client.session();
    expect(left()).toEqual([]);
    expect(expired).not.toHaveBeenCalled();
    hide(false);
    await until(() => expect(left()).toHaveLength(1));
  });

  test("asks again when visible, and goes on if somebody signed in elsewhere", async () => {
    hide(true);
    const call = tab().fetch("/api/me");
    await until(() => expect(gateway.count(`GET ${base}session`)).toBe(1));
    gateway.person = "ada";
    hide(false);
    expect(await (await call).json()).toMatchObject({ person: "ada" });
    expect(left()).toEqual([]);
  });
});

describe("tabs", () => {
  test("O11 signing out in one is a change in the other", async () => {
    gateway.person = "ada";
    const one = tab();
    const other = tab();
    await one.session();
    const change = changeOf(other);
    await other.session();
    await one.logout();
    expect(await change).toMatchObject({ session: { authenticated: false }, previous: { user: { sub: "ada" } } });
    expect(left()).toEqual(["/auth/logout?once=1"]);
  });

  test("another person signing in in one is a change in the other", async () => {
    gateway.person = "ada";
    const other = tab();
    const change = changeOf(other);
    await other.session();
    gateway.person = "bob";
    await tab().session();
    expect(await change).toMatchObject({ session: { user: { sub: "bob" } }, previous: { user: { sub: "ada" } } });
  });

  test("signing in in one is a change in the other", async () => {
    const other = tab();
    const change = changeOf(other);
    await other.session();
    gateway.person = "ada";
    await tab().session();
    expect(await change).toMatchObject({ session: { user: { sub: "ada" } }, previous: { authenticated: false } });
  });

  test("a new tab of the same person makes no other tab ask", async () => {
    gateway.person = "ada";
    await tab().session();
    const heard = new Promise((resolve) => (new BroadcastChannel("cloakroom" + base).onmessage = resolve));
    await tab().session();
    await heard;
    await roundTrip();
    expect(gateway.count(`GET ${base}session`)).toBe(2);
  });

  test("a message that overtakes an older answer is not lost", async () => {
    const ada = { authenticated: true, user: { sub: "ada" } };
    let late = (_: unknown) => {};
    vi.stubGlobal("fetch", sessions(ada, new Promise((resolve) => (late = resolve)), { authenticated: false }));
    const client = tab();
    const change = changeOf(client);
    await client.session();
    const asked = client.session();
    const heard = new Promise((resolve) => (new BroadcastChannel("cloakroom" + base).onmessage = resolve));
    new BroadcastChannel("cloakroom" + base).postMessage("");
    await heard;
    late(ada);
    expect(await asked).toEqual(ada);
    expect(await change).toMatchObject({ session: { authenticated: false } });
  });

  test("a message alone changes nothing: the gateway is asked", async () => {
    gateway.person = "ada";
    const client = tab();
    const change = vi.fn();
    client.on("change", change);
    await client.session();
    const liar = new BroadcastChannel("cloakroom" + base);
    liar.postMessage("mallory");
    await until(() => expect(gateway.count(`GET ${base}session`)).toBe(2));
    liar.close();
    await client.session();
    expect(change).not.toHaveBeenCalled();
  });
});

describe("renewal", () => {
  test("an access token that is over is renewed once for all refused calls of all tabs", async () => {
    const locks = lockManager();
    vi.stubGlobal("navigator", { locks });
    gateway.person = "ada";
    gateway.access = 0;
    const [one, other] = [tab(), tab()];
    const calls = Array.from({ length: 10 }, (_, i) => (i % 2 ? one : other).fetch(`/api/${i}`));
    const answers = await Promise.all(calls);
    expect(answers.map((answer) => answer.status)).toEqual(Array(10).fill(200));
    expect(gateway.count("POST")).toBe(1);
    expect(gateway.log).toContain(`POST ${base}refresh`);
    expect(locks.names).toEqual(new Set(["cloakroom" + base]));
    expect(locks.widest).toBe(1);
  });

  test("works without Web Locks", async () => {
    vi.stubGlobal("navigator", {});
    gateway.person = "ada";
    gateway.access = 0;
    expect((await tab().fetch("/api/me")).status).toBe(200);
    expect(gateway.count("POST")).toBe(1);
  });

  test("a session that ended meanwhile leads to the login", async () => {
    vi.stubGlobal("navigator", {});
    gateway.person = "ada";
    gateway.access = 0;
    gateway.before = (line) => {
      if (line.endsWith("refresh")) gateway.person = undefined;
    };
    void tab().fetch("/api/me");
    await until(() => expect(left()).toHaveLength(1));
  });
});

describe("expiring", () => {
  const minute = 60_000;
  const start = Date.parse("2026-01-01T12:00:00Z");
  /** A gateway of which only the session matters: what it answers, after how many requests. */
  function clock(ends: () => { expires_at?: number; idle_expires_at?: number }, skew = 0) {
    vi.useFakeTimers({ now: start, toFake: ["setTimeout", "clearTimeout", "Date"] });
    const asked = vi.fn(async () => {
      const now = Date.now() - skew;
      const live = Object.values(ends()).every((at) => at > now);
      const times = Object.fromEntries(Object.entries(ends()).map(([name, at]) => [name, new Date(at).toISOString()]));
      const session = live ? { authenticated: true, user: { sub: "ada" }, ...times } : { authenticated: false };
      return new Response(JSON.stringify(session), { headers: { Date: new Date(now).toUTCString() } });
    });
    vi.stubGlobal("fetch", asked);
    const client = tab();
    const expiring: number[] = [];
    const at: number[] = [];
    const change: number[] = [];
    client.on("expiring", (event) => {
      expiring.push(Date.now() - start);
      at.push(event.at.getTime() - start);
    });
    client.on("change", () => void change.push(Date.now() - start));
    return { client, asked, expiring, at, change };
  }

  test("is announced a minute before the end, once, then the end is a change", async () => {
    const seen = clock(() => ({ expires_at: start + 600 * minute, idle_expires_at: start + 30 * minute }));
    await vi.advanceTimersByTimeAsync(29.5 * minute);
    await seen.client.session();
    await vi.advanceTimersByTimeAsync(1.5 * minute);
    expect(seen.expiring).toEqual([29 * minute]);
    expect(seen.at).toEqual([30 * minute]);
    expect(seen.change).toEqual([30 * minute + 1000]);
    expect(seen.asked).toHaveBeenCalledTimes(4); // at first, at the warning, by us, at the end
    expect(left()).toEqual([]);
  });

  test("is announced a fifth before the end of a short session", async () => {
    const seen = clock(() => ({ expires_at: start + 100_000 }));
    await vi.advanceTimersByTimeAsync(99_000);
    expect(seen.expiring).toEqual([80_000]);
  });

  test("T4 is announced for the end that requests have moved, not for the first one known", async () => {
    let idle = start + 30 * minute;
    const seen = clock(() => ({ idle_expires_at: idle }));
    await vi.advanceTimersByTimeAsync(20 * minute);
    idle = start + 29 * minute + 70_000;
    await vi.advanceTimersByTimeAsync(20 * minute);
    expect(seen.expiring).toEqual([29 * minute + 10_000]);
  });

  test("goes by the gateway's clock", async () => {
    const fast = 5 * minute; // this computer's clock
    const seen = clock(() => ({ expires_at: start - fast + 10 * minute }), fast);
    await vi.advanceTimersByTimeAsync(9.5 * minute);
    expect(seen.expiring).toEqual([9 * minute]);
    expect(seen.at).toEqual([10 * minute]);
  });

  test("a session longer than timers can wait is not announced at once", async () => {
    const seen = clock(() => ({ expires_at: start + 90 * 24 * 60 * minute }));
    await vi.advanceTimersByTimeAsync(60 * minute);
    expect(seen.expiring).toEqual([]);
    expect(seen.asked).toHaveBeenCalledTimes(1);
  });

  test("a session without an end is not announced", async () => {
    const seen = clock(() => ({}));
    await vi.advanceTimersByTimeAsync(60 * minute);
    expect(seen.asked).toHaveBeenCalledTimes(1);
  });

  test("a gateway that is away is asked again every 30 seconds", async () => {
    const seen = clock(() => ({ expires_at: start + 10 * minute }));
    seen.asked.mockImplementationOnce(async () => new Response("", { status: 503 })); // at the warning
    await vi.advanceTimersByTimeAsync(9.75 * minute);
    expect(seen.expiring).toEqual([9.5 * minute]);
    expect(seen.asked).toHaveBeenCalledTimes(3);
    expect(seen.change).toEqual([]);
  });
});

test("a page restored from the back/forward cache asks again, and hears other tabs again", async () => {
  gateway.person = "ada";
  const client = tab();
  const first = changeOf(client);
  await client.session();
  window.dispatchEvent(new Event("pagehide"));
  gateway.person = undefined;
  back();
  expect(await first).toMatchObject({ session: { authenticated: false }, previous: { user: { sub: "ada" } } });
  const second = changeOf(client);
  gateway.person = "bob";
  await tab().session();
  expect(await second).toMatchObject({ session: { user: { sub: "bob" } } });
});

test("a first pageshow does not ask", async () => {
  tab();
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  await roundTrip();
  await roundTrip();
  expect(gateway.count("GET /auth")).toBe(0);
});

describe("login", () => {
  test("sends every option by its standard name", () => {
    tab().login({ returnTo: "/a b?c=d&e", provider: "main", prompt: "select_account", loginHint: "ada@example.com", remember: true });
    const url = new URL(left()[0]!, gateway.origin);
    expect(url.pathname).toBe(`${base}login`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      return_to: "/a b?c=d&e",
      provider: "main",
      prompt: "select_account",
      login_hint: "ada@example.com",
      remember: "1",
    });
  });

  test("leaves out what was not said", () => {
    tab().login({ remember: false });
    expect([...new URL(left()[0]!, gateway.origin).searchParams.keys()]).toEqual(["return_to"]);
  });

  test("a double click leaves once", () => {
    const client = tab();
    client.login();
    client.login();
    expect(left()).toHaveLength(1);
  });

  test("register goes to the sign-up page", () => {
    tab().register({ returnTo: "/welcome" });
    expect(left()).toEqual([`${base}register?return_to=%2Fwelcome`]);
  });
});

describe("logout", () => {
  test("posts, tells this page too, and goes where the gateway says", async () => {
    gateway.person = "ada";
    const client = tab();
    const change = changeOf(client);
    await client.session();
    await client.logout({ everywhere: true, returnTo: "/bye" });
    expect(gateway.log.at(-1)).toBe(`POST ${base}logout?everywhere=1&return_to=%2Fbye`);
    expect(await change).toMatchObject({ session: { authenticated: false } });
    expect(left()).toEqual(["/auth/logout?once=1"]);
  });

  test("calls refused meanwhile do not lead to the login", async () => {
    gateway.person = "ada";
    const client = tab();
    const expired = vi.fn();
    client.on("expired", expired);
    await client.session();
    const out = client.logout();
    gateway.person = undefined;
    const call = client.fetch("/api/me");
    await out;
    await until(() => expect(gateway.count("GET /api/me")).toBe(1));
    back();
    expect((await call).status).toBe(401);
    expect(expired).not.toHaveBeenCalled();
    expect(left()).toEqual(["/auth/logout?once=1"]);
  });

  test("an answer from before does not sign the page in again", async () => {
    const ada = { authenticated: true, user: { sub: "ada" } };
    let late = (_: unknown) => {};
    vi.stubGlobal("fetch", sessions(ada, new Promise((resolve) => (late = resolve))));
    const client = tab();
    const change = vi.fn();
    client.on("change", change);
    await client.session();
    const asked = client.session();
    await client.logout();
    late(ada);
    await asked;
    expect(change).toHaveBeenCalledTimes(1);
    expect(change).toHaveBeenCalledWith({ session: { authenticated: false }, previous: ada });
  });

  test("a failed logout is an error, and the page goes on", async () => {
    gateway.person = "ada";
    const client = tab();
    await client.session();
    gateway.away = true;
    await expect(client.logout()).rejects.toMatchObject({ code: "unavailable" });
    gateway.away = false;
    expect(await client.session()).toMatchObject({ authenticated: true });
    expect(left()).toEqual([]);
    client.login(); // the page is not being left any more
    expect(left()).toHaveLength(1);
  });
});

test("nothing global is patched", async () => {
  const before = [globalThis.fetch, XMLHttpRequest.prototype.open, history.pushState];
  await tab().session();
  expect([globalThis.fetch, XMLHttpRequest.prototype.open, history.pushState]).toEqual(before);
});

function changeOf(client: Client): Promise<ChangeEvent> {
  return new Promise((resolve) => {
    const off = client.on("change", (event) => {
      off();
      resolve(event);
    });
  });
}

const path = (input: RequestInfo | URL) => new URL(input instanceof Request ? input.url : String(input), gateway.origin).pathname;

/** A network where session answers as given, and everything else is our 401. */
function answers(session: unknown) {
  return async (input: RequestInfo | URL) =>
    path(input).endsWith("session")
      ? new Response(JSON.stringify(session))
      : new Response("", { status: 401, headers: { Cloakroom: "login-required" } });
}

/** A network where session answers in turn as given, and logout ends it. */
function sessions(...given: unknown[]) {
  return async (input: RequestInfo | URL) =>
    new Response(JSON.stringify(path(input).endsWith("session") ? await given.shift() : { logout_url: "/bye" }));
}

/** Whatever was sent before has reached the gateway. */
const roundTrip = () => fetch("/api/own-401");
