package verify

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Gateway is the one whose cookies this API reads (tokens.delivery cookie or split), in the words of its configuration. Pages on its
// URL and on Origins may use them, also from another host of the same site: preflights are answered here (CORS).
type Gateway struct {
	// URL is its url.
	URL string
	// Domain and Path are its tokens.domain and tokens.path. With them the cookies have other names.
	Domain, Path string
	// Origins and OriginHeaders are its origins and origin_headers.
	Origins, OriginHeaders []string
	// CSRF is its csrf: CSRFOrigin (default), CSRFHeader or CSRFToken.
	CSRF string
	// CSRFKey is what its "cloakroom keys csrf" prints. CSRFToken needs it.
	CSRFKey string
}

// String leaves the key out.
func (g Gateway) String() string { return g.URL }

// GoString leaves the key out.
func (g Gateway) GoString() string { return g.URL }

// What Gateway.CSRF may say. What each asks of a request is in docs/security.md, under "Requests".
const (
	CSRFOrigin = guard.CSRFOrigin // where it comes from is enough
	CSRFHeader = guard.CSRFHeader // it carries the header X-CSRF-Token, whatever that says
	CSRFToken  = guard.CSRFToken  // what writes carries the token of its session, in that header or in the field _csrf of a form
)

// browser is what an API has to know where browsers bring tokens in cookies.
type browser struct {
	guard *guard.Guard

	// Names of cookies. whole and claims are one name where the prefix does not tell whether script can read it.
	whole, claims, signature, csrf string
}

// newBrowser reads what the gateway says, for an API at url, "" for the gateway's own.
func newBrowser(g Gateway, url string) (*browser, error) {
	at, err := origin.Parse(g.URL)
	if err != nil {
		return nil, fmt.Errorf("Gateway.URL: %w", err)
	}
	own := at
	if url != "" {
		if own, err = origin.Parse(url); err != nil {
			return nil, fmt.Errorf("URL: %w", err)
		}
	}
	switch {
	case own.Host() != at.Host() && g.Domain == "":
		return nil, fmt.Errorf("Gateway: cookies of %s come to %s only with a domain that both are in: tokens.domain there, Domain here", at, own)
	case !origin.SameSite(own, at):
		return nil, fmt.Errorf("URL: %s and %s are not one site: browsers bring the cookies of the one not to the other", own, at)
	}
	var key []byte
	if g.CSRF == CSRFToken {
		if key, err = guard.ParseKey(g.CSRFKey); err != nil {
			return nil, fmt.Errorf("Gateway.CSRFKey: %w", err)
		}
	}
	// A page may also bring a bearer: that of tokens.delivery memory, and no cookie then.
	o := guard.Options{Origins: append([]string{g.URL}, g.Origins...), OriginHeaders: append([]string{"Authorization"}, g.OriginHeaders...), CSRF: g.CSRF}
	b := &browser{}
	if b.guard, err = guard.NewForAPI(own, o, key); err != nil {
		return nil, fmt.Errorf("Gateway: %w", err)
	}
	jar := cookie.New(at.Secure(), at.Port()).WithTokens(g.Domain, g.Path)
	b.whole, b.claims = jar.Token(cookie.AccessToken, false).Name, jar.Token(cookie.AccessToken, true).Name
	b.signature, b.csrf = jar.Token(cookie.Signature, false).Name, jar.Token(cookie.CSRF, false).Name
	return b, nil
}

var errHalf = errors.New("of the split token only one half came")

// token is what the cookies of a request hold, "" for none. BadRequest: there are two, and which is ours cannot be told (RFC 6265bis
// §8.6); TokenInvalid: there is half of one.
func (b *browser) token(r *http.Request) (string, error) {
	if len(r.Header["Cookie"]) == 0 {
		return "", nil
	}
	for _, name := range []string{b.whole, b.claims, b.signature} {
		if _, n := cookie.Get(r, name); n > 1 {
			return "", session.Fail(session.BadRequest, op, "the cookie %s is there %d times", name, n)
		}
	}
	whole, _ := cookie.Get(r, b.whole)
	claims, _ := cookie.Get(r, b.claims)
	signature, _ := cookie.Get(r, b.signature)
	switch {
	case b.whole == b.claims && signature == "":
		return whole, nil
	case b.whole == b.claims:
		whole = ""
	}
	switch {
	case whole != "" && claims+signature != "":
		return "", session.Fail(session.BadRequest, op, "there is a token in one cookie, and one in two")
	case whole != "" || claims+signature == "":
		return whole, nil
	case claims == "" || signature == "":
		return "", session.Fail(session.TokenInvalid, op, "%w", errHalf)
	}
	return claims + "." + signature, nil
}

// checkCSRF wants a request with a token in a cookie to bring the CSRF token of its session, where one is wanted.
func (b *browser) checkCSRF(r *http.Request, t *Token) error {
	if !b.guard.WantsToken(r) {
		return nil
	}
	companion, _ := cookie.Get(r, b.csrf) // two of them are none
	return b.guard.CheckCompanion(r, companion, t.Issuer, t.Subject)
}
