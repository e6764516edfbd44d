package config

import (
	"regexp"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/session"
)

// options reads all there is. The order is that of the reference.
func options(f *form, c *Config) {
	f.text(&c.URL, "url", "", "What the browser types: scheme, host and port. It decides the redirect URI, cookie names and `Secure`.", origin)
	f.flag(&c.InsecureHTTP, "insecure_http", false, "Allow a plain `http` url on a host that is not this machine. Everyone on the network can take the sessions over.")
	f.text(&c.Listen, "listen", ":8080", "Where browsers connect to: `HOST:PORT`, or `:PORT` for all addresses.", address)
	f.text(&c.Admin, "admin", "127.0.0.1:9090", "Health, readiness and metrics. Never the public port; `off` for none.", orOff(address))
	f.text(&c.Control.Path, "control", "cloakroom.sock", "Unix socket for `cloakroom sessions`, made with mode 0600; `off` for none. Where it is not set and cannot be made, the gateway starts without one and says so.", oneLine)
	f.flag(&c.PProf, "pprof", false, "Serve Go profiles under `/debug/pprof/` of the admin listener.")
	f.text(&c.Endpoints.Prefix, "prefix", "/auth/", "Path of Cloakroom's own endpoints.", prefix)
	f.words(&c.Guard.Origins, "origins", nil, "Front ends on other origins of the same site that may use the session and read answers (CORS): exact, scheme and port included.", origin)
	f.words(&c.Guard.OriginHeaders, "origin_headers", nil, "Headers that scripts on these origins may send beside the usual ones, like `apollo-require-preflight`.", headerName)
	f.word(&c.Guard.CSRF, "csrf", "origin", []string{"origin", "header", "token"}, "How a request proves that it was meant, beside where it comes from: by nothing more (`origin`), by any `X-CSRF-Token` (`header`), or by the one of its session (`token`), in that header or in the form field `_csrf`.")
	f.prefixes(&c.Trusted, "trusted_proxies", "Networks of the proxies in front, whose `X-Forwarded-For` counts.")
	var keys []secret
	f.secrets(&keys, &c.KeyFiles, "keys", "Keys of 32 bytes that seal cookies and records, each by itself or in a [file of several](operations.md#rotation) that `cloakroom keys rotate` keeps. The first of the list seals, all open. `cloakroom keys new` makes one.", sealingKeys)
	f.text(&c.StoreDSN, "store", "sqlite:cloakroom.db", "Where sessions rest: `sqlite:PATH`, or `memory:`, which forgets them at the end of the process. With `session.storage: sealed` it keeps only which sessions were ended and who renews, and is `memory:` unless it is set.", dsn)

	people(f, c)
	f.each("providers", "NAME", "OpenID providers, by a name of your choice. One is needed, or `accounts`.", func(f *form, name string) { provider(f, name, c) })

	sessions(f, c)
	c.Endpoints.Allow = allow(f)

	f.all("routes", "What is where: the longest path that fits wins. One is needed.", func(f *form) { route(f, c) })

	f.text(&c.TLS.Cert, "tls.cert", "", "File with the certificate and its chain, PEM. Read again when it changes.", f.there)
	f.text(&c.TLS.Key, "tls.key", "", "File with the certificate's key, PEM.", f.there)
	f.text(&c.Pages.Style, "pages.style", "", "File with a style sheet for Cloakroom's own pages, which comes after theirs.", f.there)
	f.text(&c.Pages.Logo, "pages.logo", "", "File with an image for them, in the place of Cloakroom's: `.svg`, `.png`, `.jpg` or `.webp`.", f.there)
	f.text(&c.Endpoints.SignedOut, "logout.signed_out", "", "Path to go to after logout; without it a page of Cloakroom's own.", landing)
	f.words(&c.Endpoints.ClearSite, "logout.clear_site", []string{"cache"}, "`Clear-Site-Data` at logout: `cache`, `storage`.", oneOf("cache", "storage"))
	f.count(&c.Endpoints.LoginsPer, "limits.logins_per_address", 60, 1, "Logins that one address may begin in a minute.")
	f.count(&c.Endpoints.LoginsInAll, "limits.logins", 6000, 1, "Logins that all addresses together may begin in a minute.")
	f.count(&c.Anonymous.StreamsPer, "limits.streams_per_address", 100, 1, "Streams and WebSockets that one address may have open at a time where nobody is signed in.")
	f.count(&c.Anonymous.StreamsInAll, "limits.streams", 10000, 1, "Such streams of all addresses together.")

	logs(f, c)

	if f.docs != nil {
		return
	}
	// In cloakroom.Config zero is the default; who says 0s means never.
	c.Session.CacheStale = max(c.Session.CacheStale, 1)
	for _, k := range keys {
		c.Keys = append(c.Keys, string(k))
	}
	complete(f, c)
}

