package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/hook"
	"github.com/cloakroom-go/cloakroom/internal/mail"
	browser "github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/passkeys"
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

	var level string
	f.word(&level, "log.level", "info", []string{"debug", "info", "warn", "error"}, "From which level on the log speaks.")
	f.word(&c.Log.Format, "log.format", "auto", []string{"auto", "text", "json"}, "`auto` is text on a terminal and JSON elsewhere.")
	f.text(&c.Log.Access, "log.access", "stdout", "One record for each request: `stdout`, `stderr`, `off` or a file.", oneLine)
	f.text(&c.Log.Audit, "log.audit", "stdout", "One record for each login, renewal, refusal and end: `stdout`, `stderr`, `off` or a file.", oneLine)

	if f.docs != nil {
		return
	}
	// In cloakroom.Config zero is the default; who says 0s means never.
	c.Session.CacheStale = max(c.Session.CacheStale, 1)
	c.Log.Level.UnmarshalText([]byte(level)) // the words are slog's own
	for _, k := range keys {
		c.Keys = append(c.Keys, string(k))
	}
	keyring(f, c)
	c.Control.Named = f.has("control")
	f.need("url", "write what people type into the browser, like url: https://app.example.com")
	f.need("keys", "make one with: cloakroom keys new > cloakroom.key; then write keys: [{file: cloakroom.key}]")
	if c.Accounts == nil {
		f.need("providers", "name the OpenID provider that people sign in with, or keep accounts of your own: accounts: {database: sqlite:accounts.db}; cloakroom init writes an example")
	}
	f.need("routes", "say what is behind the gateway; cloakroom init writes an example")
	if c.Cookie.Storage == "sealed" && !f.has("store") {
		c.StoreDSN = "memory:"
	}
	publicURL(f, c)
	tokenCookies(f, c)
	together(f, c)
	f.paths(c)
	exposed(f, c)
}

