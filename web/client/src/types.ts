/** Who is signed in, as the gateway answers it. It never holds a token. */
export type Session = SignedIn | SignedOut;

/**
 * How the gateway gets the access token to the APIs. {@link Client.fetch} does what each of them takes: a page needs this for
 * nothing but to say it.
 */
export type Delivery = "proxy" | "cookie" | "split" | "memory";

/** Nobody is signed in. */
export interface SignedOut {
  readonly authenticated: false;
  /** How the access token would reach the APIs. */
  readonly delivery?: Delivery;
}

/** Somebody is signed in. Times are RFC 3339 text. */
export interface SignedIn {
  readonly authenticated: true;
  /** The claims that the gateway shows to pages (`session.claims`). */
  readonly user: User;
  /** When the session is over whatever happens. */
  readonly expires_at?: string;
  /** When the session is over unless a request comes. {@link Client.session} is no such request. */
  readonly idle_expires_at?: string;
  /** When the access token is over. The gateway renews it by itself. */
  readonly access_expires_at?: string;
  /**
   * The CSRF token, where the gateway is set up to want one. {@link Client.fetch} brings it along; a plain form takes it in its
   * field `_csrf`.
   */
  readonly csrf_token?: string;
  /** How the access token reaches the APIs. */
  readonly delivery?: Delivery;
}

/** Claims of the person. Only `sub` is sure to be there. */
export interface User {
  /** The person's identifier at the provider. Another `sub` is another person. */
  readonly sub: string;
  readonly [claim: string]: unknown;
}

/** What {@link createClient} can be told. */
export interface ClientOptions {
  /**
   * Where the gateway's endpoints are. Default: `/auth/`, a path on this page's origin. A page on another origin of the same site,
   * which the gateway lists in `origins`, gives the whole URL: `https://app.example.com/auth/`.
   */
  readonly base?: string;
  /**
   * Origins of your APIs that are not behind the gateway, as `https://api.example.com`. Requests to them carry what shows them who
   * is asking: cookies and the CSRF token, or the access token. Everything in this list sees it, so list nothing that is not yours.
   * Default: none; requests to other origins are sent as they are. An entry that is no URL is a `TypeError`.
   */
  readonly origins?: readonly string[];
  /**
   * Statuses of an answer that mean "signed out". Default: `[401]`. From behind the gateway a 401 only counts if it is the gateway's,
   * never the API's own; from an API in `origins` each does, and any other status counts by itself. An empty list: `fetch` never
   * leaves the page.
   */
  readonly loginOn?: readonly number[];
}

/** How a login goes. */
export interface LoginOptions {
  /** Where to come back to: a path on this origin. Default: this page, with its query and fragment. */
  readonly returnTo?: string;
  /** The provider, by its name in the configuration. Default: the gateway's only one, or its chooser page. */
  readonly provider?: string;
  /** OpenID Connect Core §3.1.2.1. */
  readonly prompt?: "none" | "login" | "consent" | "select_account";
  /** Who probably signs in, mostly an e-mail address; at most 256 bytes. */
  readonly loginHint?: string;
  /** Stay signed in when the browser closes. */
  readonly remember?: boolean;
}

/** How a logout goes. */
export interface LogoutOptions {
  /** End all sessions of this person, not only this browser's. */
  readonly everywhere?: boolean;
  /** Where to go in the end: a path on this origin. Default: what the gateway is set up for. */
  readonly returnTo?: string;
}

/** The person is another one than before, or nobody, or somebody at last. */
export interface ChangeEvent {
  /** What is true now. */
  readonly session: Session;
  /** What was true before. */
  readonly previous: Session;
}

/** The session ends soon. A request to an API route prolongs it, unless its absolute end is near. */
export interface ExpiringEvent {
  /** The session that ends. */
  readonly session: SignedIn;
  /** When, by this computer's clock. */
  readonly at: Date;
}

/** A request was refused, nobody is signed in, and this tab is about to go to the login. */
export interface ExpiredEvent {
  /** Stay on the page: the refused calls get their answer, and the next refused call asks again. */
  preventDefault(): void;
}

/** The events of a {@link Client} by name. */
export interface ClientEvents {
  /** Somebody signed in or out, here or in another tab. Not sent for the first answer. */
  readonly change: ChangeEvent;
  /** Sent once for each end: a minute before it, or a fifth of the time that was left when the page asked if that is shorter. */
  readonly expiring: ExpiringEvent;
  /** Sent before this tab goes to the login. It waits for listeners that return a promise; one that fails keeps the page. */
  readonly expired: ExpiredEvent;
}

/** What {@link createClient} returns. Its functions can be passed around on their own. */
export interface Client {
  /**
   * Asks who is signed in. It never prolongs the session. While the gateway cannot say, the answer is the last one known.
   *
   * @throws {@link ClientError} if nothing is known yet and the gateway cannot say.
   */
  session(): Promise<Session>;

  /**
   * Does what the global `fetch` does, with what the gateway, or an API in {@link ClientOptions.origins}, wants to see: nothing, a
   * CSRF token, cookies or the access token, as the gateway is set up. Where the gateway or such an API refuses the request because
   * of the session or one of these, the client has it renewed and repeats the request once. If nobody is signed in, this tab goes to
   * the login as soon as it is visible, once for any number of refused calls, and comes back to this page. Requests to other
   * origins and their answers are passed on as they are.
   *
   * The promise waits while the page is left. It gets the refused answer if the page stays (an `expired` listener said so,
   * the person cancelled, or came back), if the repeated request is refused too, if someone else is signed in than when the
   * request was sent, if its body was a `ReadableStream` and can only be sent once, or if the gateway cannot say who is
   * signed in. An aborted `signal` ends the wait.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;

  /** Leaves for the login. Calls after the first do nothing while the page is being left. */
  login(options?: LoginOptions): void;

  /** Leaves for the provider's sign-up page. */
  register(options?: LoginOptions): void;

  /**
   * Ends the session, tells the other tabs, and leaves for the provider's logout.
   *
   * @throws {@link ClientError} if the gateway did not end the session.
   */
  logout(options?: LogoutOptions): Promise<void>;

  /**
   * Calls listener for each event of a type, until the returned function is called. The first listener makes the client ask
   * who is signed in.
   */
  on<Type extends keyof ClientEvents>(type: Type, listener: Listener<Type>): () => void;
}

/**
 * A function that is told of an event. Of what it returns only a promise matters, and only to `expired`. An error it throws is
 * reported as an uncaught one, and the other listeners are told still.
 */
export type Listener<Type extends keyof ClientEvents> = (event: ClientEvents[Type]) => unknown;
