// Package cloakroom keeps OAuth tokens out of browsers: it signs people in with OpenID providers, keeps and renews their
// tokens, gives the browser an HttpOnly cookie that says nothing, and turns that cookie back into "Authorization: Bearer" for
// the APIs behind it.
//
// A [Gateway] is an http.Handler. It can stand in front of whole applications, by its routes, or inside a Go server:
//
//	gw, err := cloakroom.New(ctx, cfg)
//	mux.Handle("/auth/", gw)
//	mux.Handle("/api/", gw.Require(api)) // in the handler: s, _ := cloakroom.FromContext(r.Context())
package cloakroom

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/gateway"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/proxy"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/web"
)

// Gateway is the whole gateway. It is safe for concurrent use.
type Gateway struct {
	cfg       Config        // defaults filled in
	own       origin.Origin // of cfg.URL
	local     bool          // it is this machine's
	providers map[string]session.Provider
	renewer   *session.Renewer
	endpoints *gateway.Gateway
	proxy     *proxy.Proxy
	live      *proxy.Live
	metrics   *telemetry.Metrics
	guard     *guard.Guard
	ring      *seal.Keyring
	trusted   origin.Proxies
	answers   *answer.Answers
	control   *control.Handler
	people    *accounts.Accounts // nil: there are none
	stop      context.CancelFunc
}

// Session is one person's stay in one browser, as [FromContext] returns it.
type Session = session.Session

// FromContext returns the session of a request that came through [Gateway.Require] or a route. It is shared: do not change it.
func FromContext(ctx context.Context) (*Session, bool) { return session.FromContext(ctx) }

// NewKey returns a fresh random key for Config.Keys.
func NewKey() string { return seal.NewKey() }

// CSRFKey returns the key with which APIs on other hosts check CSRF tokens, in the form that package verify and docs/api.md take. It
// is derived from keys, as in Config.Keys, and opens nothing else.
func CSRFKey(keys []string) (string, error) {
	ring, err := seal.NewKeyring(keys...)
	if err != nil {
		return "", fmt.Errorf("cloakroom: keys: %w", err)
	}
	return guard.FormatKey(guard.Key(ring)), nil
}

