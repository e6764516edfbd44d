// Package cookie is the only place that sets cookies: their names, prefixes and attributes, and how they are read.
package cookie

import (
	"net/http"
	"strings"
	"time"
)

// Jar knows the names of our cookies at one origin.
type Jar struct {
	prefix string
	secure bool
	parts  string // what the names of a session kept in cookies begin with

	tokens       bool // there are token cookies; see WithTokens
	domain, path string
}

// New returns the jar of an origin. Over https the names begin with "__Host-Http-": browsers then refuse such a cookie from
// script, from a sibling host and over http, and older ones at least the latter two. Over http, for development, they begin
// with "cloakroom-PORT-", because cookies ignore ports.
func New(secure bool, port string) Jar {
	prefix := "cloakroom-" + port + "-"
	if secure {
		prefix = "__Host-Http-"
	}
	return Jar{prefix: prefix, secure: secure, parts: prefix + "session."}
}

// Session is the name of the session cookie.
func (j Jar) Session() string { return j.prefix + "session" }

// Login is the name of the cookie of one login in flight.
func (j Jar) Login(id string) string { return j.prefix + "login." + id }

// Owns reports whether a cookie of this name is ours. Names are compared exactly: a browser checks prefixes without regard to
// case, we never do.
func (j Jar) Owns(name string) bool {
	rest, ok := strings.CutPrefix(name, j.prefix)
	if !ok {
		return j.ownsToken(name)
	}
	return rest == "session" || strings.HasPrefix(rest, "session.") || strings.HasPrefix(rest, "login.") || isTokenBase(rest)
}

// Get returns the value of the cookie of that name and how many cookies of the name r carries. More than one means that
// someone tossed one in: which of them is ours cannot be told (RFC 6265bis §8.6), so none is taken.
func Get(r *http.Request, name string) (value string, count int) {
	Each(r, func(n, v string) {
		if n == name {
			value = v
			count++
		}
	})
	if count != 1 {
		return "", count
	}
	return value, 1
}

// Each calls f for every cookie of r, over all Cookie headers: HTTP/2 may send each as a field of its own. Nameless cookies
// are passed over.
func Each(r *http.Request, f func(name, value string)) {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && name != "" {
				f(name, value)
			}
		}
	}
}

// Attributes are what differs between our cookies. All are HttpOnly with Path=/ and without Domain, but for those in tokens.go.
type Attributes struct {
	SameSite http.SameSite
	MaxAge   time.Duration // 0: until the browser closes
}

// Set adds a cookie to an answer. An answer that sets a cookie must never be kept by a cache.
func (j Jar) Set(w http.ResponseWriter, name, value string, a Attributes) {
	c := http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: j.secure, SameSite: a.SameSite}
	if a.SameSite == http.SameSiteNoneMode && !j.secure {
		c.SameSite = http.SameSiteDefaultMode // None needs Secure, which plain http cannot have
	}
	if a.MaxAge > 0 {
		c.MaxAge = int(a.MaxAge / time.Second)
	}
	j.add(w, &c)
}

// Clear makes the browser forget a cookie. Prefix rules hold for this as well, so it carries the same attributes.
func (j Jar) Clear(w http.ResponseWriter, name string, sameSite http.SameSite) {
	if sameSite == http.SameSiteNoneMode && !j.secure {
		sameSite = http.SameSiteDefaultMode
	}
	j.add(w, &http.Cookie{Name: name, Path: "/", HttpOnly: true, Secure: j.secure, SameSite: sameSite, MaxAge: -1})
}

func (j Jar) add(w http.ResponseWriter, c *http.Cookie) {
	h := w.Header()
	lines := h["Set-Cookie"]
	kept := lines[:0:0]
	for _, line := range lines { // the last word about a cookie is the only one
		if !strings.HasPrefix(line, c.Name+"=") {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		h.Del("Set-Cookie")
	} else {
		h["Set-Cookie"] = kept
	}
	http.SetCookie(w, c)
	h.Set("Cache-Control", "no-store")
}

// Strip takes our cookies out of a request that goes to an upstream. All others stay as they are.
func (j Jar) Strip(h http.Header) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		if rest := j.strip(line); rest != "" {
			kept = append(kept, rest)
		}
	}
	if kept == nil {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

func (j Jar) strip(line string) string {
	at := strings.Index(line, j.prefix)
	if at < 0 && !j.mentionsToken(line) {
		return line
	}
	// Mostly ours is the last or the first of the line, and the only one: then nothing needs to be copied.
	if name, _, _ := strings.Cut(line[max(at, 0):], "="); at >= 0 && j.Owns(name) && !j.mentionsToken(line) {
		_, rest, more := strings.Cut(line[at:], "; ")
		switch {
		case !more && strings.HasSuffix(line[:at], "; ") && !strings.Contains(line[at:], ";"):
			return line[:at-2]
		case more && at == 0 && !strings.Contains(rest, j.prefix) && !strings.Contains(line[:len(line)-len(rest)-2], ";"):
			return rest
		}
	}
	var kept strings.Builder
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		pair = strings.Trim(pair, " \t")
		name, _, _ := strings.Cut(pair, "=")
		if pair == "" || j.Owns(name) {
			continue
		}
		if kept.Len() > 0 {
			kept.WriteString("; ")
		}
		kept.WriteString(pair)
	}
	return kept.String()
}

// DropSet removes what an upstream would set under one of our names.
func (j Jar) DropSet(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := lines[:0:0]
	for _, line := range lines {
		// A cookie without a name comes back as its value alone, and that may look like one of ours.
		name, _, _ := strings.Cut(strings.TrimLeft(line, "= \t"), "=")
		if !strings.HasPrefix(strings.ToLower(name), strings.ToLower(j.prefix)) && !j.mocksToken(name) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}
