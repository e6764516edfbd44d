// Package guard refuses what other sites try with a browser that holds our cookie, and sets the headers that protect our own
// answers.
//
// The cookie's SameSite attribute alone does not do it: a sibling host is the same site, and is taken over more often than
// one thinks (draft-ietf-oauth-browser-based-apps §6.1.3.3.1).
package guard

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Options say who else may use the cookie.
type Options struct {
	// Origins are front ends on other origins: exact scheme://host[:port], no wildcard. They are as trusted as our own
	// pages. Plain http is refused where our own origin is https, unless it is this machine.
	Origins []string
	// OriginHeaders are more headers that scripts on these origins may send: of a GraphQL client, or of the application.
	OriginHeaders []string
	// CSRF is how a request proves that it was meant: CSRFOrigin (default), CSRFHeader or CSRFToken. Where it comes from is checked
	// in any case.
	CSRF string
}

// Guard knows our own origin and the listed ones. It is safe for use by many goroutines.
type Guard struct {
	own     origin.Origin
	ownText string
	listed  []origin.Origin
	texts   map[string]bool // the listed origins, as browsers write them
	library http.CrossOriginProtection

	sendable map[string]bool // headers that listed origins may send
	header   bool            // CSRFHeader
	tokens   *tokens         // CSRFToken, else nil
}

// New makes the guard of own, which is what the browser's address bar shows. Its error names every origin that cannot be
// listed, with the reason. CSRF tokens are made under keys of ring, which otherwise may be nil.
func New(own origin.Origin, o Options, ring *seal.Keyring) (*Guard, error) {
	return build(own, o, func() *tokens { return newTokens(ring) })
}

// NewForAPI makes the guard of an API that has no sessions, and of the keys only the one of CSRF tokens, see [ParseKey]. It may be nil
// where o.CSRF does not need it. Such a guard checks tokens by [Guard.CheckCompanion], and can make none.
func NewForAPI(own origin.Origin, o Options, key []byte) (*Guard, error) {
	return build(own, o, func() *tokens { return &tokens{key: func() []byte { return key }} })
}

func build(own origin.Origin, o Options, tokens func() *tokens) (*Guard, error) {
	if own == (origin.Origin{}) {
		return nil, errors.New("guard: no own origin")
	}
	g := &Guard{own: own, ownText: own.String(), texts: make(map[string]bool), sendable: make(map[string]bool)}
	for _, name := range slices.Concat(sendable, o.OriginHeaders) {
		g.sendable[http.CanonicalHeaderKey(name)] = true
	}
	switch o.CSRF {
	case "", CSRFOrigin:
	case CSRFHeader:
		g.header = true
	case CSRFToken:
		g.tokens = tokens()
	default:
		return nil, fmt.Errorf("csrf: %q is none of origin, header, token", o.CSRF)
	}
	wrong := []error{g.library.AddTrustedOrigin(g.ownText)}
	for _, text := range o.Origins {
		listed, err := origin.Parse(text)
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case own.Secure() && !listed.Secure() && !listed.Loopback():
			wrong = append(wrong, fmt.Errorf("origin %q: plain http: whoever is on its network could use the sessions of %s; give it https", text, own))
		case listed == own || g.texts[listed.String()]:
			// said already
		default:
			g.listed = append(g.listed, listed)
			g.texts[listed.String()] = true
			wrong = append(wrong, g.library.AddTrustedOrigin(listed.String()))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return g, nil
}

// Listed returns the origins beside our own that may use the cookie. It is not to be changed.
func (g *Guard) Listed() []origin.Origin { return g.listed }

// Check decides whether r may use a cookie of ours, by what the browser says of where r comes from:
//
//	Sec-Fetch-Site          GET, HEAD                                    other methods, WebSocket upgrades
//	same-origin             pass                                         pass, unless Origin contradicts
//	same-site, cross-site   document navigations; else a listed Origin   a listed Origin
//	none                    pass                                         document navigations, unless Origin is foreign
//	missing                 pass                                         Origin ours or listed; without it Referer; else refused
//
// "Origin: null" counts as foreign, except with same-origin. One of these headers twice is refused, and a Sec-Fetch-Site that
// is none of these words is cross-site. The Host header decides nothing: behind a proxy it is not ours, and whoever points a
// name of his at our address chooses it.
//
// The error is a *session.Error: BadMethod for TRACE and CONNECT, else CrossSite with a reason that names the header. A request
// that passes allocates nothing.
//
// With CSRFHeader it asks for the header as well.
func (g *Guard) Check(r *http.Request) error {
	if err := g.CheckOrigin(r); err != nil || !g.header {
		return err
	}
	return g.checkHeader(r)
}

// CheckOrigin is Check by the table alone: for requests that begin a session, and have none yet to prove anything with.
func (g *Guard) CheckOrigin(r *http.Request) error {
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		return session.Fail(session.BadMethod, op, "method %s", r.Method)
	}
	for _, name := range [...]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin", "Referer"} {
		if n := len(r.Header[name]); n > 1 {
			return refuse("", "%s is there %d times", name, n)
		}
	}
	reads := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !origin.IsUpgrade(r)
	site := r.Header["Sec-Fetch-Site"]
	if len(site) == 0 {
		if reads {
			return nil
		}
		return g.checkProof(r)
	}

	// The standard library judges first; the rest only narrows what it passes. It is not asked where Sec-Fetch-Site is
	// missing: there it compares Origin with Host, without the scheme, and passes what has no Origin. Nor does it know of
	// upgrades, or that "none" should be a navigation.
	if err := g.library.Check(r); err != nil {
		return refuse(hintList, "%w: %s with Sec-Fetch-Site %s, Origin %s", err, r.Method, said(site), said(r.Header["Origin"]))
	}
	from := r.Header["Origin"]
	switch site[0] {
	case "same-origin":
		// A name that someone points at our address is the same origin to the browser; its Origin tells (DNS rebinding).
		if reads || len(from) == 0 || from[0] == "null" || g.knows(from[0]) {
			return nil
		}
		return refuse(hintOwn, "Sec-Fetch-Site same-origin, but Origin is %s and ours %s", said(from), g.ownText)
	case "none":
		if reads || origin.IsDocument(r) && (len(from) == 0 || g.knows(from[0])) {
			return nil
		}
		return refuse("", "%s with Sec-Fetch-Site none, not a document navigation of our own: Sec-Fetch-Mode %s, Sec-Fetch-Dest %s, Origin %s",
			r.Method, said(r.Header["Sec-Fetch-Mode"]), said(r.Header["Sec-Fetch-Dest"]), said(from))
	default: // same-site, cross-site, and whatever word browsers may invent
		if reads && origin.IsDocument(r) || len(from) == 1 && g.texts[from[0]] {
			return nil
		}
		return refuse(hintList, "%s with Sec-Fetch-Site %s, Origin %s", r.Method, said(site), said(from))
	}
}

