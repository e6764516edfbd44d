package cloakroom

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/files"
	"github.com/cloakroom-go/cloakroom/internal/gateway"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/internal/proxy"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// The options of the parts, each documented where it is obeyed. The fields of those that are obeyed inside are listed here.
type (
	// Provider is an OpenID provider. Issuer, ClientID and ClientSecret are needed.
	//   - Issuer string: byte for byte as in the provider's metadata; https, or http on this machine
	//   - ClientID string: as registered at the provider
	//   - ClientSecret string: never printed
	//   - Scopes []string: default openid profile email offline_access; openid is always asked for
	//   - Audience string: what makes some providers issue a JWT for an API
	//   - Resource []string: the same by RFC 8707, absolute URIs; some providers then need UserinfoOff
	//   - ACRValues []string: how strongly people must sign in, best first; the ID token's acr must be one of these
	//   - Params map[string]string: more parameters for authorize and refresh; none of the protocol's own
	//   - AuthMethod string: client_secret_basic or client_secret_post; default basic, unless the provider lists only post
	//   - ResponseMode string: query (default) or form_post
	//   - Callback string: which redirect URI: "shared", /auth/callback, or "own", /auth/callback/NAME; default own where there are several providers
	//   - UserinfoOff bool: do not ask the userinfo endpoint for claims
	//   - RegisterHint string: how to ask for the sign-up page: prompt (default, prompt=create) or screen_hint
	//   - Algorithms []string: accepted signatures of ID tokens; default RS256
	//   - Title string: what people are told where they choose; "" for its name
	//   - AccessType string: typ of access tokens that come without a session, for Route.Bearer: at+jwt (default, RFC 9068), or JWT for JWT or none
	Provider = oidc.Options
	// Accounts are people of our own, and the issuer of their access tokens. Database is needed.
	//   - Database *sql.DB: where they are, of sqlite.OpenAccounts or postgres.OpenAccounts; the caller closes it after the gateway
	//   - Login string: what people call themselves: "email" (default) or "username"
	//   - RegisterOff bool: nobody can register by themselves
	//   - Title string: what they are called where people choose where to sign in; default "Account of this site"
	//   - Hash PasswordHash: what guessing a password costs: Memory, Time, Threads, InsecureCheap
	//   - Tokens AccountTokens: the access tokens: Format, Issuer, Lifetime, Audience, Algorithm, Claims, Session
	//   - Users Users: a user table of your own, in the place of ours; Database then has the signing keys alone
	//   - APIs map[string]string: who may ask about access tokens (RFC 7662) and revoke them (RFC 7009): secrets by client_id
	//   - Passkeys: how people sign in with passkeys: passkeys.New() of the package of that name; nil for not at all
	//   - Mail *MailOptions: how letters are sent; nil for none
	//   - VerifyEmailOff bool: with Mail, make an account at once, without a link that verifies its address
	//   - EmailLink bool: with Mail, let people sign in by a mailed link or code
	//   - ResetPage string: with Mail, path of a page of your own to set a new password on; "" for ours
	//   - VerifyPage string: with Mail, path of a page of your own to confirm an address on; "" for ours
	Accounts = accounts.Options
	// Users is a user table of your own, for Accounts.Users: people sign in on our page or by JSON, and you say who they are.
	//   - SignIn(ctx, identifier, password string) (*User, error): nil for nobody
	//   - Find(ctx, subject string) (*User, error): somebody as they are now; nil ends their sessions at the next renewal
	Users = accounts.Users
	// User is somebody in Users.
	//   - Subject string: who it is, for good: up to 128 printable characters of ASCII, without spaces
	//   - Email string: "" for none
	//   - EmailVerified bool: the address is known to be theirs
	//   - Username string: "" for none
	//   - Name string: how they want to be called
	//   - Claims map[string]any: what else is known, up to 4 KiB of JSON
	//   - Version string: of the credentials; whatever was signed in to under another ends at its next renewal
	User = accounts.User
	// MailOptions say how letters are sent.
	//   - Server string: host:port of an SMTP server, 465 with TLS from the first byte, else STARTTLS; "log" for development
	//   - From string: "Name <address>", or an address
	//   - Username string: at the server; "" for none
	//   - Password string: at the server
	//   - Roots *x509.CertPool: what the server's certificate is verified with; nil for what the system has
	//   - InsecurePlain bool: allow a server on another host without TLS
	MailOptions = mail.Options
	// PasswordHash is the cost of an argon2id hash.
	//   - Memory int: KiB; default 47104
	//   - Time int: passes over the memory; default 1
	//   - Threads int: default 1
	//   - InsecureCheap bool: allow any cost, for tests
	PasswordHash = accounts.Hash
	// AccountTokens shape the access tokens of accounts: JWTs by RFC 9068, or opaque ones.
	//   - Format string: "jwt" (default) or "opaque": whoever gets one asks what it is good for
	//   - Issuer string: iss; default the URL and the prefix of the endpoints, without the last slash
	//   - Lifetime time.Duration: default 10 minutes, at most 15
	//   - Audience []string: aud; default the URL
	//   - Algorithm string: "ES256" (default), "EdDSA" or "RS256"
	//   - Claims []string: what a token says of the person beside sub; none by default
	//   - Session bool: name the session by the claim sid: the same as long as it lasts, another for each login
	AccountTokens = accounts.Tokens
	// Route sends the requests under one path to an upstream or a folder. Exactly one of Upstream and Files is set.
	//   - Path string: "/api/" and all below it, or exactly "/health"; the longest match wins
	//   - Upstream string: http(s)://host[:port][/base]
	//   - Files string: a folder of static files
	//   - Auth: AuthRequired (default), AuthOptional or AuthOff
	//   - Methods []string: nil for all but TRACE and CONNECT
	//   - StripPrefix bool: forward the path without Path
	//   - Timeout time.Duration: until the upstream's answer begins; default 30 s
	//   - MaxBody int64: bytes a request may carry; default 32 MiB, -1 for no limit
	//   - Identity map[string]string: header to claim; a client's copies are dropped, absent claims are sent empty
	//   - Allow *Allow: narrows EndpointOptions.Allow
	//   - Bearer: BearerAccept opens it to access tokens that come without a session, from native apps and machines
	//   - Audience string: of the upstream: the token that goes there is for it alone, and one that comes by Bearer must be for it
	//   - File: how Files are served: Fallback (file for navigations to paths without one; "" is index.html, "-" none), Headers
	//     (set on every answer), CSP ("" is a strict starter policy, "off" none), Private (no shared cache; set where Auth is on)
	Route = proxy.Route
	// FileOptions say how Route.Files are served.
	//   - Fallback string: file for navigations to paths without one; "" is index.html, "-" none
	//   - Headers map[string]string: set on every answer
	//   - CSP string: policy of HTML answers; "" is a strict starter policy, "off" none
	//   - Private bool: no shared cache may keep the answers; set by itself where Auth is on
	FileOptions = files.Options
	// AnonymousOptions bound what is kept open for those who are not signed in, on routes with AuthOff and AuthOptional.
	//   - StreamsPer int: streams and WebSockets of one address at a time; default 100
	//   - StreamsInAll int: those of all addresses together; default 10000
	AnonymousOptions = proxy.Anonymous
	// Allow says who may enter.
	Allow = session.Allow
	// SessionOptions are the lifetimes of sessions.
	SessionOptions = session.Options
	// CookieOptions say where sessions rest, shape their cookies, and the memory for what these open.
	//   - Storage string: "store" (default), with a ticket in the cookie, or "sealed" in the cookies themselves
	//   - SameSite string: "strict" (default) or "lax"
	//   - CacheBytes int64: memory for opened sessions; default 64 MiB
	CookieOptions = storage.Options
	// TokenOptions say how the access token reaches the API.
	//   - Delivery string: "proxy" (default), "cookie", "split" or "memory"
	//   - Domain string: of the cookies with the token: the URL's host or a parent of it; "" for our own host alone
	//   - Path string: of the cookies with the token; default "/"
	TokenOptions = delivery.Options
	// EndpointOptions shape the endpoints under /auth/.
	//   - Prefix string: where they live; begins and ends with a slash, default "/auth/"
	//   - Claims []string: what GET session tells the page; default sub, name, email, picture, preferred_username
	//   - Allow *Allow: who may enter at all; nil for everyone
	//   - SignedOut string: path to go to after logout; "" shows our own page
	//   - ClearSite []string: Clear-Site-Data at logout: "cache" (default), "storage"; empty but not nil for none
	//   - LoginsPer int: logins one address may begin in a minute; default 60
	//   - LoginsInAll int: logins all addresses together may begin in a minute; default 6000
	EndpointOptions = gateway.Options
	// PageOptions are how our own pages look.
	//   - Style string: file with a style sheet that comes after ours
	//   - Logo string: file with an image in the place of ours: svg, png, jpg or webp
	PageOptions = ui.Options
	// GuardOptions say which other origins may use the session.
	//   - Origins []string: exact scheme://host[:port], no wildcard; trusted as our own pages are
	//   - OriginHeaders []string: more headers that scripts on these origins may send
	//   - CSRF string: how a request proves that it was meant: "origin" (default), "header" or "token"
	GuardOptions = guard.Options
)

