import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A gateway as the client sees it, over a real socket. Its state is set by the tests. */
export interface Gateway {
  readonly origin: string;
  /** Who holds the cookie. */
  person: string | undefined;
  /** How long the access token is good, in ms. */
  access: number;
  /** How the token reaches the API. With "memory" the API's paths want the current one as a bearer. */
  delivery: "proxy" | "cookie" | "split" | "memory";
  /** What a request must prove. */
  csrf: "origin" | "header" | "token";
  /** Counts logins and renewals: tokens of another number are not good any more. */
  login: number;
  renewal: number;
  /** The store is away. */
  away: boolean;
  /** Every request, as "METHOD path?query body". Preflights are none. */
  readonly log: string[];
  /** Headers of every request, in the same order. */
  readonly headers: IncomingHttpHeaders[];
  /** Called before a request is answered. */
  before: (line: string) => void | Promise<void>;
  count(start: string): number;
  /** The header that each request of a beginning carried. */
  sent(start: string, header: string): (string | undefined)[];
  /** The access token and the CSRF token of now. */
  token(): string;
  proof(): string;
  close(): Promise<void>;
}

export async function startGateway(): Promise<Gateway> {
  const { origin, log, headers, close, sent, count } = await listen(answer);
  const gateway: Gateway = {
    origin,
    person: undefined,
    access: 60_000,
    delivery: "proxy",
    csrf: "origin",
    login: 1,
    renewal: 1,
    away: false,
    log,
    headers,
    before: () => {},
    count,
    sent,
    token: () => `access-token-of-${gateway.person}-${gateway.login}.${gateway.renewal}`,
    proof: () => `proof-of-${gateway.person}-${gateway.login}`,
    close,
  };

  async function answer(request: IncomingMessage, response: ServerResponse, line: string, body: string): Promise<void> {
    await gateway.before(line);
    const json = (status: number, value: unknown, headers = {}) => answerJSON(response, status, value, headers);
    const later = (ms: number) => new Date(Date.now() + ms).toISOString();
    const path = request.url!.split("?")[0]!.replace(/^\/auth\d*/, "");
    const proof = request.headers["x-csrf-token"];
    const writes = request.method !== "GET" && request.method !== "HEAD";

    if (gateway.away) return json(503, { type: "urn:cloakroom:unavailable", title: "The store is away" }, { "Retry-After": "1" });
    const proven = gateway.csrf === "header" ? proof : gateway.csrf !== "token" || !writes || !gateway.person || proof === gateway.proof();
    if (!proven) return json(403, { type: "urn:cloakroom:cross_site", title: "Refused" }, { Cloakroom: "cross-site" });
    switch (path) {
      case "/session":
        if (!gateway.person) return json(200, { authenticated: false, delivery: gateway.delivery });
        return json(200, {
          authenticated: true,
          user: { sub: gateway.person },
          expires_at: later(3_600_000),
          idle_expires_at: later(1_800_000),
          access_expires_at: later(gateway.access),
          delivery: gateway.delivery,
          ...(gateway.csrf === "token" && { csrf_token: gateway.proof() }),
        });
      case "/refresh":
        if (!gateway.person) return json(401, { type: "urn:cloakroom:none" }, { Cloakroom: "login-required" });
        gateway.access = 60_000;
        gateway.renewal++;
        return void response.writeHead(204).end();
      case "/token":
        if (!gateway.person) return json(401, { type: "urn:cloakroom:none" }, { Cloakroom: "login-required" });
        return json(200, { access_token: gateway.token(), token_type: "Bearer", expires_in: gateway.access / 1000 });
      case "/logout":
        gateway.person = undefined;
        return json(200, { logout_url: "/auth/logout?once=1" });
      case "/api/own-401":
        return json(401, { error: "the API's own" });
      case "/api/forbidden":
        return json(403, { error: "the API's own" });
      case "/api/never":
        return json(401, {}, { Cloakroom: "login-required" });
      default:
        if (!gateway.person || gateway.access <= 0) return json(401, { title: "Signed out" }, { Cloakroom: "login-required" });
        if (gateway.delivery === "memory" && request.headers.authorization !== `Bearer ${gateway.token()}`) {
          return json(401, { type: "urn:cloakroom:token_required" }, { Cloakroom: "token-required" });
        }
        return json(200, { person: gateway.person, body });
    }
  }
  return gateway;
}

/** An API that is not behind the gateway, on an origin of its own. */
export interface API {
  readonly origin: string;
  /** Whether it lets a request in. */
  admits: (headers: IncomingHttpHeaders) => boolean;
  /** Status and headers of its refusals. */
  status: number;
  refusal: Record<string, string>;
  readonly log: string[];
  count(start: string): number;
  sent(start: string, header: string): (string | undefined)[];
  close(): Promise<void>;
}

export async function startAPI(): Promise<API> {
  const server = await listen((request, response, _, body) => {
    if (!api.admits(request.headers)) return answerJSON(response, api.status, { error: "refused" }, api.refusal);
    answerJSON(response, 200, { body });
  });
  const api: API = { ...server, admits: () => true, status: 401, refusal: {} };
  return api;
}

type Answer = (request: IncomingMessage, response: ServerResponse, line: string, body: string) => void | Promise<void>;

/** Serves pages of any origin, as far as CORS goes, and writes down what was asked. */
async function listen(answer: Answer) {
  const log: string[] = [];
  const headers: IncomingHttpHeaders[] = [];
  const server: Server = createServer((request, response) => void serve(request, response));
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    if (request.headers.origin) {
      response.setHeader("Access-Control-Allow-Origin", request.headers.origin);
      response.setHeader("Access-Control-Allow-Credentials", "true");
      response.setHeader("Access-Control-Expose-Headers", "Cloakroom, WWW-Authenticate, Date");
    }
    if (request.method === "OPTIONS") {
      response.setHeader("Access-Control-Allow-Headers", request.headers["access-control-request-headers"] ?? "");
      response.setHeader("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
      return void response.writeHead(204).end();
    }
    const line = `${request.method} ${request.url}${body && " " + body}`;
    log.push(line);
    headers.push(request.headers);
    await answer(request, response, line, body);
  }
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    log,
    headers,
    count: (start: string) => log.filter((line) => line.startsWith(start)).length,
    sent: (start: string, header: string) =>
      log.flatMap((line, n) => (line.startsWith(start) ? [headers[n]![header] as string | undefined] : [])),
    close: () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

function answerJSON(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(value));
}
