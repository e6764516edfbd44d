package cloakroom

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Finding is one thing that was looked at.
type Finding struct {
	OK      bool
	Subject string // what was looked at: "store", "provider main", "route /api/"
	Text    string // what was found
	Hint    string // what to do about it; when OK, what to consider, or ""
}

// probeTimeout bounds each look at something outside.
const probeTimeout = 10 * time.Second

// Ready looks at what a request needs: the store takes writes, and each provider can be reached. It is made for a readiness
// probe; call it often, the providers are asked every few seconds at most.
func (g *Gateway) Ready(ctx context.Context) []Finding {
	looks := []func(context.Context) Finding{g.lookAtStore}
	for _, name := range slices.Sorted(maps.Keys(g.cfg.Providers)) {
		looks = append(looks, func(ctx context.Context) Finding { return g.lookAtProvider(ctx, name) })
	}
	if g.people != nil {
		looks = append(looks, g.lookAtAccounts)
	}
	return lookAll(ctx, looks)
}

// Check looks at everything that could be wrong before production shows it: what Ready looks at, the upstreams, the cookies and
// the origins. It contacts provider, store and upstreams, and changes nothing.
func (g *Gateway) Check(ctx context.Context) []Finding {
	looks := []func(context.Context) Finding{g.lookAtURL}
	if g.cfg.Tokens.InCookies() {
		looks = append(looks, g.lookAtTokens)
	}
	for _, text := range g.cfg.Guard.Origins {
		looks = append(looks, func(context.Context) Finding { return g.lookAtOrigin(text) })
	}
	for _, r := range g.cfg.Routes {
		if r.Upstream != "" {
			looks = append(looks, func(ctx context.Context) Finding { return lookAtUpstream(ctx, r) })
		}
	}
	return append(g.Ready(ctx), lookAll(ctx, looks)...)
}

func lookAll(ctx context.Context, looks []func(context.Context) Finding) []Finding {
	found := make([]Finding, len(looks))
	var all sync.WaitGroup
	for i, look := range looks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			found[i] = look(ctx)
		})
	}
	all.Wait()
	return found
}

func (g *Gateway) lookAtStore(ctx context.Context) Finding {
	f := Finding{OK: true, Subject: "store", Text: "it can be read and written"}
	pinger, ok := g.cfg.Store.(session.Pinger)
	if !ok {
		f.Text = "it offers no way to ask"
		return f
	}
	if err := pinger.Ping(ctx); err != nil {
		return fault(f.Subject, err, "sessions cannot be opened or begun until the store is back")
	}
	return f
}

func (g *Gateway) lookAtProvider(ctx context.Context, name string) Finding {
	f := Finding{OK: true, Subject: "provider " + name}
	prober, ok := g.providers[name].(session.Prober)
	if !ok {
		f.Text = "it offers no way to ask"
		return f
	}
	if err := prober.Probe(ctx); err != nil {
		return fault(f.Subject, err, "is the issuer's address right, and can this machine reach it?")
	}
	o := g.cfg.Providers[name]
	f.Text = "metadata and keys of " + o.Issuer + " are sound"
	if back, ok := g.providers[name].(interface{ Callback() *url.URL }); ok {
		f.Text += "; its redirect URI is " + back.Callback().String()
	}
	if o.Audience == "" && len(o.Resource) == 0 {
		f.Text += "; no audience or resource is set, so many providers issue an opaque access token: set one if the API wants a JWT"
	}
	if names := unasked(g.cfg.Routes, o); len(names) > 0 {
		f.Hint = "routes name " + strings.Join(names, ", ") + ": a token for each is asked for at refresh, which the provider must allow this client; " +
			"if it goes by resource (RFC 8707), list them there, for it grants only what was named at login"
	}
	if len(o.Resource) > 0 && !o.UserinfoOff {
		f.Text += "; resource is set, and some providers refuse such a token at userinfo: `userinfo: false` does without"
	}
	return f
}