// sessions reads how long they last, where they rest, and what becomes of their tokens.
func sessions(f *form, c *Config) {
	defaults := session.DefaultOptions()
	f.word(&c.Cookie.Storage, "session.storage", "store", []string{"store", "sealed"}, "Where the session rests: in the `store`, with a ticket in the cookie, or `sealed` in the cookies themselves.")
	f.duration(&c.Session.Idle, "session.idle", defaults.Idle, time.Minute, year, "End a session after this long without a request; at least 1m.")
	f.duration(&c.Session.Absolute, "session.absolute", defaults.Absolute, time.Minute, year, "End a session this long after the login, whatever happens; at least `session.idle`.")
	f.flag(&c.Session.Persistent, "session.persistent", defaults.Persistent, "Keep the cookie when the browser closes.")
	f.word(&c.Cookie.SameSite, "session.same_site", "strict", []string{"strict", "lax"}, "`SameSite` of the session cookie.")
	f.count(&c.Session.MaxSessions, "session.max_sessions", 0, 0, "How many sessions a person may have at a time; 0 for any number. Not with `session.storage: sealed`.")
	f.word(&c.Session.WhenFull, "session.when_full", session.EndOldest, []string{session.EndOldest, session.Refuse}, "What a login beyond `session.max_sessions` does: the session that began first ends (`end_oldest`), or the login is refused (`refuse`).")
	f.duration(&c.Session.CacheStale, "session.cache_stale", defaults.CacheStale, 0, time.Minute, "While the store is away, go on with sessions that were verified this recently; 0s to 60s.")
	f.words(&c.Endpoints.Claims, "session.claims", []string{"sub", "name", "email", "picture", "preferred_username"}, "Claims that the page is told.", claim)
	f.word(&c.Tokens.Delivery, "tokens.delivery", "proxy", delivery.Words, "How the access token reaches the API: `proxy`, only the gateway has it; `cookie`, the browser has it in an `HttpOnly` cookie; `split`, all but the signature in a cookie that script can read, the signature in an `HttpOnly` one; `memory`, the page asks `POST token` for it and keeps it in a variable.")
	f.text(&c.Tokens.Domain, "tokens.domain", "", "`Domain` of the cookies with the token, for APIs on sibling hosts: the host of `url` or a parent of it. Without it only that host gets them.")
	f.text(&c.Tokens.Path, "tokens.path", "", "`Path` of the cookies with the token; without it `/`.", cookiePath)
}

// logs reads what is written down, and where.
func logs(f *form, c *Config) {
	var level string
	f.word(&level, "log.level", "info", []string{"debug", "info", "warn", "error"}, "From which level on the log speaks.")
	f.word(&c.Log.Format, "log.format", "auto", []string{"auto", "text", "json"}, "`auto` is text on a terminal and JSON elsewhere.")
	f.text(&c.Log.Access, "log.access", "stdout", "One record for each request: `stdout`, `stderr`, `off` or a file.", oneLine)
	f.text(&c.Log.Audit, "log.audit", "stdout", "One record for each login, renewal, refusal and end: `stdout`, `stderr`, `off` or a file.", oneLine)
	c.Log.Level.UnmarshalText([]byte(level)) // the words are slog's own
}

const year = 366 * 24 * time.Hour

