package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	browser "github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// complete fills in what is left open once all is read, and says what is missing and what does not go together.
func complete(f *form, c *Config) {
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
