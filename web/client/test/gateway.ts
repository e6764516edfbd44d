import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A gateway as the client sees it, over a real socket. Its state is set by the tests. */
export interface Gateway {
  readonly origin: string;
  /** Who holds the cookie. */
  person: string | undefined;
  /** How long the access token is good, in ms. */
  access: number;
  /** The store is away. */
  away: boolean;
  /** Every request, as "METHOD path?query body". */
  readonly log: string[];
  /** Called before a request is answered. */
  before: (line: string) => void | Promise<void>;
  count(start: string): number;
  close(): Promise<void>;
}

export async function startGateway(): Promise<Gateway> {
  const server: Server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const gateway: Gateway = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    person: undefined,
    access: 60_000,
    away: false,
    log: [],
    before: () => {},
    count: (start) => gateway.log.filter((line) => line.startsWith(start)).length,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    const line = `${request.method} ${request.url}${body && " " + body}`;
    gateway.log.push(line);
    await gateway.before(line);
    const json = (status: number, value: unknown, headers = {}) =>
      response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(value));
    const later = (ms: number) => new Date(Date.now() + ms).toISOString();
    const path = request.url!.split("?")[0]!;

    if (gateway.away) return void json(503, { type: "urn:cloakroom:unavailable", title: "The store is away" }, { "Retry-After": "1" });
    switch (path.replace(/^\/auth\d*/, "")) {
      case "/session":
        if (!gateway.person) return void json(200, { authenticated: false });
        return void json(200, {
          authenticated: true,
          user: { sub: gateway.person },
          expires_at: later(3_600_000),
          idle_expires_at: later(1_800_000),
          access_expires_at: later(gateway.access),
        });
      case "/refresh":
        gateway.access = 60_000;
        return void response.writeHead(204).end();
      case "/logout":
        gateway.person = undefined;
        return void json(200, { logout_url: "/auth/logout?once=1" });
      case "/api/own-401":
        return void json(401, { error: "the API's own" });
      case "/api/forbidden":
        return void json(403, { error: "the API's own" });
      case "/api/never":
        return void json(401, {}, { Cloakroom: "login-required" });
      default:
        if (!gateway.person || gateway.access <= 0) return void json(401, { title: "Signed out" }, { Cloakroom: "login-required" });
        return void json(200, { person: gateway.person, body });
    }
  }
  return gateway;
}
