// The page that the tests of a file share, and a gateway for each of them.
import rawConsole from "node:console";
import { afterEach, beforeEach, vi, type MockInstance } from "vitest";
import { createClient, type Client, type ClientOptions } from "../src/client.js";
import { startGateway, type Gateway } from "./gateway.js";

export let gateway: Gateway;
let assign: MockInstance<(url: string | URL) => void>;
let listening: MockInstance<typeof window.addEventListener>;
export let base = "";
let tabs = 0;

/** A tab of its own: it shares nothing with other clients of the same base but the channel. */
export const tab = (options: ClientOptions = {}): Client => createClient({ base, ...options });
/** Where the page has gone, within its own origin by the path alone. */
export const left = () => assign.mock.calls.map(([url]) => String(url).replace(location.origin, ""));
export const hide = (hidden: boolean) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  document.dispatchEvent(new Event("visibilitychange"));
};
/** The page comes back from the back/forward cache. */
export const back = () => window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));

/** Waits until look() does not fail any more, on a busy machine as well. */
export const until = (look: () => void) => vi.waitFor(look, { timeout: 10_000 });

/** Has the page be on an origin. */
export const visit = (origin: string) =>
  (window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL(`${origin}/notes/7?sort=new#top`);

beforeEach(async () => {
  gateway = await startGateway();
  visit(gateway.origin);
  assign = vi.spyOn(location, "assign").mockImplementation(() => {});
  base = `/auth${++tabs}/`;
  vi.spyOn(rawConsole, "error").mockImplementation(() => {}); // where happy-dom prints every refused request
  listening = vi.spyOn(window, "addEventListener");
});

afterEach(async () => {
  window.dispatchEvent(new Event("pagehide")); // closes the channels
  hide(false);
  // All tests share one window: what a client listens to there ends with its test.
  for (const [type, listener] of listening.mock.calls) window.removeEventListener(type, listener as EventListener);
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
  await gateway.close();
});

/** Web Locks, exclusive ones, in a few lines. */
export function lockManager() {
  const tails = new Map<string, Promise<unknown>>();
  let held = 0;
  const manager = {
    names: new Set<string>(),
    widest: 0,
    request<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
      manager.names.add(name);
      const turn = (tails.get(name) ?? Promise.resolve()).then(async () => {
        manager.widest = Math.max(manager.widest, ++held);
        return work().finally(() => held--);
      });
      tails.set(name, turn.catch(() => {}));
      return turn;
    },
  };
  return manager;
}
