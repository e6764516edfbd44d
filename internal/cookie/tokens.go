package cookie

import (
	"net/http"
	"strings"
	"time"
)

// What the names of the cookies around an access token end in. Other programs than ours read them: see docs/api.md.
const (
	AccessToken = "access_token"     // the token, or its first two parts where the third has a cookie of its own
	Signature   = "access_token.sig" // the third part
	CSRF        = "csrf"             // what an API on another host checks a CSRF token with
)

// Where a token cookie is bound to our host alone, or to one that browsers let a wider one be set for.
const (
	hostPrefix   = "__Host-"
	securePrefix = "__Secure-"
)

// Token is one of the cookies around an access token, at one gateway.
type Token struct {
	Name     string
	readable bool
}

// WithTokens returns j with token cookies in it: their names are ours too from now on. Hosts of domain and below get them, on paths
// of path and below; "" is our own host alone, and every path.
func (j Jar) WithTokens(domain, path string) Jar {
	if path == "" {
		path = "/"
	}
	j.tokens, j.domain, j.path = true, domain, path
	return j
}

// Token is the cookie whose name ends in base. Script can read it only if readable: all others are HttpOnly.
//
// The names promise what browsers enforce. "__Host-Http-": set by a server, for this host and every path, HttpOnly. "__Host-": the
// same for one that script may read. "__Secure-": over https at least; a domain or a path allow no more.
func (j Jar) Token(base string, readable bool) Token {
	prefix := j.prefix
	switch {
	case !j.secure:
	case j.domain != "" || j.path != "/":
		prefix = securePrefix
	case readable:
		prefix = hostPrefix
	}
	return Token{Name: prefix + base, readable: readable}
}

// SetToken adds a token cookie to an answer. It lasts for whole seconds of life, which is at least one.
func (j Jar) SetToken(w http.ResponseWriter, t Token, value string, life time.Duration) {
	c := j.token(t, value)
	c.MaxAge = int(life / time.Second)
	j.add(w, &c)
}

// ClearToken makes the browser forget a token cookie. It names the same domain and path: otherwise it would mean another cookie.
func (j Jar) ClearToken(w http.ResponseWriter, t Token) {
	c := j.token(t, "")
	c.MaxAge = -1
	j.add(w, &c)
}

func (j Jar) token(t Token, value string) http.Cookie {
	return http.Cookie{
		Name: t.Name, Value: value, Domain: j.domain, Path: j.path, HttpOnly: !t.readable, Secure: j.secure, SameSite: http.SameSiteStrictMode,
	}
}

// longestLife is the longest that browsers keep a cookie for.
const longestLife = 400 * 24 * 60 * 60

// TokenSize is how many bytes a token cookie takes with this value: name, value and attributes, in the stricter of the counts that
// browsers have had. One of more than 4096 they drop without a word.
func (j Jar) TokenSize(t Token, value string) int {
	c := j.token(t, "")
	c.MaxAge = longestLife
	return len(c.String()) + len(value)
}

// Reach reports whether a browser that has the token cookies sends them along with r, and so whether their absence says something
// (RFC 6265bis §5.1.4).
func (j Jar) Reach(r *http.Request) bool {
	rest, below := strings.CutPrefix(r.URL.EscapedPath(), j.path)
	return below && (rest == "" || rest[0] == '/' || strings.HasSuffix(j.path, "/"))
}

// ownsToken reports whether a name is that of a token cookie of ours, under whichever prefix: domain and path may have been
// others a moment ago.
func (j Jar) ownsToken(name string) bool {
	if !j.tokens || !j.secure {
		return false // names under our own prefix are ours anyway
	}
	if base, ok := strings.CutPrefix(name, securePrefix); ok {
		return isTokenBase(base)
	}
	base, ok := strings.CutPrefix(name, hostPrefix)
	return ok && base == AccessToken
}

// mentionsToken reports whether a line of cookies may have a token cookie of ours outside of our own prefix.
func (j Jar) mentionsToken(line string) bool {
	return j.tokens && j.secure && (strings.Contains(line, securePrefix) || strings.Contains(line, hostPrefix+AccessToken))
}

// mocksToken reports whether a browser could take a cookie that an upstream sets for one of our token cookies.
func (j Jar) mocksToken(name string) bool {
	if !j.tokens || !j.secure {
		return false
	}
	for _, prefix := range [...]string{securePrefix, hostPrefix} {
		for _, base := range [...]string{AccessToken, Signature, CSRF} {
			if strings.EqualFold(strings.Trim(name, " \t"), prefix+base) {
				return true
			}
		}
	}
	return false
}

func isTokenBase(base string) bool { return base == AccessToken || base == Signature || base == CSRF }

// Carries reports whether r has a cookie of ours that could open something: a session's or a token's, good or not.
func (j Jar) Carries(r *http.Request) bool {
	found, login := false, j.Login("")
	Each(r, func(name, _ string) {
		found = found || j.Owns(name) && !strings.HasPrefix(name, login)
	})
	return found
}

// Attach adds cookies to a request that goes to an upstream, in the one line that all servers read.
func Attach(h http.Header, pairs string) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		h["Cookie"] = []string{pairs}
		return
	}
	h["Cookie"] = []string{strings.Join(lines, "; ") + "; " + pairs}
}