// checkProof is for browsers that do not send Sec-Fetch-Site, and for programs that are none.
func (g *Guard) checkProof(r *http.Request) error {
	if from := r.Header["Origin"]; len(from) > 0 {
		if g.knows(from[0]) {
			return nil
		}
		return refuse(hintList, "no Sec-Fetch-Site, and Origin %s is neither ours nor listed", said(from))
	}
	referer := r.Header["Referer"]
	switch {
	case len(referer) == 0:
		return refuse("", "%s without Sec-Fetch-Site, Origin and Referer", r.Method)
	case g.knowsPage(referer[0]):
		return nil
	}
	// Only the origin of a Referer is fit for a log: the rest may hold a code.
	end := len(referer[0])
	if i := strings.Index(referer[0], "://"); i >= 0 {
		if n := strings.IndexAny(referer[0][i+3:], `/?#\`); n >= 0 {
			end = i + 3 + n
		}
	}
	page, err := origin.Parse(referer[0][:end])
	if err != nil {
		return refuse("", "no Sec-Fetch-Site, no Origin, and Referer has no readable origin")
	}
	return refuse(hintList, "no Sec-Fetch-Site, no Origin, and Referer is on %s, neither ours nor listed", page)
}

func (g *Guard) knows(from string) bool { return from == g.ownText || g.texts[from] }

// knowsPage reports whether a URL is on an origin that the guard knows.
func (g *Guard) knowsPage(url string) bool {
	if isOn(url, g.ownText) {
		return true
	}
	for text := range g.texts {
		if isOn(url, text) {
			return true
		}
	}
	return false
}

// isOn compares to the letter, as browsers write a Referer in one spelling only. What follows the origin must end it: "." and
// "@" would make another host of it, ":" another port.
func isOn(url, origin string) bool {
	rest, ok := strings.CutPrefix(url, origin)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?' || rest[0] == '#')
}

const (
	op       = "guard"
	hintList = "a front end of yours on another origin belongs in the list origins"
	hintOwn  = "set url to what the browser's address bar shows, or add that origin to the list origins"
)

func refuse(hint, format string, args ...any) error {
	err := session.Fail(session.CrossSite, op, format, args...)
	err.Hint = hint
	return err
}

// said quotes a header for the log, in bounded length.
func said(values []string) string {
	if len(values) == 0 {
		return "missing"
	}
	return fmt.Sprintf("%.100q", values[0])
}
