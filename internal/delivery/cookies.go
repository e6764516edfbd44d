package delivery

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// mostOfAll is how many bytes the token cookies may take together in a request. Servers on the way refuse longer headers.
const mostOfAll = 6 << 10

// Cookies puts the access token into the browser, for APIs that read it there: whole in one cookie that is HttpOnly, or split over
// two, of which script may read the first. It sends upstreams the same cookies, always of the current token, and no Authorization:
// an API that got the token in two ways would have to refuse the request, or to choose.
type Cookies struct {
	jar   cookie.Jar
	lives session.Options
	log   *slog.Logger
	split bool

	token, signature, csrf cookie.Token
	companion              func(*session.Session) string // nil: none
}

// Word returns "cookie" or "split".
func (c *Cookies) Word() string {
	if c.split {
		return "split"
	}
	return "cookie"
}

// rider is one cookie and what it holds.
type rider struct {
	cookie.Token
	value string
}

// names are all cookies that may ever be set. What rides beside the token belongs here and in riders.
func (c *Cookies) names() []cookie.Token {
	names := []cookie.Token{c.token}
	if c.split {
		names = append(names, c.signature)
	}
	if c.companion != nil {
		names = append(names, c.csrf)
	}
	return names
}

var errNoJWT = errors.New("the access token is no JWT of three parts: it cannot be split")

// riders are the cookies of s, in the order of names. The error says that its token cannot be told by cookies of this kind.
func (c *Cookies) riders(s *session.Session) ([]rider, error) {
	riders, err := c.tokens(s)
	if err == nil && c.companion != nil {
		riders = append(riders, rider{c.csrf, c.companion(s)})
	}
	return riders, err
}

func (c *Cookies) tokens(s *session.Session) ([]rider, error) {
	access := s.Grant.Tokens.Access
	if !c.split {
		if strings.ContainsAny(access, " \",;\\") {
			return nil, errors.New("the access token has characters that a cookie cannot hold")
		}
		return []rider{{c.token, access}}, nil
	}
	claims, signature, ok := splitJWT(access)
	if !ok {
		return nil, errNoJWT
	}
	return []rider{{c.token, claims}, {c.signature, signature}}, nil
}

// splitJWT cuts a compact JWS (RFC 7515 §7.1) before its signature.
func splitJWT(token string) (claims, signature string, ok bool) {
	at, dots, start := 0, 0, 0
	for i := 0; i <= len(token); i++ {
		switch {
		case i == len(token) || token[i] == '.':
			if i == start || (i-start)%4 == 1 {
				return "", "", false
			}
			if i < len(token) {
				dots++
				at, start = i, i+1
			}
		case !isBase64URL(token[i]):
			return "", "", false
		}
	}
	if dots != 2 {
		return "", "", false
	}
	return token[:at], token[at+1:], true
}