// New puts a gateway together. It checks the whole configuration and contacts nobody: a provider that is down now does not
// keep the gateway from starting. Until [Gateway.Close], or until ctx ends, it follows the store's changes and sweeps it.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	defaults(&cfg)
	if cfg.Store == nil {
		return nil, errors.New("cloakroom: a store is needed")
	}
	if err := sound(&cfg); err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	own, err := origin.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: url: %w", err)
	}
	if !own.Secure() && !own.Loopback() && !cfg.InsecureHTTP {
		return nil, errors.New("cloakroom: url: over plain http everyone on the network can take sessions over; use https, or set InsecureHTTP")
	}
	trusted, err := proxies(cfg.Trusted)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: trusted: %w", err)
	}
	ring, err := seal.NewKeyring(cfg.Keys...)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: keys: %w", err)
	}
	if cfg.ReadKeys != nil {
		ring.Follow(cfg.ReadKeys, func(err error) { toldKeys(cfg.Observe.Log, ring, err) })
	}
	metrics, err := telemetry.New(cfg.Observe.Metrics)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: metrics: %w", err)
	}
	sink := sinkOf(cfg.Observe.Audit, metrics)

	ctx, stop := context.WithCancel(ctx)
	g := &Gateway{
		cfg: cfg, own: own, local: own.Loopback(), trusted: trusted, metrics: metrics, ring: ring, stop: stop,
		providers: map[string]session.Provider{},
	}
	ok := false
	defer func() {
		if !ok {
			stop()
		}
	}()

	prefix := cfg.Endpoints.Prefix
	issuers := map[string]delivery.Issuer{}
	callback, err := url.Parse(own.String() + prefix + "callback")
	if err != nil {
		return nil, fmt.Errorf("cloakroom: url: %w", err)
	}
	for name, o := range cfg.Providers {
		p, err := oidc.New(name, o.RedirectURI(callback, name, len(cfg.Providers) > 1), o, nil, cfg.Observe.Log)
		if err != nil {
			return nil, fmt.Errorf("cloakroom: %w", err)
		}
		g.providers[name], issuers[o.Issuer] = p, p
		for _, r := range cfg.Routes {
			if r.Bearer == BearerAccept && r.Audience == o.ClientID {
				return nil, fmt.Errorf("cloakroom: route %q: audience is the client_id of provider %q: ID tokens are for that, an API has a name of its own", r.Path, name)
			}
		}
	}
	people, err := g.openAccounts(ctx, ring)
	if err != nil {
		return nil, err
	}
	if g.people = people; people != nil {
		g.providers[accounts.Name], issuers[people.Issuer()] = people.Provider(), people
	}
	if g.guard, err = guard.New(own, guardOptions(cfg), ring); err != nil {
		return nil, fmt.Errorf("cloakroom: guard: %w", err)
	}
	jar := cfg.Tokens.Jar(cookie.New(own.Secure(), own.Port()))
	var companion func(*session.Session) string
	if cfg.Guard.CSRF == guard.CSRFToken && cfg.Tokens.InCookies() {
		g.guard.NameByToken()
		companion = g.guard.Companion
	}
	deliver, err := delivery.New(cfg.Tokens, own, jar, cfg.Session, companion, cfg.Observe.Log)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: tokens: %w", err)
	}
	sessions, err := storage.New(ctx, cfg.Store, ring, own, jar, cfg.Session, cfg.Cookie)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	if err := countable(&cfg, sessions); err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	g.renewer = session.NewRenewer(sessions, func(name string) (session.Provider, bool) { p, ok := g.providers[name]; return p, ok }, sink)
	desk := session.NewDesk(sessions, deliver, g.renewer, cfg.Session, sink)
	pages := ui.New(prefix)
	if err := pages.Dress(cfg.Pages); err != nil {
		return nil, fmt.Errorf("cloakroom: pages: %w", err)
	}
	answers := &answer.Answers{
		Prefix: prefix, Jar: jar, Pages: pages, Log: cfg.Observe.Log, Metrics: metrics,
	}
	g.answers = answers
	g.live = proxy.NewLive(desk, cfg.Anonymous)
	sessions.Listen(g.live.Changed)

	g.endpoints, err = gateway.New(gateway.Parts{
		Own: own, Ring: ring, Guard: g.guard, Desk: desk, Storage: sessions, Delivery: deliver, Notes: storage.NewNotes(cfg.Store, ring),
		Providers: g.providers, Accounts: people, Answers: answers, Audit: sink, Sessions: cfg.Session,
		Client: gateway.Script{Text: web.Client, ETag: web.ClientETag},
	}, cfg.Endpoints, metrics)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	g.proxy, err = proxy.New(proxy.Parts{
		Own: own, Guard: g.guard, Desk: desk, Delivery: deliver, Answers: answers, Audit: sink, Live: g.live,
		Verifier: delivery.NewBearers(issuers), Allow: cfg.Endpoints.Allow,
	}, cfg.Routes, metrics)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	g.control = control.NewHandler(desk, slices.Sorted(maps.Keys(issuers)), sink)
	if people != nil {
		go people.Follow(ctx, func(ctx context.Context, subject string) error {
			return endAll(ctx, desk, sink, people.Issuer(), subject)
		})
	}
	if sweeper, can := cfg.Store.(session.Sweeper); can {
		go sweep(ctx, sweeper, cfg.Observe.Log)
	}
	ok = true
	return g, nil
}

// openAccounts opens the accounts of our own; nil: there are none.
func (g *Gateway) openAccounts(ctx context.Context, ring *seal.Keyring) (*accounts.Accounts, error) {
	o := g.cfg.Accounts
	if o == nil {
		return nil, nil
	}
	if _, taken := g.cfg.Providers[accounts.Name]; taken {
		return nil, fmt.Errorf("cloakroom: provider %q: that is what our own accounts are called; take another name", accounts.Name)
	}
	people, err := accounts.New(ctx, *o, accounts.Place{Origin: g.own.String(), Prefix: g.cfg.Endpoints.Prefix, Ring: ring, Log: g.cfg.Observe.Log})
	if err != nil {
		return nil, fmt.Errorf("cloakroom: accounts: %w", err)
	}
	if people.Opaque() && g.cfg.Tokens.Delivery == "split" {
		return nil, errors.New("cloakroom: accounts: opaque tokens have no claims for the page to read; another delivery than split carries them")
	}
	for name, p := range g.cfg.Providers {
		if p.Issuer == people.Issuer() {
			return nil, fmt.Errorf("cloakroom: provider %q has the issuer of our own accounts", name)
		}
	}
	return people, nil
}