// What Route.Auth may say.
const (
	AuthRequired = proxy.AuthRequired
	AuthOptional = proxy.AuthOptional
	AuthOff      = proxy.AuthOff
)

// BearerAccept is what Route.Bearer may say.
const BearerAccept = proxy.BearerAccept

// Config is everything a gateway is made of. URL, Keys, Store and one provider or Accounts are needed; the zero value of the rest is its
// default.
type Config struct {
	URL       string              // what the browser types: scheme, host and port, nothing else; https, but on this machine
	Keys      []string            // secrets of the keyring: keys, or texts of key files; the first seals, all open. NewKey makes one
	Store     session.Store       // where sessions rest; the caller closes it after the gateway
	Providers map[string]Provider // by name
	Accounts  *Accounts           // people of our own, beside the providers or instead; nil for none
	Session   SessionOptions      // zero fields take the defaults
	Cookie    CookieOptions
	Tokens    TokenOptions
	Endpoints EndpointOptions
	Guard     GuardOptions
	Pages     PageOptions
	Routes    []Route
	Anonymous AnonymousOptions
	Trusted   []netip.Prefix // proxies in front of us, whose X-Forwarded-For counts
	Observe   Observe

	// ReadKeys reads Keys anew, for [Gateway.ReloadKeys], and at most every 10 s when a cookie or record comes whose key is none of
	// them. nil: they stay as they are.
	ReadKeys func(context.Context) ([]string, error) `json:"-"`

	// InsecureHTTP allows a URL of plain http on another host than this machine. Everyone on the network can then take
	// sessions over.
	InsecureHTTP bool
}

// Format prints the URL and none of the secrets, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "gateway at %q", c.URL) }

// Observe says where the gateway tells what it does.
type Observe struct {
	Log     *slog.Logger          // what operators read; default: slog.Default()
	Access  *slog.Logger          // one record for each request; nil: none
	Audit   audit.Sink            // who did what; nil: none
	Metrics prometheus.Registerer // nil: none
}
