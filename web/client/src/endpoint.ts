import { codes, type Code } from "./code.js";

/** Why the gateway could not do what it was asked: its own word, or `offline` when no answer came within 30 seconds. */
export type ErrorCode = Code | "offline";

/** The only error of the client itself. */
export class ClientError extends Error {
  /** Always "ClientError". */
  override readonly name = "ClientError";
  /** How to react. */
  readonly code: ErrorCode;

  /** Used by the client. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The header that shows that a request was meant. */
export const TOKEN = "X-CSRF-Token";

/** Calls one of the gateway's endpoints. Whatever is not a good answer is a ClientError. */
export async function call(url: string, method: "GET" | "POST", proof: string): Promise<Response> {
  const response = await fetch(url, {
    method,
    headers: { Accept: "application/json", [TOKEN]: proof },
    credentials: "include", // the gateway may be on another origin of the site
    cache: "no-store",
    signal: AbortSignal.timeout(30_000),
  }).catch((cause: unknown) => {
    throw new ClientError("offline", `${url}: no answer`, { cause });
  });
  if (response.ok) return response;
  const { status } = response;
  const problem = await response.json().catch(() => undefined); // whatever stands between may have answered with a page
  const said = codes.find((code) => String(problem?.type).endsWith(code));
  throw new ClientError(
    said ?? (status === 401 ? "none" : status === 503 ? "unavailable" : "internal"),
    `${url}: ${problem?.detail ?? problem?.title ?? status}`,
  );
}

/** Reads a JSON answer that must have a member of the given type. */
export async function read<Answer>(response: Response, member: keyof Answer, type: "boolean" | "string"): Promise<Answer> {
  const answer = await response.json().catch(() => undefined);
  // The usual reason is a wrong base: a single-page fallback answers any path with 200 and a page.
  if (typeof answer?.[member] !== type) throw new ClientError("internal", `${response.url}: not Cloakroom's answer; is base right?`);
  return answer;
}