func isBase64URL(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Check says why the token of s does not get into the browser. SessionTooLarge: it is too long for the cookies; ProviderRefused:
// it is of another kind than they can hold.
func (c *Cookies) Check(s *session.Session) error {
	_, err := c.fitting(s)
	return err
}

// fitting are the riders of s, if browsers keep them and servers take them.
func (c *Cookies) fitting(s *session.Session) ([]rider, error) {
	riders, err := c.riders(s)
	if err != nil {
		hint := "let another delivery carry it: proxy, memory"
		if c.split {
			hint = "set the provider's audience or resource, so that it issues a JWT; or let another delivery carry it: proxy, memory, cookie"
		}
		return nil, &session.Error{Code: session.ProviderRefused, Op: op, Err: err, Hint: hint}
	}
	all := 0
	for _, r := range riders {
		all += len(r.Name) + len("=; ") + len(r.value)
		if size := c.jar.TokenSize(r.Token, r.value); size > cookie.MaxSize {
			return nil, tooLarge("the access token has %d bytes; the cookie %s would take %d, and browsers drop one of more than %d",
				len(s.Grant.Tokens.Access), r.Name, size, cookie.MaxSize)
		}
	}
	if all > mostOfAll {
		return nil, tooLarge("the access token has %d bytes; its cookies would take %d together, and servers refuse more than %d",
			len(s.Grant.Tokens.Access), all, mostOfAll)
	}
	return riders, nil
}

func tooLarge(format string, args ...any) error {
	e := session.Fail(session.SessionTooLarge, op, format, args...)
	e.Hint = "have the provider put less into the access token, or keep it out of cookies of its own: tokens.delivery proxy or memory carry any size " +
		"with session.storage store, and a few kilobytes with sealed"
	return e
}

const op = "deliver token"

// Outbound puts the cookies of the current token in the place of what the browser sent: its copy may be of an older one.
func (c *Cookies) Outbound(out *http.Request, s *session.Session) error {
	c.jar.Strip(out.Header)
	delete(out.Header, "Authorization")
	if s == nil {
		return nil
	}
	riders, err := c.riders(s)
	if err != nil {
		return &session.Error{Code: session.ProviderRefused, Op: op, Err: err}
	}
	var pairs strings.Builder
	for i, r := range riders {
		if i > 0 {
			pairs.WriteString("; ")
		}
		pairs.WriteString(r.Name)
		pairs.WriteByte('=')
		pairs.WriteString(r.value)
	}
	cookie.Attach(out.Header, pairs.String())
	return nil
}

// Delivered compares what r brings with the current token, where r would bring it. Elsewhere nobody can tell: there a token counts
// as delivered some time after it was received, in which any answer brings it. Whoever misses it all the same asks POST refresh.
func (c *Cookies) Delivered(r *http.Request, s *session.Session) bool {
	if !c.jar.Reach(r) {
		return time.Since(s.Life.Renewed) >= session.Grace
	}
	if c.life(s) <= 0 {
		return true // the browser has dropped it by itself
	}
	riders, err := c.riders(s)
	if err == nil && brings(r, riders) {
		return true
	}
	if err == nil {
		_, err = c.fitting(s)
	}
	return err != nil && !c.bringsAny(r) // there is nothing to give, and nothing to take back
}

func brings(r *http.Request, riders []rider) bool {
	for _, one := range riders {
		if value, n := cookie.Get(r, one.Name); n != 1 || value != one.value {
			return false
		}
	}
	return true
}

func (c *Cookies) bringsAny(r *http.Request) bool {
	for _, t := range c.names() {
		if _, n := cookie.Get(r, t.Name); n > 0 {
			return true
		}
	}
	return false
}

// Deliver sets the cookies, for as long as the token lives and the session. A token that does not fit any more, after a renewal, is
// withdrawn: requests through the gateway go on, others get an answer that is clear.
func (c *Cookies) Deliver(w http.ResponseWriter, r *http.Request, s *session.Session) {
	if s == nil {
		c.withdraw(w)
		return
	}
	life := c.life(s)
	if life <= 0 {
		return
	}
	riders, err := c.fitting(s)
	if err != nil {
		c.log.WarnContext(r.Context(), "the access token is no longer delivered to the browser", telemetry.AttrSession, s.LogID,
			telemetry.AttrError, err.Error(), telemetry.AttrHint, session.HintOf(err))
		c.withdraw(w)
		return
	}
	for _, one := range riders {
		c.jar.SetToken(w, one.Token, one.value, life)
	}
}

func (c *Cookies) withdraw(w http.ResponseWriter) {
	for _, t := range c.names() {
		c.jar.ClearToken(w, t)
	}
}

// life is how long the cookies of s are good, in whole seconds.
func (c *Cookies) life(s *session.Session) time.Duration {
	end := c.lives.Ends(s)
	if expires := s.Grant.Tokens.Expires; !expires.IsZero() && expires.Before(end) {
		end = expires
	}
	return time.Until(end).Truncate(time.Second)
}