// endAll ends all sessions of a person, for an operator.
func endAll(ctx context.Context, desk *session.Desk, sink audit.Sink, issuer, subject string) error {
	_, _, err := desk.Revoke(ctx, session.Selector{Issuer: issuer, Subject: subject}, func(l session.Listed) {
		sink.Record(ctx, l.Event(audit.Ended, "the account was closed or its password reset"))
	})
	return err
}

// defaults fills in what the configuration leaves open.
func defaults(cfg *Config) {
	d := session.DefaultOptions()
	if cfg.Session.Idle == 0 {
		cfg.Session.Idle = d.Idle
	}
	if cfg.Session.Absolute == 0 {
		cfg.Session.Absolute = max(d.Absolute, cfg.Session.Idle)
	}
	if cfg.Session.CacheStale == 0 {
		cfg.Session.CacheStale = d.CacheStale
	}
	if cfg.Endpoints.Prefix == "" {
		cfg.Endpoints.Prefix = "/auth/"
	}
	if cfg.Observe.Log == nil {
		cfg.Observe.Log = slog.Default()
	}
}

// proxies checks the proxies in front of us by the rules of the configuration file: nobody trusts the whole internet.
func proxies(prefixes []netip.Prefix) (origin.Proxies, error) {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = p.String()
	}
	return origin.ParseProxies(texts)
}

// guardOptions lets front ends on other origins send bearers where a route takes them from pages.
func guardOptions(cfg Config) guard.Options {
	o := cfg.Guard
	if cfg.Tokens.Delivery == "memory" {
		o.OriginHeaders = slices.Concat(o.OriginHeaders, []string{"Authorization"})
	}
	return o
}

// sound holds what the fields promise.
func sound(cfg *Config) error {
	if s := cfg.Session; s.Idle < time.Minute || s.Absolute < s.Idle || s.CacheStale < 0 || s.CacheStale > time.Minute {
		return errors.New("session: idle is at least a minute, absolute at least idle, cache_stale 0 to 60 s")
	}
	if s := cfg.Session; s.MaxSessions < 0 || !slices.Contains([]string{"", session.EndOldest, session.Refuse}, s.WhenFull) {
		return errors.New("session: max_sessions is at least 0, when_full end_oldest or refuse")
	}
	p := cfg.Endpoints.Prefix
	if !strings.HasPrefix(p, "/") || !strings.HasSuffix(p, "/") || p == "/" || strings.ContainsAny(p, "{}%") || !origin.CleanPath(&http.Request{URL: &url.URL{Path: p}}) {
		return fmt.Errorf("prefix %q: want a plain path between slashes, like /auth/", p)
	}
	return nil
}

// sinkOf counts every audit event and passes it on.
func sinkOf(next audit.Sink, metrics *telemetry.Metrics) audit.Sink {
	return audit.SinkFunc(func(ctx context.Context, e audit.Event) {
		metrics.Event(string(e.Action))
		if next != nil {
			next.Record(ctx, e)
		}
	})
}

// sweep removes expired records every minute.
func sweep(ctx context.Context, s session.Sweeper, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if _, err := s.Sweep(ctx, now); err != nil && ctx.Err() == nil {
				log.Warn("sweep failed", telemetry.AttrError, err.Error())
			}
		}
	}
}

// ServeHTTP serves our endpoints under the prefix, and the routes everywhere else.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.TransferEncoding) > 0 && r.ProtoMajor == 1 {
		// net/http hides a Content-Length that came beside "Transfer-Encoding: chunked". A server in front that went by it
		// would see the next request elsewhere (RFC 9112 §6.1): so none follows on this connection.
		w.Header().Set("Connection", "close")
	}
	if g.secureFirst(w, r) {
		return
	}
	if g.endpoints.Serves(r.URL.Path) {
		g.serve(w, r, g.endpoints)
		return
	}
	g.serve(w, r, g.proxy)
}