// people reads the accounts of our own. They are there if any of their keys is.
func people(f *form, c *Config) {
	a := &cloakroom.Accounts{}
	register, keys := true, true
	f.database(&c.AccountsDSN, "accounts.database", "sqlite:accounts.db", "Where people of Cloakroom's own are: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` with [parameters](accounts.md#postgresql). Naming anything under `accounts` switches them on; nothing else signs their tokens, so make backups.", accountsDSN)
	f.word(&a.Login, "accounts.login", accounts.LoginEmail, []string{accounts.LoginEmail, accounts.LoginUsername}, "What people call themselves.")
	f.flag(&register, "accounts.register", true, "Whether people can register by themselves.")
	f.text(&a.Title, "accounts.name", "Account of this site", "What the page calls them on which people choose where to sign in.", oneLine)
	f.flag(&keys, "accounts.passkeys", true, "Whether people can sign in with passkeys that they add to their account. They hold for the host of `url`, which cannot be an IP address.")
	f.count(&a.Hash.Memory, "accounts.hash.memory", 47104, 7168, "What guessing a password costs (argon2id): KiB of memory.")
	f.count(&a.Hash.Time, "accounts.hash.time", 1, 1, "… and passes over it. Passwords are hashed again at the next login when either grows.")
	f.count(&a.Hash.Threads, "accounts.hash.threads", 1, 1, "… in so many threads.")
	f.word(&a.Tokens.Format, "accounts.tokens.format", accounts.FormatJWT, []string{accounts.FormatJWT, accounts.FormatOpaque}, "What access tokens are: JWTs that anybody verifies by the published keys, or `opaque` ones, about which an API asks each time: they can be revoked at once.")
	f.text(&a.Tokens.Issuer, "accounts.tokens.issuer", "", "The `iss` of the access tokens; without it `url` and `prefix`, without the last slash. Libraries look for the keys there.", wireURL)
	f.duration(&a.Tokens.Lifetime, "accounts.tokens.lifetime", 10*time.Minute, 10*time.Second, 15*time.Minute, "How long an access token is good; 10s to 15m.")
	f.oneOrMore(&a.Tokens.Audience, "accounts.tokens.audience", "The `aud` of the access tokens; without it `url`.", oneLine)
	f.word(&a.Tokens.Algorithm, "accounts.tokens.alg", "ES256", accounts.Algorithms, "What access tokens are signed with. Another one takes over 10 minutes after the start.")
	f.words(&a.Tokens.Claims, "accounts.tokens.claims", nil, "What an access token says of the person beside `sub`, like `email`.", claim, tokenClaim)
	f.flag(&a.Tokens.Session, "accounts.tokens.session", false, "Whether an access token names the session it is of by the claim `sid`: the same through all its renewals, another one for each login. [What for](accounts.md#what-the-api-gets).")
	f.each("accounts.introspection", "CLIENT_ID", "APIs that may ask whether an access token is good (RFC 7662), and revoke one (RFC 7009), by their `client_id`.", func(f *form, name string) { api(f, name, a) })
	var h hook.Options
	f.text(&h.URL, "accounts.hook.url", "", "A program of yours that says who people are, in place of accounts here: its address, `https`, or `http` on this machine. [How](accounts.md#a-user-table-of-your-own).", wireURL)
	var s secret
	f.secret(&s, "accounts.hook.secret", "What questions to it are signed with: `whsec_` and base64 of 24 to 64 bytes, like those of `cloakroom keys new --hook`.", oneLine, hookSecret)
	h.Secret = string(s)
	f.duration(&h.Timeout, "accounts.hook.timeout", 5*time.Second, 100*time.Millisecond, 10*time.Second, "How long it may take to answer; at most 10s.")
	letters, verify := post(f), true
	f.flag(&verify, "accounts.verify_email", true, "With `accounts.mail`: an account is made only once a mailed link has shown that the address is the person's own. Registering then tells nobody who has an account.")
	a.VerifyEmailOff = !verify
	f.flag(&a.EmailLink, "accounts.email_link", false, "With `accounts.mail`: people may sign in by a mailed link or code, without their password.")
	f.text(&a.ResetPage, "accounts.reset_page", "", "With `accounts.mail`: a page of yours on which a new password is set, in place of Cloakroom's: a path like `/new-password`. The token is behind the `#`, as `token=…`, for `POST password/reset`.", path)
	f.text(&a.VerifyPage, "accounts.verify_page", "", "The same for the page on which an address is confirmed, for `POST email/confirm`.", path)
	a.RegisterOff = !register
	if keys {
		a.Passkeys = passkeys.New()
	}
	if f.docs != nil || !f.any("accounts.") {
		return
	}
	if err := a.Hash.Check(); err != nil {
		f.conflict("accounts.hash", "%s", err)
	}
	foreign(f, h, a)
	if a.EmailLink && !f.any("accounts.mail.") {
		f.conflict("accounts.email_link", "say in accounts.mail how the mail is sent")
	}
	for _, key := range []string{"accounts.reset_page", "accounts.verify_page"} {
		if f.has(key) && !f.any("accounts.mail.") {
			f.conflict(key, "say in accounts.mail how the mail is sent that leads there")
		}
	}
	if f.any("accounts.mail.") {
		a.Mail = letters
		if u, err := url.Parse(c.URL); err == nil && letters.Server == mail.ToLog && !browser.IsLocal(u.Hostname()) {
			f.conflict("accounts.mail.smtp", "the log is for development, at a url of this machine: whoever reads it could take over every account; write HOST:PORT of a mail server")
		}
		if a.Login != accounts.LoginEmail {
			f.conflict("accounts.login", "people who sign in with a user name have no address that accounts.mail could write to")
		}
	}
	c.Accounts = a
}

// foreign puts a hook in the place of accounts here.
func foreign(f *form, h hook.Options, a *cloakroom.Accounts) {
	switch {
	case !f.any("accounts.hook."):
		return
	case !f.has("accounts.hook.url"):
		f.wrong(f.where("accounts.hook"), "accounts.hook.url is missing: write where your program answers")
	case !f.has("accounts.hook.secret"):
		f.wrong(f.where("accounts.hook"), "accounts.hook.secret is missing: make one with: cloakroom keys new --hook > hook.key; then write secret: {file: hook.key}")
	case h.URL != "" && h.Secret != "":
		users, err := hook.New(h)
		if err != nil {
			f.conflict("accounts.hook", "%s", err)
			return
		}
		a.Users, a.Passkeys = users, nil
	}
	for _, key := range []string{"accounts.register", "accounts.hash", "accounts.mail", "accounts.verify_email", "accounts.email_link", "accounts.reset_page", "accounts.verify_page", "accounts.passkeys"} {
		if f.has(key) || f.any(key+".") {
			f.conflict(key, "this is for accounts that are here; with accounts.hook they are where it answers")
		}
	}
}

// api reads the secret of an API that asks about tokens.
func api(f *form, name string, a *cloakroom.Accounts) {
	var s secret
	f.secret(&s, "secret", "What it proves itself with: at least 32 characters, like those of `cloakroom keys new`.", oneLine, apiSecret)
	f.need("secret", "make one with: cloakroom keys new > api.key; then write secret: {file: api.key}")
	if a.APIs == nil {
		a.APIs = accounts.APIs{}
	}
	a.APIs[name] = string(s)
}

