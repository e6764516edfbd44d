package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// What stands around the app: sockets, frames, redirects, caches.

// openSocket opens a WebSocket from another site and from a sibling host, and listens.
func openSocket(v *visit) attack {
	heard := map[place]string{}
	at := func(p place) stop {
		return stop{
			at: p,
			tell: func() any {
				return map[string]string{"to": "ws" + strings.TrimPrefix(v.origin().String(), "http") + "/api/socket"}
			},
			hear: func(text json.RawMessage) error {
				var seen struct{ Text string }
				err := json.Unmarshal(text, &seen)
				heard[p] = seen.Text
				return err
			},
		}
	}
	return attack{
		stops: []stop{at(foreign), at(sibling)},
		judge: func(ctx context.Context) (string, string, error) {
			who, err := v.known(ctx, victim)
			switch {
			case err != nil:
				return "", "", err
			case strings.Contains(heard[foreign], who.Subject):
				return "anyone", "", nil
			case strings.Contains(heard[sibling], who.Subject):
				return "sibling", "", nil
			}
			return "refused", "", nil
		},
	}
}

// frame shows the app in a frame of another site and of a sibling host.
func frame(v *visit) attack {
	shown := map[place]struct{ Shown, SignedIn bool }{}
	at := func(p place) stop {
		return stop{
			at: p,
			tell: func() any {
				to := v.App.String() + "/lab/framed.html"
				if v.column.Baseline() { // nobody has told its server of frames
					to = v.origin().String() + "/lab/open/framed.html?" + url.Values{"keep": {v.column.Keep}}.Encode()
				}
				return map[string]string{"to": to}
			},
			hear: func(text json.RawMessage) error {
				var seen struct{ Shown, SignedIn bool }
				err := json.Unmarshal(text, &seen)
				shown[p] = seen
				return err
			},
		}
	}
	return attack{
		stops: []stop{at(foreign), at(sibling)},
		judge: func(context.Context) (string, string, error) {
			switch {
			case shown[foreign].SignedIn:
				return "anyone", "", nil
			case shown[sibling].SignedIn:
				return "sibling", "", nil
			case shown[foreign].Shown, shown[sibling].Shown:
				return "empty", "", nil
			}
			return "refused", "", nil
		},
	}
}

