/**
 * The browser's side of Cloakroom: who is signed in, and what to do when nobody is. It holds no token and patches nothing.
 *
 * @packageDocumentation
 */
import { call, ClientError, read } from "./endpoint.js";
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

const ignore = () => {};
const signedOut: Session = { authenticated: false };

/** Makes a client. One is enough for a page; it may be made on a server, where it does nothing until asked. */
export function createClient({ base = "/auth/", loginOn = [401] }: ClientOptions = {}): Client {
  const root = base.replace(/\/*$/, "/");
  const name = "cloakroom" + root; // of the channel and the lock
  const inBrowser = typeof document !== "undefined";
  const listeners: { readonly [Type in keyof ClientEvents]: Set<Listener<Type>> } = {
    change: new Set(),
    expiring: new Set(),
    expired: new Set(),
  };

  let known: Session | undefined; // the last answer
  let skew = 0; // this computer's clock minus the gateway's, in ms
  let asking: Promise<Session> | undefined;
  let recovering: Promise<boolean> | undefined;
  let leaving: Promise<void> | undefined; // pending while the page is being left
  let stay = ignore; // ends leaving
  let channel: BroadcastChannel | undefined;

  // Who is signed in.

  /** Asks the gateway. Calls at the same time share one request. */
  function ask(): Promise<Session> {
    return (asking ??= (async () => {
      try {
        const response = await call(root + "session", "GET");
        const session = await read<Session>(response, "authenticated", "boolean");
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

  // What to do about a refused request.

  function refused({ status, headers }: Response): boolean {
    return loginOn.includes(status) && (status !== 401 || headers.get("Cloakroom") === "login-required");
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
    return (await ask().catch(ignore))?.authenticated ?? false;
  }

  /** Asks who is signed in. If only the access token is over, it is renewed, by one tab for all. */
  async function renewed(): Promise<Session> {
    const session = await ask();
    if (!accessOver(session)) return session;
    const renew = async () => {
      if (accessOver(await ask())) await call(root + "refresh", "POST").catch(ignore); // what came of it, the next answer says
      return ask();
    };
    return navigator.locks ? navigator.locks.request(name, renew) : renew(); // locks need a secure context
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
    const { returnTo = location.pathname + location.search + location.hash, provider, prompt, loginHint, remember } = options;
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
      const first = new Request(input, init);
      const second = init?.body instanceof ReadableStream ? undefined : first.clone();
      const before = known;
      const response = await fetch(first);
      if (!inBrowser || !refused(response)) return response;

      recovering ??= recover().finally(() => (recovering = undefined));
      const alive = await Promise.race([recovering, aborted(first.signal)]);
      // What one person sent is never repeated in the name of another. Where nobody asked who it was, reading is repeated.
      const same = before ? !who(before) || who(before) === who(known) : /^(GET|HEAD)$/.test(first.method);
      if (!alive || !second || !same) return response;
      void response.body?.cancel();
      return fetch(second);
    },

    login: (options) => go("login", options),
    register: (options) => go("register", options),

    async logout({ everywhere, returnTo }: LogoutOptions = {}) {
      depart(); // so that calls refused from now on do not lead to the login
      try {
        const response = await call(root + "logout" + query({ everywhere, return_to: returnTo }), "POST");
        const { logout_url } = await read<{ logout_url: string }>(response, "logout_url", "string");
        learn(signedOut);
        navigate(logout_url);
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