func provider(f *form, name string, c *Config) {
	var p cloakroom.Provider
	f.text(&p.Issuer, "issuer", "", "The provider's issuer, as its metadata has it; `https`, or `http` on this machine.", wireURL)
	f.text(&p.Title, "name", "", "What people are told where they choose how to sign in, like `Google`; without it the name here.", oneLine)
	f.text(&p.ClientID, "client_id", "", "As registered at the provider.", oneLine)
	var s secret
	f.secret(&s, "client_secret", "As registered at the provider.", oneLine)
	p.ClientSecret = string(s)
	f.words(&p.Scopes, "scopes", []string{"openid", "profile", "email", "offline_access"}, "What to ask for; `openid` always is. `offline_access` brings a refresh token.", scope)
	f.text(&p.Audience, "audience", "", "What makes some providers issue a JWT for an API.", oneLine)
	f.oneOrMore(&p.Resource, "resource", "The same by RFC 8707: absolute URIs. Some providers then refuse the token at their userinfo endpoint; `userinfo: false` does without it.", resource)
	f.words(&p.ACRValues, "acr_values", nil, "How strongly people must sign in, best first, in the provider's own words. A login whose `acr` is none of these is refused.", strength)
	f.table(&p.Params, "params", "More parameters for the authorization and refresh requests.", loginParam)
	f.word(&p.AuthMethod, "auth_method", "", []string{"client_secret_basic", "client_secret_post"}, "How the gateway proves itself at the provider; without it, the first of these that the provider lists.")
	f.word(&p.ResponseMode, "response_mode", "query", []string{"query", "form_post"}, "How the provider sends its answer.")
	f.word(&p.Callback, "callback", "", []string{"shared", "own"}, "Which redirect URI: `/auth/callback` (`shared`), or `/auth/callback/NAME` (`own`). Without it `shared` for a single provider and `own` for each of several. `cloakroom check` shows it.")
	userinfo := true
	f.flag(&userinfo, "userinfo", true, "Ask the userinfo endpoint for claims. Without it they come from the ID token and, where that is silent, from an access token that is a JWT.")
	p.UserinfoOff = !userinfo
	f.word(&p.RegisterHint, "register_hint", "prompt", []string{"prompt", "screen_hint"}, "How to ask for the sign-up page: `prompt=create`, or `screen_hint=signup`.")
	f.words(&p.Algorithms, "algorithms", []string{"RS256"}, "Signatures of ID tokens that are accepted.", algorithm)

	f.word(&p.AccessType, "access_token_type", "at+jwt", []string{"at+jwt", "JWT"}, "What its access tokens are, for routes with `bearer: accept`: those of RFC 9068, or `JWT` for a provider that writes that, or nothing, for a `typ` into all its tokens, or leaves out a claim of the profile.")

	if name == accounts.Name && f.docs == nil {
		f.wrong(f.at, "%q is what our own accounts are called; take another name", name)
	}
	if !providerName.MatchString(name) && f.docs == nil {
		f.wrong(f.at, "%q is no name for a provider; take up to 32 of a to z, 0 to 9, - and _", name)
	}
	f.need("issuer", "the URL that the provider's metadata calls issuer")
	f.need("client_id", "the provider shows it where the application is registered")
	f.need("client_secret", "a gateway is a confidential client (RFC 9700 §2.1.2); register it as a web application")
	if c.Providers == nil {
		c.Providers = map[string]cloakroom.Provider{}
	}
	c.Providers[name] = p
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

func route(f *form, c *Config) {
	var r cloakroom.Route
	f.text(&r.Path, "path", "", "`/api/` and all below it, or exactly `/health`.", path)
	f.text(&r.Upstream, "upstream", "", "Where requests go: `http(s)://HOST[:PORT][/BASE]`. Either this or `files`.", upstream)
	f.text(&r.Files, "files", "", "A folder of static files.", f.folder)
	f.word((*string)(&r.Auth), "auth", string(cloakroom.AuthRequired), []string{string(cloakroom.AuthRequired), string(cloakroom.AuthOptional), string(cloakroom.AuthOff)},
		"Whether the route needs a session. `off` does not even look for one.")
	f.words(&r.Methods, "methods", nil, "Methods that pass; without it all but TRACE and CONNECT.", method)
	f.flag(&r.StripPrefix, "strip_prefix", false, "Forward the path without `path`.")
	f.duration(&r.Timeout, "timeout", 30*time.Second, time.Millisecond, time.Hour, "Until the upstream's answer begins.")
	f.size(&r.MaxBody, "max_body", 32<<20, "Bytes that a request may carry: 65536, 512KiB, 32MiB; `off` for no limit.")
	f.table(&r.Identity, "identity", "Headers for the upstream, with the claim that each holds. A client's own copies are dropped. With several providers send `iss` beside `sub`: only both together name a person.", identityHeader)
	r.Allow = allow(f)
	f.word((*string)(&r.Bearer), "bearer", "", []string{string(cloakroom.BearerAccept)}, "`accept` opens the route to access tokens that come without a session, from native apps and machines: JWTs of a provider, for `audience`.")
	f.text(&r.Audience, "audience", "", "What the API is called in tokens (`aud`). With a session it gets an access token for it and for no other API of these routes; a token that comes by `bearer` must be for it. Without it the session's own token goes there. [How](security.md#one-token-for-each-api).", oneLine, audience)
	f.table(&r.File.Headers, "headers", "Headers of every answer with a file.", answerHeader)
	f.text(&r.File.CSP, "csp", "", "`Content-Security-Policy` of pages; without it a strict starter policy, `off` for none.", oneLine)
	f.text(&r.File.Fallback, "fallback", "index.html", "File for a page whose path is no file; `off` for none.", oneLine)
	if f.docs != nil {
		return
	}
	if r.File.Fallback == "off" {
		r.File.Fallback = "-"
	}
	f.need("path", "write /api/ for it and all below it, or / for everything")
	switch up, files := f.has("upstream"), f.has("files"); {
	case up && files:
		f.conflict("files", "a route has either an upstream or files, not both")
	case !up && !files:
		f.wrong(f.at, "%supstream is missing: say where the requests go: upstream: http://127.0.0.1:3000, or files: ./dist", f.path)
	case up:
		f.only("a route with files", "headers", "csp", "fallback")
	default:
		f.only("a route with an upstream", "strip_prefix", "timeout", "max_body", "identity", "methods", "bearer", "audience")
	}
	if r.Auth == cloakroom.AuthOff {
		f.only("a route that looks at the session; auth: off does not", "identity")
		f.only("a route that looks at who comes; auth: off does not", "bearer")
		if !f.has("bearer") {
			f.only("a route that looks at who comes; auth: off does not", "audience")
		}
	}
	checkAudience(f, c, &r)
	if r.Auth != cloakroom.AuthRequired {
		f.only("a route that needs a session; elsewhere whoever may not enter has only to sign out", "allow")
	}
	if strings.HasPrefix(r.Path, c.Endpoints.Prefix) {
		f.conflict("path", "below %s are Cloakroom's own endpoints; move one of them, the endpoints by prefix", c.Endpoints.Prefix)
	}
	for _, other := range c.Routes {
		if r.Path != "" && other.Path == r.Path {
			f.conflict("path", "there is a route for %s already", r.Path)
		}
	}
	c.Routes = append(c.Routes, r)
}

// checkAudience checks what an API is called, in view of what else there is.
func checkAudience(f *form, c *Config, r *cloakroom.Route) {
	if r.Bearer == cloakroom.BearerAccept && r.Audience == "" {
		f.conflict("bearer", "only a token for this API may open it; name its audience")
	}
	for _, p := range c.Providers {
		if r.Audience != "" && p.ClientID == r.Audience {
			f.conflict("audience", "this is the client_id of a provider: ID tokens are for that, an API has a name of its own")
		}
	}
}

func allow(f *form) *session.Allow {
	var a session.Allow
	f.words(&a.EmailDomains, "allow.email_domains", nil, "Who may enter: those with an e-mail address of one of these domains that the provider calls verified (`email_verified: true`). A provider that never says so needs `groups` or `claims` instead.", mailDomain)
	f.words(&a.Groups, "allow.groups", nil, "… and with one of these in the claim `groups`.", oneLine)
	f.lists(&a.Claims, "allow.claims", "… and, for each claim, with one of its values.")
	if a.EmailDomains == nil && a.Groups == nil && a.Claims == nil {
		return nil
	}
	return &a
}