// redirects are places to go back to that lead elsewhere, in the spellings by which such checks were passed.
func redirects(evil *url.URL) []string {
	h := evil.Host
	return []string{
		evil.String() + "/", "//" + h + "/", "///" + h + "/", `/\` + h + "/", `\\` + h + "/", "/\t/" + h + "/", "/%09/" + h + "/", "/%5c" + h + "/",
		"/..//" + h + "/", "/a//../..//" + h + "/", evil.Scheme + ":" + h + "/", "/@" + h + "/", "javascript:location='//" + h + "'",
		"/\r\nLocation: " + evil.String() + "/",
	}
}

// openRedirect signs in and out with each of them as the way back, and follows where it leads.
func openRedirect(v *visit) attack {
	return attack{judge: func(ctx context.Context) (string, string, error) {
		if v.column.Baseline() {
			return "absent", "", nil
		}
		list := redirects(v.Foreign)
		for _, to := range list {
			d := v.newDevice(v.App, v.gateway)
			d.Jar.SetCookies(v.Issuer, []*http.Cookie{v.World.Enter(victim)})
			q := "?" + url.Values{"return_to": {to}}.Encode()
			escaped, err := v.journey(ctx, d, http.MethodGet, "/auth/login"+q)
			if err == nil && !escaped {
				escaped, err = v.journey(ctx, d, http.MethodPost, "/auth/logout"+q)
			}
			if err != nil {
				return "", "", fmt.Errorf("return_to %q: %w", to, err)
			}
			if escaped {
				return "escaped", fmt.Sprintf("by return_to=%q", to), nil
			}
		}
		return "kept", fmt.Sprintf("%d spellings", len(list)), nil
	}}
}

var metaRefresh = regexp.MustCompile(`(?i)<meta[^>]+http-equiv="?refresh"?[^>]+content="[^"]*url=([^"]*)"`)

// journey follows every redirect, and every page that goes on by itself, and reports whether it leaves app and provider.
func (v *visit) journey(ctx context.Context, d *device, method, path string) (escaped bool, err error) {
	d.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at := v.App.String() + path
	for range 12 {
		headers := []string{"Accept", "text/html"}
		var form url.Values
		if method == http.MethodPost {
			form = url.Values{}
			headers = append(headers, "Origin", v.App.String(), "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
		}
		got, err := d.send(ctx, method, at, form, headers...)
		if err != nil {
			return false, err
		}
		method = http.MethodGet
		next := got.header.Get("Location")
		if m := metaRefresh.FindSubmatch(got.body); next == "" && m != nil {
			next = html.UnescapeString(string(m[1]))
		}
		if next == "" {
			return false, nil
		}
		base, err := url.Parse(at)
		if err != nil {
			return false, err
		}
		to, err := base.Parse(asBrowsersRead(next))
		if err != nil || to.Host != v.App.Host && to.Host != v.Issuer.Host {
			return true, nil // what cannot be read here, a browser may read
		}
		at = to.String()
	}
	return false, errors.New("it goes round in circles")
}

// asBrowsersRead is how a browser reads an address: tabs and line ends fall out, and a backslash is a slash.
func asBrowsersRead(address string) string {
	return strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.Trim(address, " "))
}

// sharedCache puts a cache by the book before the app: the victim reads pages of hers through it, then somebody else does.
func sharedCache(v *visit) attack {
	var p profile
	return attack{
		stops: []stop{{at: app, hear: p.hear(v)}},
		judge: func(ctx context.Context) (string, string, error) {
			who, err := v.known(ctx, victim)
			if err != nil {
				return "", "", err
			}
			headers := []string{}
			switch {
			case v.column.Delivery == "memory":
				token, err := v.askToken(ctx, v.cookies)
				if err != nil {
					return "", "", err
				}
				headers = []string{"Authorization", "Bearer " + token}
			case v.column.Baseline() && v.column.Keep != "cookie":
				token, err := v.mint(victim)
				if err != nil {
					return "", "", err
				}
				headers = []string{"Authorization", "Bearer " + token}
			}
			cache := &cache{next: v.served()}
			for _, path := range []string{"/api/me", "/api/badge", "/api/badge/style.css", "/auth/session"} {
				own, err := v.through(ctx, cache, path, append(headers, "Cookie", v.cookies, "Sec-Fetch-Site", "same-origin", "X-CSRF-Token", "1")...)
				if err != nil {
					return "", "", err
				}
				if !v.column.Baseline() && !bytes.Contains(own.body, []byte(who.Subject)) {
					return "", "", fmt.Errorf("%s does not show the victim hers: %d", path, own.status)
				}
				other, err := v.through(ctx, cache, path)
				if err != nil {
					return "", "", err
				}
				if bytes.Contains(other.body, []byte(who.Subject)) {
					return "leaked", path, nil
				}
			}
			return "apart", "", nil
		},
	}
}

func (v *visit) through(ctx context.Context, h http.Handler, path string, headers ...string) (reply, error) {
	d := v.newDevice(v.origin(), h)
	d.Jar = nil
	return d.send(ctx, http.MethodGet, v.origin().String()+path, nil, headers...)
}

// cache is a shared cache as RFC 9111 has it, as far as one run needs it: it keeps what it may keep, for as long as the run.
type cache struct {
	next http.Handler
	kept map[string][]kept
}

type kept struct {
	reply
	asked http.Header
}

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, k := range c.kept[r.URL.RequestURI()] {
		if k.serves(r.Header) {
			k.write(w)
			return
		}
	}
	got := ask(c.next, r.Clone(r.Context()))
	if got.storable(r.Header) {
		if c.kept == nil {
			c.kept = make(map[string][]kept)
		}
		c.kept[r.URL.RequestURI()] = append(c.kept[r.URL.RequestURI()], kept{got, r.Header.Clone()})
	}
	got.write(w)
}

func (r reply) write(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	w.Write(r.body)
}

// storable is RFC 9111 §3, for a shared cache.
func (r reply) storable(asked http.Header) bool {
	control := strings.ToLower(strings.Join(r.header.Values("Cache-Control"), ","))
	says := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(control, word) {
				return true
			}
		}
		return false
	}
	if r.status != http.StatusOK || says("no-store", "private", "no-cache") || r.header.Get("Vary") == "*" {
		return false
	}
	if asked.Get("Authorization") != "" && !says("public", "s-maxage", "must-revalidate") { // §3.5
		return false
	}
	return says("max-age", "s-maxage", "public")
}

// serves is RFC 9111 §4.1.
func (k kept) serves(asked http.Header) bool {
	for name := range strings.SplitSeq(strings.Join(k.header.Values("Vary"), ","), ",") {
		if name = strings.TrimSpace(name); name != "" && asked.Get(name) != k.asked.Get(name) {
			return false
		}
	}
	return true
}