// secureFirst sends a browser that came over plain http to https before any cookie is set (C13). Only a proxy's word says that
// it did; a browser's own would do no harm, since all it gets is the redirect.
func (g *Gateway) secureFirst(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS != nil || !g.own.Secure() || !strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "http") {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Please use https.", http.StatusBadRequest) // what a body held has been seen; do not let it be sent again
		return true
	}
	w.Header().Set("Cache-Control", "no-store") // it depends on a header that caches do not know of
	http.Redirect(w, r, g.own.String()+"/"+strings.TrimLeft(r.URL.RequestURI(), "/"), http.StatusFound)
	return true
}

// Require lets only requests with a session through to next, which finds it with [FromContext]. Navigations without one are
// sent to the login, everything else gets 401. The guard, allow, renewal and cookies are those of a route, and so are the headers:
// next gets the access token where an upstream would.
func (g *Gateway) Require(next http.Handler) http.Handler {
	required := g.proxy.Require(next)
	meter := g.metrics.Route("require")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			telemetry.Of(r).Route = meter
			required.ServeHTTP(w, r)
		}))
	})
}

// serve counts and logs a request around h.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, h http.Handler) {
	x, r, outermost := telemetry.Begin(w, r, requestID)
	if outermost {
		if addr := g.trusted.Client(r); addr.IsValid() {
			x.Address = addr.String()
		}
		defer g.count(x, r)
		g.guard.StrictTransport(x.Header())
	}
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// It may have had a Content-Length too, which net/http drops without a word, and a proxy in front may have gone by that
		// one: what follows on the connection need not be a request (RFC 9112 §6.1).
		x.Header().Set("Connection", "close")
	}
	if g.local && !origin.NamesThisMachine(r.Host) && !g.trusted.Sent(r) {
		g.answers.Fail(x, r, &session.Error{
			Code: session.WrongHost, Op: "serve", Err: fmt.Errorf("host %.100q, and url is %s", r.Host, g.own),
			Hint: "open " + g.own.String() + ", or set url to what people type; a proxy that sends a name of its own belongs into trusted_proxies",
		})
		return
	}
	h.ServeHTTP(x, r)
}

// requestID names one request in logs and pages. It is no secret: it need only be another each time.
func requestID() string {
	var id [9]byte
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	id[8] = byte(rand.Uint32())
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func (g *Gateway) count(x *telemetry.Exchange, r *http.Request) {
	took := time.Since(x.Started)
	name := ""
	if x.Route != nil {
		x.Route.Count(x.Status, took)
		name = x.Route.Name
	}
	if g.cfg.Observe.Access == nil {
		return
	}
	q := telemetry.Request{
		At: x.Started.Add(took), ID: x.ID, Method: r.Method, Path: r.URL.Path, Route: name, Status: x.Status, Bytes: x.Bytes,
		Duration: took, Address: x.Address, Session: x.Session,
	}
	q.Log(g.cfg.Observe.Access.Handler())
}

// ReloadKeys reads the keys anew, by Config.ReadKeys, and takes them while requests go on. Keys that cannot be used are refused as a
// whole, and those from before stay. What came of it is in the log as well.
func (g *Gateway) ReloadKeys(ctx context.Context) error { return g.ring.Reload(ctx) }

// toldKeys says what came of reading the keys anew.
func toldKeys(log *slog.Logger, ring *seal.Keyring, err error) {
	if err != nil {
		log.Error("keys not reloaded, those from before stay", telemetry.AttrError, err.Error(), telemetry.AttrHint, "mend them and reload again")
		return
	}
	var seals, opens []string
	for _, k := range ring.Members() {
		if k.Seals {
			seals = append(seals, k.ID.String())
		} else {
			opens = append(opens, k.ID.String())
		}
	}
	log.Info("keys reloaded", "seals", strings.Join(seals, " "), "opens", strings.Join(opens, " "))
}

// Drain ends the streams through routes, WebSockets with the close code 1001, so that a server can shut down: give it to
// http.Server.RegisterOnShutdown.
func (g *Gateway) Drain() { g.live.Drain() }

// Close drains, waits until no stream, no renewal and no revocation is under way, or ctx ends, and stops following the store.
// Requests must have been drained before: http.Server.Shutdown does that. The store stays open; it is the caller's.
func (g *Gateway) Close(ctx context.Context) error {
	err := errors.Join(g.live.Close(ctx), g.renewer.Close(ctx))
	if g.people != nil {
		err = errors.Join(err, g.people.Close(ctx))
	}
	g.stop()
	return err
}
