package cloakroom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// assembly is a gateway that is being put together, and what its parts share. The parts are added from below: each finds what it
// stands on.
type assembly struct {
	*Gateway
	sink     audit.Sink
	issuers  map[string]delivery.Issuer // by what their tokens say
	jar      cookie.Jar
	delivery session.Delivery
	storage  storage.Storage
	desk     *session.Desk
}

// begin checks what New was given and lays the ground: who we are, whom we trust, our keys, what is counted.
func begin(cfg Config) (*assembly, error) {
	defaults(&cfg)
	if cfg.Store == nil {
		return nil, errors.New("a store is needed: sqlite.Open or memory.New, of the packages below store")
	}
	if err := sound(&cfg); err != nil {
		return nil, err
	}
	own, err := origin.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if !own.Secure() && !own.Loopback() && !cfg.InsecureHTTP {
		return nil, errors.New("url: over plain http everyone on the network can take sessions over; use https, or set InsecureHTTP")
	}
	trusted, err := proxies(cfg.Trusted)
	if err != nil {
		return nil, fmt.Errorf("trusted: %w", err)
	}
	ring, err := seal.NewKeyring(cfg.Keys...)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if cfg.ReadKeys != nil {
		ring.Follow(cfg.ReadKeys, func(err error) { toldKeys(cfg.Observe.Log, ring, err) })
	}
	metrics, err := telemetry.New(cfg.Observe.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	g := &Gateway{
		cfg: cfg, own: own, local: own.Loopback(), trusted: trusted, metrics: metrics, ring: ring, providers: map[string]session.Provider{},
	}
	return &assembly{
		Gateway: g, sink: sinkOf(cfg.Observe.Audit, metrics), issuers: map[string]delivery.Issuer{}, jar: cfg.Tokens.Jar(cookie.New(own.Secure(), own.Port())),
	}, nil
}

// addProviders adds the OpenID providers.
func (a *assembly) addProviders(context.Context) error {
	callback, err := url.Parse(a.own.String() + a.cfg.Endpoints.Prefix + "callback")
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for name, o := range a.cfg.Providers {
		p, err := oidc.New(name, o.RedirectURI(callback, name, len(a.cfg.Providers) > 1), o, nil, a.cfg.Observe.Log)
		if err != nil {
			return err
		}
		a.providers[name], a.issuers[o.Issuer] = p, p
		for _, r := range a.cfg.Routes {
			if r.Audience == o.ClientID {
				return fmt.Errorf("route %q: audience is the client_id of provider %q: ID tokens are for that, an API has a name of its own", r.Path, name)
			}
		}
	}
	return nil
}

// addAccounts adds the accounts of our own, if there are any.
func (a *assembly) addAccounts(ctx context.Context) error {
	if a.cfg.Accounts == nil {
		return nil
	}
	if _, taken := a.cfg.Providers[accounts.Name]; taken {
		return fmt.Errorf("provider %q: that is what our own accounts are called; take another name", accounts.Name)
	}
	place := accounts.Place{
		Origin: a.own.String(), Prefix: a.cfg.Endpoints.Prefix, Ring: a.ring, Log: a.cfg.Observe.Log, Audiences: audiences(a.cfg.Routes),
	}
	people, err := accounts.New(ctx, *a.cfg.Accounts, place)
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	if people.Opaque() && a.cfg.Tokens.Delivery == "split" {
		return errors.New("accounts: opaque tokens have no claims for the page to read; another delivery than split carries them")
	}
	if _, taken := a.issuers[people.Issuer()]; taken {
		return fmt.Errorf("a provider has the issuer of our own accounts, %s", people.Issuer())
	}
	a.people = people
	a.providers[accounts.Name], a.issuers[people.Issuer()] = people.Provider(), people
	return nil
}

// audiences are those that routes name, each once.
func audiences(routes []Route) (names []string) {
	for _, r := range routes {
		if r.Audience != "" && !slices.Contains(names, r.Audience) {
			names = append(names, r.Audience)
		}
	}
	return names
}

// addGuard adds what refuses other sites.
func (a *assembly) addGuard(context.Context) (err error) {
	if a.guard, err = guard.New(a.own, guardOptions(a.cfg), a.ring); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}

// addSessions adds where sessions rest, how their tokens reach the API, who renews them, and the desk over all of that.
func (a *assembly) addSessions(ctx context.Context) (err error) {
	var companion func(*session.Session) string
	if a.cfg.Guard.CSRF == guard.CSRFToken && a.cfg.Tokens.InCookies() {
		a.guard.NameByToken()
		companion = a.guard.Companion
	}
	if a.delivery, err = delivery.New(a.cfg.Tokens, a.own, a.jar, a.cfg.Session, companion, a.cfg.Observe.Log); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if a.storage, err = storage.New(ctx, a.cfg.Store, a.ring, a.own, a.jar, a.cfg.Session, a.cfg.Cookie); err != nil {
		return err
	}
	if err := countable(&a.cfg, a.storage); err != nil {
		return err
	}
	provider := func(name string) (session.Provider, bool) { p, ok := a.providers[name]; return p, ok }
	a.renewer = session.NewRenewer(a.storage, provider, a.sink, audiences(a.cfg.Routes)...)
	a.desk = session.NewDesk(a.storage, a.delivery, a.renewer, a.cfg.Session, a.sink)
	return nil
}

// addEndpoints adds what is served under the prefix, and on the control socket.
func (a *assembly) addEndpoints(context.Context) (err error) {
	pages := ui.New(a.cfg.Endpoints.Prefix)
	if err := pages.Dress(a.cfg.Pages); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	a.answers = &answer.Answers{Prefix: a.cfg.Endpoints.Prefix, Jar: a.jar, Pages: pages, Log: a.cfg.Observe.Log, Metrics: a.metrics}
	var endClosed func(context.Context) error
	if a.people != nil {
		endClosed = func(ctx context.Context) error { return a.people.EndClosed(ctx, a.endPerson) }
	}
	a.control = control.NewHandler(a.desk, slices.Sorted(maps.Keys(a.issuers)), a.sink, endClosed)
	a.endpoints, err = gateway.New(gateway.Parts{
		Own: a.own, Ring: a.ring, Guard: a.guard, Desk: a.desk, Storage: a.storage, Delivery: a.delivery, Notes: storage.NewNotes(a.cfg.Store, a.ring),
		Providers: a.providers, Accounts: a.people, Answers: a.answers, Audit: a.sink, Sessions: a.cfg.Session,
		Client: gateway.Script{Text: web.Client, ETag: web.ClientETag},
	}, a.cfg.Endpoints, a.metrics)
	return err
}

// addRoutes adds the proxy to everything outside the prefix.
func (a *assembly) addRoutes(context.Context) (err error) {
	a.live = proxy.NewLive(a.desk, a.cfg.Anonymous)
	a.storage.Listen(a.live.Changed)
	a.proxy, err = proxy.New(proxy.Parts{
		Own: a.own, Guard: a.guard, Desk: a.desk, Delivery: a.delivery, Answers: a.answers, Audit: a.sink, Live: a.live,
		Verifier: delivery.NewBearers(a.issuers), Allow: a.cfg.Endpoints.Allow,
	}, a.cfg.Routes, a.metrics)
	return err
}

// tend does what has to be done now and then, until ctx ends.
func (a *assembly) tend(ctx context.Context) {
	if a.people != nil {
		go a.people.Follow(ctx, a.endPerson)
	}
	if sweeper, can := a.cfg.Store.(session.Sweeper); can {
		go sweep(ctx, sweeper, a.cfg.Observe.Log)
	}
}

// endPerson ends all sessions of somebody of our own, for an operator.
func (a *assembly) endPerson(ctx context.Context, subject string) error {
	_, _, err := a.desk.Revoke(ctx, session.Selector{Issuer: a.people.Issuer(), Subject: subject}, func(l session.Listed) {
		a.sink.Record(ctx, l.Event(audit.Ended, "the account was closed or its password reset"))
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
