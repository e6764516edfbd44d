/**
 * The browser's side of Cloakroom: who is signed in, and what to do when nobody is. It patches nothing, and holds no token but
 * where the gateway hands one to the page: that stays in a variable that nothing outside of it can reach.
 *
 * @packageDocumentation
 */
import { call, ClientError, read, TOKEN } from "./endpoint.js";
import type {
  Client,
  ClientEvents,
  ClientOptions,
  ExpiredEvent,
  Listener,
  LoginOptions,
  LogoutOptions,
  Session,
} from "./types.js";

export type * from "./types.js";
export type { Code } from "./code.js";
export type { ErrorCode } from "./endpoint.js";
export { ClientError };

/** The answer of POST token. */
interface HandedOut {
  readonly access_token: string;
  readonly expires_in: number;
}

const ignore = () => {};
const signedOut: Session = { authenticated: false };

/** Makes a client. One is enough for a page; it may be made on a server, where it does nothing until asked. */
export function createClient({ base = "/auth/", loginOn = [401], origins = [] }: ClientOptions = {}): Client {
  const root = base.replace(/\/*$/, "/");
  const listed = origins.map((url) => originOf({ url }));
  const name = "cloakroom" + root; // of the channel and the lock
  const inBrowser = typeof document !== "undefined";
  const listeners: { readonly [Type in keyof ClientEvents]: Set<Listener<Type>> } = {
    change: new Set(),
    expiring: new Set(),
    expired: new Set(),
  };

  let known: Session | undefined; // the last answer
  let skew = 0; // this computer's clock minus the gateway's, in ms
  let proof = "1"; // what writes carry as X-CSRF-Token; no form and no page of another origin can send such a header
  let asking: Promise<Session> | undefined;
  let recovering: Promise<boolean> | undefined;
  let refreshing: Promise<unknown> | undefined;
  let leaving: Promise<void> | undefined; // pending while the page is being left
  let stay = ignore; // ends leaving
  let channel: BroadcastChannel | undefined;

  // Who is signed in.

  /** Asks the gateway. Calls at the same time share one request. */
  function ask(): Promise<Session> {
    return (asking ??= (async () => {
      try {
        const response = await call(root + "session", "GET", "1");
        const session = await read<Session>(response, "authenticated", "boolean");
        proof = (session.authenticated && session.csrf_token) || "1";
        skew = Date.now() - (Date.parse(response.headers.get("Date") ?? "") || Date.now());
        // A logout that began meanwhile knows better than this answer.
        return leaving ? session : learn(session);
      } finally {
        asking = undefined;
      }
    })());
  }

  function learn(session: Session): Session {
    const previous = known;
    known = session;
    if (who(previous) !== who(session)) token = undefined;
    watch();
    if (!previous || who(previous) !== who(session)) channel?.postMessage(who(session));
    if (previous && who(previous) !== who(session)) void emit("change", { session, previous });
    return session;
  }

  /** Another tab says who is signed in. Its word is only a reason to ask. */
  async function hear(person: unknown): Promise<void> {
    await asking?.catch(ignore); // that answer may be older than the message
    if (person !== who(known)) await ask().catch(ignore);
  }

  function open(): void {
    channel = new BroadcastChannel(name);
    channel.onmessage = (event) => void hear(event.data);
  }

  // When the session ends.

  let timer: ReturnType<typeof setTimeout> | undefined;
  let lead = 0; // how long before the end it is announced, in ms
  let announced = 0; // the end that was announced, in ms by the gateway's clock

  /** Waits for the time to announce the end, then for the end. Both times it asks first: requests may have moved the end. */
  function watch(): void {
    clearTimeout(timer);
    if (!known?.authenticated) return;
    const end = Math.min(time(known.expires_at), time(known.idle_expires_at));
    const left = end - Date.now() + skew;
    lead = Math.max(lead, Math.min(60_000, left / 5)); // a page that asks late still knows how long the session was
    let wait = left - lead;
    if (wait < 1000) { // the gateway's clock is known to a second
      if (announced !== end) {
        announced = end;
        void emit("expiring", { session: known, at: new Date(end + skew) });
      }
      wait = left > 0 ? left + 1000 : 30_000;
    }
    timer = setTimeout(look, Math.min(wait, 2 ** 31 - 1)); // longer waits would end at once
  }

  function look(): void {
    ask().catch(() => {
      clearTimeout(timer);
      timer = setTimeout(look, 30_000);
    });
  }

  // What a request brings along.

  /** Sends a request with what the gateway wants to see, or a listed API elsewhere. */
  async function send(request: Request, elsewhere: boolean): Promise<Response> {
    const inMemory = known?.authenticated && known.delivery === "memory";
    const access = inMemory && (await bearer());
    if (access) bring(request, "Authorization", "Bearer " + access);
    // An API elsewhere that takes bearers needs no more, and may not allow more. The gateway wants all of it.
    if (elsewhere && inMemory) return fetch(request);
    bring(request, TOKEN, isRead(request) ? "1" : proof); // a read shows that no link and no image sent it
    const include = originOf(request) !== location.origin && request.credentials !== "omit";
    return fetch(include ? new Request(request, { credentials: "include" }) : request);
  }

  // The access token, where the page has to bring it. Nothing but bearer reads it.

  let token: { readonly text: string; readonly end: number; readonly lead: number } | undefined;
  let fetching: Promise<void> | undefined;

  /**
   * The access token. A request that finds it near its end has it renewed: no timer does, as asking counts as activity, and a page
   * that nobody uses must not keep the session alive. Nobody waits while the old one is good.
   */
  async function bearer(): Promise<string | undefined> {
    const left = token ? token.end - Date.now() : 0;
    if (!token || left < token.lead) {
      fetching ??= locked(handOut).catch(ignore).finally(() => (fetching = undefined));
      if (left < 2000) await fetching;
    }
    return token?.text;
  }

  async function handOut(): Promise<void> {
    const person = who(known);
    const { access_token, expires_in } = await read<HandedOut>(await post("token"), "access_token", "string");
    if (person !== who(known)) return; // somebody else signed in meanwhile
    token = { text: access_token, end: Date.now() + expires_in * 1000, lead: Math.min(60_000, expires_in * 200) };
  }

  /** Asks an endpoint that changes something, and once more if the CSRF token was that of an older session. */
  async function post(endpoint: string): Promise<Response> {
    const sent = proof;
    try {
      return await call(root + endpoint, "POST", sent);
    } catch (error) {
      if ((error as ClientError).code !== "cross_site") throw error;
      await ask();
      if (sent === proof) throw error;
      return call(root + endpoint, "POST", proof);
    }
  }

  /** One tab after the other: what the first one renews the next ones find. Locks need a secure context. */
  function locked<Result>(work: () => Promise<Result>): Promise<Result> {
    return navigator.locks ? navigator.locks.request(name, work) : work();
  }

  /** The origin that the gateway is reached at. */
  function home(): string {
    return originOf({ url: new URL(root, location.href).href });
  }

  // What to do about a refused request.

  /** Does what may help, and says whether somebody is signed in then. Nothing helps against an API's own answer: undefined. */
  function mend({ status, headers }: Response, elsewhere: boolean): Promise<boolean> | undefined {
    const said = headers.get("Cloakroom");
    // The access token is not good, whoever is signed in. What an API elsewhere says of it is not ours to read.
    const over = status === 401 && (elsewhere || said === "token-required");
    const leave = loginOn.includes(status) && (status !== 401 || over || said === "login-required");
    if (!over && !leave) return;
    const renewing = over && elsewhere ? (refreshing ??= locked(() => post("refresh")).catch(ignore).finally(() => (refreshing = undefined))) : undefined;
    return Promise.resolve(renewing).then(() =>
      leave ? (recovering ??= recover().finally(() => (recovering = undefined))) : alive(),
    );
  }

  async function alive(): Promise<boolean> {
    return (await ask().catch(ignore))?.authenticated ?? false;
  }

  /** Decides for all calls that were refused meanwhile, and says whether somebody is signed in. */
  async function recover(): Promise<boolean> {
    const session = await renewed().catch(ignore);
    if (!session) return false; // the gateway cannot say: no reason to leave the page
    if (session.authenticated) return true;
    if (leaving) return stayed();
    if (document.hidden) {
      await new Promise((shown) => document.addEventListener("visibilitychange", shown, { once: true }));
      return recover(); // somebody may have signed in elsewhere
    }
    if (!(await mayLeave())) return false;
    go("login");
    return stayed();
  }

  /** Waits while the page is being left, and says whether somebody is signed in if it was not. */
  async function stayed(): Promise<boolean> {
    await leaving;
    return alive();
  }

  /** Asks who is signed in. If only the access token is over, it is renewed, by one tab for all. */
  async function renewed(): Promise<Session> {
    const session = await ask();
    if (!accessOver(session)) return session;
    return locked(async () => {
      if (accessOver(await ask())) await post("refresh").catch(ignore); // what came of it, the next answer says
      return ask();
    });
  }

  function accessOver(session: Session): boolean {
    return session.authenticated && time(session.access_expires_at) < Date.now() - skew + 5000;
  }

  async function mayLeave(): Promise<boolean> {
    let prevented = false;
    const event: ExpiredEvent = { preventDefault: () => (prevented = true) };
    return (await emit("expired", event)) && !prevented;
  }

  // Leaving the page.

  function depart(): void {
    leaving ??= new Promise<void>((done) => (stay = done)).then(() => (leaving = undefined));
  }

  function navigate(url: string): void {
    location.assign(url);
    setTimeout(stay, 30_000); // still here: the person cancelled
  }

  function go(endpoint: "login" | "register", options: LoginOptions = {}): void {
    if (leaving) return;
    depart();
    const here = home() === location.origin ? location.pathname + location.search + location.hash : location.href;
    const { returnTo = here, provider, prompt, loginHint, remember } = options;
    navigate(root + endpoint + query({ return_to: returnTo, provider, prompt, login_hint: loginHint, remember }));
  }

  /** Tells all listeners of an event, and whether none failed, once they are done. */
  async function emit<Type extends keyof ClientEvents>(type: Type, event: ClientEvents[Type]): Promise<boolean> {
    const told = [...listeners[type]].map(async (listener) => {
      try {
        await listener(event);
        return true;
      } catch (error) {
        reportError(error);
        return false;
      }
    });
    return !(await Promise.all(told)).includes(false);
  }

  if (inBrowser) {
    open();
    // An open channel may keep the page out of the back/forward cache.
    addEventListener("pagehide", () => {
      channel?.close();
      channel = undefined;
    });
    addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      open();
      stay();
      void Promise.resolve(leaving).then(look);
    });
  }

  return {
    session: () =>
      ask().catch((error: unknown) => {
        if (known) return known;
        throw error;
      }),

    async fetch(input, init) {
      const request = new Request(input, init);
      const elsewhere = inBrowser && originOf(request) !== home();
      if (!inBrowser || (elsewhere && !listed.includes(originOf(request)))) return fetch(request);
      const again = init?.body instanceof ReadableStream ? undefined : request.clone();
      // What an API elsewhere wants only the gateway can say, and a stream has no second try.
      if (!known && (elsewhere || !again)) await ask().catch(ignore);
      const before = known;
      const sent = proof;
      const response = await send(request, elsewhere);

      const said = response.headers.get("Cloakroom");
      const stale = said === "cross-site" && !isRead(request);
      const help = stale ? alive() : mend(response, elsewhere);
      if (!help) return response;
      token = undefined; // it was refused, or may be of another session
      const signedIn = await Promise.race([help, aborted(request.signal)]);
      // What one person sent is never repeated in the name of another. Where nobody asked who it was, reading is repeated, and what
      // was refused for what it did not bring: there was a session.
      const same = before ? !who(before) || who(before) === who(known) : isRead(request) || stale || said === "token-required";
      if (!signedIn || !again || !same || (stale && sent === proof)) return response;
      void response.body?.cancel();
      return send(again, elsewhere);
    },

    login: (options) => go("login", options),
    register: (options) => go("register", options),

    async logout({ everywhere, returnTo }: LogoutOptions = {}) {
      depart(); // so that calls refused from now on do not lead to the login
      try {
        const response = await post("logout" + query({ everywhere, return_to: returnTo }));
        const { logout_url } = await read<{ logout_url: string }>(response, "logout_url", "string");
        learn(signedOut);
        navigate(new URL(logout_url, new URL(root, location.href)).href);
      } catch (error) {
        stay();
        throw error;
      }
    },

    on(type, listener) {
      listeners[type].add(listener);
      if (!known && inBrowser) look();
      return () => void listeners[type].delete(listener);
    },
  };
}

/** Names the person; nobody is "". */
function who(session: Session | undefined): string {
  return session?.authenticated ? String(session.user?.sub) : "";
}

function originOf({ url }: { readonly url: string }): string {
  return new URL(url).origin;
}

function isRead({ method }: Request): boolean {
  return method === "GET" || method === "HEAD";
}

/** What the page says itself goes. */
function bring({ headers }: Request, name: string, value: string): void {
  if (!headers.has(name)) headers.set(name, value);
}

function time(text: string | undefined): number {
  return Date.parse(text ?? "") || Infinity;
}

function query(parameters: Readonly<Record<string, string | boolean | undefined>>): string {
  const set = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value) set.set(name, value === true ? "1" : value);
  }
  return "?" + set;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}
