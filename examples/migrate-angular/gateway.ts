import { HttpErrorResponse, HttpHeaders, type HttpInterceptorFn, type HttpRequest, HttpResponse } from "@angular/common/http";
import { defer, finalize, from } from "rxjs";
import { auth } from "./session";

/** Sends what HttpClient is asked for by the client's fetch. Where an answer has no body of the wanted kind, the body is null. */
export const gateway: HttpInterceptorFn = (request) =>
  defer(() => {
    const abort = new AbortController();
    return from(send(request, abort.signal)).pipe(finalize(() => abort.abort()));
  });

const read = { json: "json", text: "text", blob: "blob", arraybuffer: "arrayBuffer" } as const;

async function send(request: HttpRequest<unknown>, signal: AbortSignal): Promise<HttpResponse<unknown>> {
  const headers = new Headers();
  for (const name of request.headers.keys()) headers.set(name, request.headers.getAll(name)!.join());
  const type = request.detectContentTypeHeader();
  if (type && !headers.has("Content-Type")) headers.set("Content-Type", type);

  const answer = await auth.fetch(request.urlWithParams, { method: request.method, headers, body: request.serializeBody(), signal });
  const body = await answer[read[request.responseType]]().catch(() => null);
  const init = { status: answer.status, statusText: answer.statusText, url: answer.url, headers: new HttpHeaders(answer.headers) };
  if (!answer.ok) throw new HttpErrorResponse({ ...init, error: body });
  return new HttpResponse({ ...init, body });
}
