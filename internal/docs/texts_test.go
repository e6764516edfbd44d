package docs

// What stands around the generated tables.
const (
	endpointsIntroduction = `# The endpoints

All of them are below ` + "`/auth/`" + `; the option ` + "`prefix`" + ` moves them. A page or a program uses these and no others. Everything else that a
browser asks for follows [` + "`routes`" + `](config.md#routes).

Whoever calls an endpoint that uses the session cookie passes the guard first, see [security](security.md#requests). The endpoints that a
person visits (` + "`login`, `register`, `continue`, `logout/next`" + `) answer navigations only: a browser's image, frame or ` + "`fetch`" + ` starts nothing.
Errors are in [one form](errors.md). Scripts of front ends in [` + "`origins`" + `](security.md#front-ends-on-other-origins) may call those that
use the session cookie, and import ` + "`client.js`" + `. What such a request has to prove is decided by [` + "`csrf`" + `](security.md#by-option-a-header-or-a-token).

No answer holds a refresh token. None holds an access token, unless a [delivery](security.md#how-the-token-reaches-the-api) was chosen that puts
it into cookies, or hands it to the page (` + "`POST token`" + `). One holds the ID token: the redirect to the provider's logout, or the form in place of a long one, carries it as ` + "`id_token_hint`" + `, as the standard asks (OpenID Connect RP-Initiated Logout §2). It says who signed in, and opens nothing at an
API that checks ` + "`aud`" + `. Script that signs out by ` + "`fetch`" + ` gets an address of ours instead.

This page is made from the route table in ` + "`internal/gateway`" + `.

`

	accountsIntroduction = `## With accounts of our own

These are there with ` + "[`accounts`](config.md#accounts)" + `. Forms and JSON that begin a session come from our own pages or from listed origins, whatever ` + "`csrf`" + ` asks
of requests in a session.

`

	errorsIntroduction = `# The errors

Each refusal has one code. It decides the status, what a person reads, the label of the metric ` + "`cloakroom_failures_total`" + ` and what the
TypeScript client does.

- A **navigation** is sent to the login with 401 codes, and comes back to where it wanted to go. With any other code it gets a page in
  plain words, with "Try again" where that may help, and an id that is also in the log.
- **Everything else** gets ` + "`application/problem+json`" + ` (RFC 9457). Its ` + "`type`" + ` is ` + "`urn:cloakroom:CODE`" + `:

` + "```json" + `
{"type":"urn:cloakroom:none","title":"Please sign in","status":401,"detail":"You are not signed in.","login_url":"/auth/login","request_id":"4hMgPYZRzzr9"}
` + "```" + `

- Our own 401 carries the header ` + "`Cloakroom: login-required`" + `. An API's own 401 does not, and passes as it is.
- With ` + "`tokens.delivery: memory`" + ` a request without the access token of its session gets a 401 with ` + "`Cloakroom: token-required`" + ` instead: the person is
  signed in, and ` + "`POST token`" + ` has the token to come again with.
- The guard's 403 carries ` + "`Cloakroom: cross-site`" + `: a page whose CSRF token is that of an older session asks for the current one.
- On a route with ` + "`bearer: accept`" + ` a 401 has ` + "`WWW-Authenticate: Bearer`" + `, with ` + "`error=\"invalid_token\"`" + ` for a token that is no good there (RFC 6750 §3).
- 429 and 503 carry ` + "`Retry-After`" + `.
- Nothing else of an error reaches a response. The log has the cause, the ` + "`request_id`" + ` and, where there is one, a hint what to do.

This page is made from ` + "`session/errors.go` and `internal/answer`" + `.

| code | status | what happened | what a person reads |
| --- | --- | --- | --- |
`

	threatsIntroduction = `# Threats

What an attacker gets, for every place in which Cloakroom can keep a session and its access token, and for three ways in which front ends keep
one without a gateway. Nothing on this page is an opinion: it is made from what the laboratory of the demonstration measured, in Chromium, over
https, on a host with a sibling and an attacker on another site. The browser suite attacks all of it anew and fails when a cell comes out otherwise.

**See for yourself:** ` + "`cloakroom demo`, then `/lab/`" + ` on its page. It attacks in your own browser, and shows where that differs. Over plain http,
as the demonstration runs by itself, some does: cookies have no prefix that the browser would enforce, and ports share them.

What it cannot say: that an attack which is blocked here cannot be made in another way. What a row shows is that this attack, made in earnest,
came to this. [Choosing](choosing.md) says which of the ways is for whom, [security](security.md) what is checked where.

` + "`store` and `sealed` are `session.storage`; `proxy`, `cookie`, `split` and `memory` are `tokens.delivery`" + `, see [configuration](config.md#session).
Everything else is as it is without a word in the configuration: ` + "`csrf: origin`, `same_site: strict`, no `tokens.domain`." + `

✅ blocked · 🟠 partly · ❌ succeeds

`

	logsIntroduction = `# Logs and metrics

` + "`cloakroom serve`" + ` writes three logs, each by ` + "`log/slog`" + `: text on a terminal, one JSON object a line elsewhere (` + "`log.format`" + ` decides otherwise).
No log holds a token, a cookie, a code, a query string or a secret. What belongs together has the same ` + "`request_id`" + ` (one request) or
` + "`session`" + ` (one stay in one browser): a keyed hash that opens nothing.

This page is made from ` + "`internal/telemetry`, `audit` and `session`" + `.

`

	accessIntroduction = `## Access log

One record with the message ` + "`request`" + ` for each request, to ` + "`log.access`" + ` (standard output by default). Records wait up to 200 ms before they are
written.

` + "```json" + `
{"time":"2026-11-22T06:23:44.604126422Z","level":"INFO","msg":"request","request_id":"El2AGSvk1T6_","method":"GET","path":"/api/notes","route":"/api/","status":200,"bytes":155,"duration_ms":0.13,"address":"203.0.113.7","session":"t2fFv0LdW1mh"}
` + "```" + `

`

	auditIntroduction = `
## Audit log

One record with the message ` + "`audit`" + ` for each login, renewal, refusal and end, to ` + "`log.audit`" + ` (standard output by default). It is written at once.

` + "```json" + `
{"time":"2026-11-22T06:23:44.604126422Z","level":"INFO","msg":"audit","action":"login","session":"t2fFv0LdW1mh","provider":"main","issuer":"https://login.example.com/","subject":"4711","address":"203.0.113.7","request_id":"KubGHTVukYBy"}
` + "```" + `

`

	errorLogIntroduction = `
## Error log

What operators read, on standard error, from ` + "`log.level`" + ` on. Every request that ends in an [error](errors.md) has a record ` + "`request failed`" + `: level
` + "`ERROR`" + ` for a status from 500 on, ` + "`WARN`" + ` for a refusal, ` + "`DEBUG`" + ` for a request that is only not signed in, or a path that is not there. Beside
` + "`request_id`, `method` and `path`" + ` it has:
`

	metricsIntroduction = `
## Metrics

Prometheus reads them at ` + "`/metrics`" + ` of the admin listener.
`

	metricsEnd = `
Go's runtime and the process have their usual metrics beside these. ` + "`route`" + ` is a path of the configuration or an endpoint, never text of a
request; ` + "`status`" + ` is ` + "`2xx`" + ` and its likes; ` + "`code`" + ` and ` + "`action`" + ` are the lists above.

Worth an alert: any ` + "`cloakroom_events_total{action=\"theft\"}`" + `; ` + "`action=\"renewal_failed\"`" + ` or ` + "`\"login_failed\"`" + ` above the usual;
` + "`cloakroom_failures_total{code=\"unavailable\"}`" + `, ` + "`\"provider_down\"`" + `, ` + "`\"provider_refused\"`" + ` and ` + "`\"provider_lied\"`" + `.
`
)