// post reads how letters are sent.
func post(f *form) *cloakroom.MailOptions {
	m := &cloakroom.MailOptions{}
	f.text(&m.Server, "accounts.mail.smtp", "", "The mail server: `HOST:PORT`, 465 with TLS from the first byte, else with STARTTLS, which is required but on this machine. While you build, `log` writes letters into the log. Without `accounts.mail` no letters are sent.", mailServer)
	f.text(&m.From, "accounts.mail.from", "", "Whom letters are from: `Example <no-reply@example.com>`.", oneLine)
	f.text(&m.Username, "accounts.mail.username", "", "At the mail server.", oneLine)
	var s secret
	f.secret(&s, "accounts.mail.password", "At the mail server. It is sent over TLS only.", oneLine)
	m.Password = string(s)
	f.flag(&m.InsecurePlain, "accounts.mail.insecure_plain", false, "Send without TLS to a server on another host that has none. Everyone on the way can take accounts over by what they read.")
	if f.docs != nil || !f.any("accounts.mail.") {
		return m
	}
	f.need("accounts.mail.smtp", "write HOST:PORT of the mail server, or log while you build")
	f.need("accounts.mail.from", "write the address that letters are from, like Example <no-reply@example.com>")
	if m.Server != "" && m.From != "" {
		if err := m.Check(); err != nil {
			f.conflict("accounts.mail", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return m
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

// only reports the keys that are given and mean something elsewhere only: whoever wrote them expects something of them.
func (f *form) only(where string, keys ...string) {
	for _, key := range keys {
		if f.has(key) {
			f.conflict(key, "this is for %s", where)
		}
	}
}

// publicURL refuses to send session cookies over a network in clear.
func publicURL(f *form, c *Config) {
	u, err := url.Parse(c.URL)
	if err != nil || c.URL == "" {
		return // said already
	}
	switch {
	case u.Scheme == "https" && c.InsecureHTTP:
		f.conflict("insecure_http", "the url is https; leave this out")
	case u.Scheme == "https" && slices.ContainsFunc(c.Guard.Origins, inClear):
		f.conflict("origins", "over plain http everyone on its network could use the sessions of %s; give every origin https", c.URL)
	case u.Scheme == "http" && f.has("tls.cert"):
		f.conflict("url", "there is a certificate in tls; write https://%s", u.Host)
	case inClear(c.URL) && !c.InsecureHTTP:
		f.conflict("url", "over plain http everyone on the network can take the sessions over; use https, or say insecure_http: true")
	case u.Scheme == "https" && !f.has("tls.cert") && !f.has("trusted_proxies"):
		f.warnings = append(f.warnings, fmt.Sprintf("url: it is https, and %s speaks plain http; give tls a certificate, or name the proxy that has one in trusted_proxies: "+
			"without that all browsers count as one address and share its limit of logins", c.Listen))
	}
}

// keyring checks what keys are to each other. Each by itself was looked at before.
func keyring(f *form, c *Config) {
	for i, text := range c.Keys {
		if text == "" || slices.Contains(c.Keys[:i], text) {
			return // and that was said
		}
	}
	if len(c.Keys) == 0 {
		return
	}
	if _, err := seal.NewKeyring(c.Keys...); err != nil {
		f.conflict("keys", "%s", err)
	}
}

// tokenCookies checks what the cookies with the token are for.
func tokenCookies(f *form, c *Config) {
	if !c.Tokens.InCookies() {
		for _, key := range []string{"tokens.domain", "tokens.path"} {
			if f.has(key) {
				f.conflict(key, "this is for cookies with the token: tokens.delivery cookie or split")
			}
		}
		return
	}
	if own, err := browser.Parse(c.URL); err == nil && c.Tokens.Domain != "" {
		if err := delivery.CheckDomain(own.Host(), c.Tokens.Domain); err != nil {
			f.conflict("tokens.domain", "%s", err)
		}
	}
}

// inClear reports whether a browser talks to an origin over a network in clear.
func inClear(origin string) bool {
	o, err := browser.Parse(origin)
	return err == nil && !o.Secure() && !o.Loopback()
}

// together checks what options mean to each other.
func together(f *form, c *Config) {
	if c.Session.Absolute < c.Session.Idle {
		key := "session.absolute"
		if !f.has(key) {
			key = "session.idle"
		}
		f.conflict(key, "session.absolute (%s) is shorter than session.idle (%s)", short(c.Session.Absolute), short(c.Session.Idle))
	}
	switch {
	case c.Session.MaxSessions > 0 && c.Cookie.Storage == "sealed":
		f.conflict("session.max_sessions", "sessions that rest in browsers (session.storage: sealed) cannot be counted; write session.storage: store, or leave this out")
	case c.Session.MaxSessions == 0 && f.has("session.when_full"):
		f.conflict("session.when_full", "this is for session.max_sessions, which is not set")
	}
	if f.has("tls.cert") != f.has("tls.key") {
		f.wrong(f.where("tls"), "tls wants both cert and key")
	}
	if c.Accounts != nil && c.Accounts.Tokens.Format == accounts.FormatOpaque && c.Tokens.Delivery == "split" {
		f.conflict("accounts.tokens.format", "opaque tokens have no claims that a page could read (tokens.delivery: split); write another delivery, or jwt")
	}
	if c.Listen == c.Admin && !strings.HasSuffix(c.Listen, ":0") { // with 0 the system chooses, two of them
		f.conflict("admin", "this is the public address; metrics and profiles never are there")
	}
	if u, err := url.Parse(c.URL); err == nil && browser.IsLocal(u.Hostname()) {
		if host, _, err := net.SplitHostPort(c.Listen); err == nil && !browser.IsLocal(host) {
			f.warnings = append(f.warnings, fmt.Sprintf("listen: the url is this machine's own, and yet other machines reach %s and what is behind it; write 127.0.0.1:PORT", c.Listen))
		}
	}
	if host, _, err := net.SplitHostPort(c.Admin); err == nil && !browser.IsLocal(host) {
		f.warnings = append(f.warnings, fmt.Sprintf("admin: %s can be reached from other machines; whoever reaches it reads metrics%s", c.Admin, map[bool]string{true: " and profiles"}[c.PProf]))
	}
}

// exposed refuses to serve a folder that holds what is not for browsers.
func exposed(f *form, c *Config) {
	private := append([]string{f.file, c.TLS.Key, c.Log.Access, c.Log.Audit}, f.private...)
	for _, dsn := range []string{c.StoreDSN, c.AccountsDSN} {
		if kind, path, err := splitDSN(dsn); err == nil && kind == "sqlite" {
			private = append(private, path)
		}
	}
	for _, r := range c.Routes {
		for _, path := range private {
			switch path {
			case "", "stdout", "stderr", "off":
				continue
			}
			if r.Files != "" && within(r.Files, path) {
				f.wrong(f.where("routes"), "routes: %s is in the folder %s that %s serves to everyone; keep them apart", filepath.Base(path), r.Files, r.Path)
			}
		}
	}
}

// within reports whether path is below folder, links followed as far as there is something.
func within(folder, path string) bool {
	real := func(p string) string {
		p, err := filepath.Abs(p)
		if err != nil {
			return ""
		}
		if dir, err := filepath.EvalSymlinks(filepath.Dir(p)); err == nil {
			p = filepath.Join(dir, filepath.Base(p))
		}
		if whole, err := filepath.EvalSymlinks(p); err == nil {
			p = whole
		}
		return p
	}
	rest, err := filepath.Rel(real(folder), real(path))
	return err == nil && rest != ".." && !strings.HasPrefix(rest, ".."+string(filepath.Separator))
}

// paths makes every path in c one that holds from any folder.
func (f *form) paths(c *Config) {
	for i := range c.Routes {
		if r := &c.Routes[i]; r.Files != "" {
			r.Files = f.beside(r.Files)
		}
	}
	for _, p := range []*string{&c.TLS.Cert, &c.TLS.Key, &c.Pages.Style, &c.Pages.Logo} {
		if *p != "" {
			*p = f.beside(*p)
		}
	}
	if c.Control.Path != "off" {
		c.Control.Path = f.beside(c.Control.Path)
	}
	for _, p := range []*string{&c.Log.Access, &c.Log.Audit} {
		if *p != "stdout" && *p != "stderr" && *p != "off" {
			*p = f.beside(*p)
		}
	}
	for _, dsn := range []*string{&c.StoreDSN, &c.AccountsDSN} {
		if kind, rest, err := splitDSN(*dsn); err == nil && kind == "sqlite" && !filepath.IsAbs(rest) {
			*dsn = "sqlite:" + f.beside(rest)
		}
	}
	if c.Accounts == nil {
		c.AccountsDSN = ""
	} else if c.AccountsDSN == c.StoreDSN {
		f.conflict("accounts.database", "this is the store's file; accounts have one of their own")
	}
}