// unasked are the audiences of routes that a login at a provider does not ask for.
func unasked(routes []Route, o Provider) []string {
	return slices.DeleteFunc(audiences(routes), func(name string) bool { return name == o.Audience || slices.Contains(o.Resource, name) })
}

func (g *Gateway) lookAtAccounts(ctx context.Context) Finding {
	f := Finding{OK: true, Subject: "accounts"}
	if err := g.people.Probe(ctx); err != nil {
		hint := "nobody can sign in or register until their database is back"
		if g.cfg.Accounts.Users != nil {
			hint = "nobody can sign in until your user table answers: start it, or mend its address"
		}
		return fault(f.Subject, err, hint)
	}
	f.Text = "they can be read; their tokens are of the issuer " + g.people.Issuer()
	return f
}

func (g *Gateway) lookAtURL(context.Context) Finding {
	switch {
	case g.own.Secure():
		return Finding{OK: true, Subject: "cookies", Text: "__Host-Http- prefix, Secure, HttpOnly, SameSite=" + cmp.Or(g.cfg.Cookie.SameSite, "strict")}
	case g.own.Loopback():
		return Finding{OK: true, Subject: "cookies", Text: "plain http on this machine: no prefix and no Secure, fit for development only"}
	}
	return Finding{Subject: "cookies", Text: "plain http: everyone on the way can take the session", Hint: "serve the gateway over https"}
}

// lookAtTokens says who gets the cookies with the token (C14). How long the token lives only a login shows; it is in the log then.
func (g *Gateway) lookAtTokens(context.Context) Finding {
	where := cmp.Or(g.cfg.Tokens.Path, "/")
	f := Finding{OK: true, Subject: "token cookies", Text: "only " + g.own.Host() + " gets the access token, on paths of " + where}
	if g.cfg.Tokens.Delivery == "split" {
		f.Text += "; script can read its claims"
	}
	if domain := g.cfg.Tokens.Domain; domain != "" {
		f.Text = "every host below " + domain + " gets the access token, on paths of " + where + ", and can set cookies of the same names for all others"
		if g.cfg.Tokens.Delivery == "split" {
			f.Text += "; script on each of them can read its claims"
		}
		f.Hint = "sibling risk: whoever takes over one of these hosts, a forgotten test server perhaps, has the tokens of all who visit it; " +
			"know them all, or serve the API below " + g.own.Host() + " and leave tokens.domain out"
	}
	return f
}

func (g *Gateway) lookAtOrigin(text string) Finding {
	subject := "origin " + text
	listed, err := origin.Parse(text)
	if err != nil {
		return fault(subject, err, "write it like https://app.example.com")
	}
	if !origin.SameSite(g.own, listed) {
		return Finding{
			Subject: subject, Text: "another site than " + g.own.String() + ": browsers do not send it the session cookie",
			Hint: "put that front end behind the gateway, or on a host of the same site",
		}
	}
	return Finding{OK: true, Subject: subject, Text: "the same site as " + g.own.String()}
}

func lookAtUpstream(ctx context.Context, r Route) Finding {
	subject := "route " + r.Path
	target, err := url.Parse(r.Upstream)
	if err != nil {
		return fault(subject, err, "write it like http://127.0.0.1:3000")
	}
	host := target.Host
	if target.Port() == "" {
		host = net.JoinHostPort(target.Hostname(), map[string]string{"http": "80", "https": "443"}[target.Scheme])
	}
	var conn net.Conn
	if target.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}
	if err != nil {
		return fault(subject, err, "start the upstream, or mend its address")
	}
	conn.Close()
	return Finding{OK: true, Subject: subject, Text: "the upstream " + target.Host + " takes connections"}
}

// fault is a finding that something is wrong. The error's own hint is better than a general one.
func fault(subject string, err error, hint string) Finding {
	if h := session.HintOf(err); h != "" {
		hint = h
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	return Finding{Subject: subject, Text: strings.TrimSpace(err.Error()), Hint: hint}
}
