package guard

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// The ways to prove that a request was meant, beside where it comes from. What Options.CSRF may say.
const (
	CSRFOrigin = "origin" // where it comes from is enough
	CSRFHeader = "header" // it carries TokenHeader, which no form and no simple request of another origin can
	CSRFToken  = "token"  // it carries the token of its session
)

// TokenHeader is the header of CSRF tokens, and TokenField their field in a form.
const (
	TokenHeader = "X-CSRF-Token"
	TokenField  = "_csrf"
)

const tokenHeaderKey = "X-Csrf-Token" // as net/http writes it

// tokens make and check CSRF tokens. A token is a MAC over person and session, with nothing to keep: any replica checks it, and any
// API that has the key. It stays the same for as long as the session. docs/api.md fixes the bytes.
type tokens struct {
	key  func() []byte // for the MACs; other services have it too
	sids func() []byte // names sessions: never leaves
	jwt  bool          // the access token says whom an API sees
}

func newTokens(ring *seal.Keyring) *tokens {
	return &tokens{key: ring.Lasting(csrfPurpose).Key, sids: ring.Lasting("csrf session").Key}
}

const csrfPurpose = "csrf"

// Key is the key of CSRF tokens, for APIs that check them: 32 bytes that come from the ring's index key, so that neither a new sealing
// key nor the retirement of an old one changes them.
func Key(ring *seal.Keyring) []byte { return ring.Lasting(csrfPurpose).Key() }

// keyPrefix makes such a key recognisable to people and to secret scanners.
const keyPrefix = "cloakroom-csrf-1-"

// FormatKey writes a key as operators carry it from the gateway to an API.
func FormatKey(key []byte) string { return keyPrefix + base64.RawURLEncoding.EncodeToString(key) }

// ParseKey reads what FormatKey wrote, also with the line end of a file. Its error does not show it.
func ParseKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	key, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) != 32 {
		return nil, errors.New("a CSRF key begins with " + keyPrefix + " and has 32 bytes; cloakroom keys csrf prints it")
	}
	return key, nil
}

// NameByToken has CSRF tokens name the person of the access token, where that is a JWT, and not who signed in: an API that gets
// it in a cookie knows nobody else. Call it before the guard is used.
func (g *Guard) NameByToken() {
	if g.tokens != nil {
		g.tokens.jwt = true
	}
}

// Token returns the token of a session for its page, "" if there is none to bring.
func (g *Guard) Token(s *session.Session) string {
	if g.tokens == nil {
		return ""
	}
	issuer, subject := g.tokens.person(s)
	return g.tokens.token(issuer, subject, g.tokens.sid(s))
}

// Companion is the value of the cookie that tells an API on another host which session a token must be of, "" if there is none.
func (g *Guard) Companion(s *session.Session) string {
	if g.tokens == nil {
		return ""
	}
	issuer, subject := g.tokens.person(s)
	return g.tokens.companion(issuer, subject, g.tokens.sid(s))
}

func (t *tokens) token(issuer, subject, sid string) string {
	return "1." + t.mac("token", issuer, subject, sid)
}

func (t *tokens) companion(issuer, subject, sid string) string {
	return "1." + sid + "." + t.mac("cookie", issuer, subject, sid)
}

// sid names a session and opens nothing: it is seen by every API of the site.
func (t *tokens) sid(s *session.Session) string {
	sum := seal.HMAC(t.sids(), s.ID[:])
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (t *tokens) mac(purpose, issuer, subject, sid string) string {
	sum := seal.HMAC(t.key(), []byte("cloakroom-csrf-1\n"+purpose+"\n"+encode(issuer)+"\n"+encode(subject)+"\n"+sid))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func (t *tokens) person(s *session.Session) (issuer, subject string) {
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	parts := strings.Split(s.Grant.Tokens.Access, ".")
	if t.jwt && len(parts) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(text, &claims) == nil && claims.Issuer != "" && claims.Subject != "" {
			return claims.Issuer, claims.Subject
		}
	}
	return s.Grant.Issuer, s.Grant.Subject
}

// checkHeader is for CSRFHeader. Every request carries the header, reads too (browser-based apps §6.1.3.3.2). What no script sends
// has no way to, and passes by another proof:
//
//   - a document navigation that reads, as the table has it: a link from anywhere may lead to a page;
//   - a WebSocket, by an Origin that is ours or listed. Browsers always send one, while Chromium sends no Sec-Fetch-Site there;
//   - EventSource, images, scripts, frames, downloads, if they read and the browser says that our own origin asks.
//
// A form that writes cannot send one either, and is refused: the draft has no exception for it, and where it came from would be all
// that is left. Whoever has such forms takes CSRFToken. So is a read of which the browser says nothing, as those from before 2023
// do: it could be anything.
func (g *Guard) checkHeader(r *http.Request) error {
	if values := r.Header[tokenHeaderKey]; len(values) > 0 && values[0] != "" {
		return nil
	}
	switch {
	case origin.IsUpgrade(r) && r.Method == http.MethodGet:
		if g.knows(first(r.Header["Origin"])) {
			return nil
		}
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
	case origin.IsDocument(r), first(r.Header["Sec-Fetch-Site"]) == "same-origin" && !byScript(r):
		return nil
	}
	return refuse("csrf is header: every request carries "+TokenHeader+"; the client does so by itself, forms that post need csrf: token", "%s without %s", r.Method, TokenHeader)
}

// byScript reports whether a read may be fetch's or XMLHttpRequest's, which can send headers. In the mode no-cors fetch can not;
// EventSource looks like fetch and says what it wants.
func byScript(r *http.Request) bool {
	switch first(r.Header["Sec-Fetch-Mode"]) {
	case "navigate", "no-cors": // frames and downloads; images, styles, scripts
		return false
	}
	dest := first(r.Header["Sec-Fetch-Dest"])
	return (dest == "" || dest == "empty") && first(r.Header["Accept"]) != "text/event-stream"
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// WantsToken reports whether r must bring the token of its session: CheckToken then decides. Reads need none, they change nothing.
// Nor does a WebSocket: a page can give it no header, a token in its URL would end up in logs, and the Origin that Check has seen
// is a browser's own word.
func (g *Guard) WantsToken(r *http.Request) bool {
	return g.tokens != nil && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}

// CheckToken decides whether r brings the token of s: in the header, or else in a form, whose body it leaves as it was. CrossSite: it
// does not.
func (g *Guard) CheckToken(r *http.Request, s *session.Session) error {
	return g.bringsToken(r, g.Token(s))
}

// CheckCompanion decides whether r brings the token of the session that companion is of, and whether that is a session of this person:
// of whom the access token beside it names. A pair of token and companion of one's own, planted in another's browser, agrees with
// itself and not with that. CrossSite: no.
func (g *Guard) CheckCompanion(r *http.Request, companion, issuer, subject string) error {
	const hint = "the gateway sets it with csrf: token; is the key the one that cloakroom keys csrf prints?"
	rest, _ := strings.CutPrefix(companion, "1.")
	sid, _, ok := strings.Cut(rest, ".")
	if !ok || !seal.Equal([]byte(companion), []byte(g.tokens.companion(issuer, subject, sid))) {
		return refuse(hint, "the CSRF cookie beside the access token is missing, or not of its iss and sub under our key")
	}
	return g.bringsToken(r, g.tokens.token(issuer, subject, sid))
}

func (g *Guard) bringsToken(r *http.Request, want string) error {
	const hint = "csrf is token: a page takes it from GET session and sends it as " + TokenHeader + ", a form as " + TokenField
	brought := r.Header[tokenHeaderKey]
	if len(brought) > 1 {
		return refuse(hint, "%s is there %d times", TokenHeader, len(brought))
	}
	token := first(brought)
	if len(brought) == 0 {
		var err error
		if token, err = FormToken(r); err != nil {
			return refuse(hint, "%s without %s: %w", r.Method, TokenHeader, err)
		}
	}
	if !seal.Equal([]byte(token), []byte(want)) {
		return refuse(hint, "the CSRF token is not that of this session")
	}
	return nil
}

// How much of a form is read to find the token in it. In an upload it is the first part.
const (
	maxForm  = 64 << 10
	maxPart  = 4 << 10
	maxToken = 256
)

var (
	errNoForm  = errors.New("the body is no form")
	errNoField = errors.New("no " + TokenField + " in the form, or not at its beginning")
)

// FormToken reads the token from a form. Whoever reads the body afterwards gets all of it.
func FormToken(r *http.Request) (string, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.Body == nil {
		return "", errNoForm
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		text, whole, err := peek(r, maxForm)
		if err != nil {
			return "", err
		}
		return fieldOf(string(text), whole)
	case "multipart/form-data":
		text, _, err := peek(r, maxPart)
		if err != nil {
			return "", err
		}
		return firstPart(text, params["boundary"])
	}
	return "", errNoForm
}

// peek reads up to n bytes of r's body and puts them back. whole: that was all of it.
func peek(r *http.Request, n int) (text []byte, whole bool, err error) {
	text, err = io.ReadAll(io.LimitReader(r.Body, int64(n)+1))
	if err != nil {
		return nil, false, err
	}
	r.Body = &putBack{Reader: io.MultiReader(bytes.NewReader(text), r.Body), Closer: r.Body}
	return text, len(text) <= n, nil
}

type putBack struct {
	io.Reader
	io.Closer
}

// fieldOf finds the one token in a form. The last pair of a form that was not read to its end may be cut off.
func fieldOf(text string, whole bool) (string, error) {
	found, token := 0, ""
	for text != "" {
		pair, rest, more := strings.Cut(text, "&")
		if !more && !whole {
			break
		}
		name, value, _ := strings.Cut(pair, "=")
		if name == TokenField {
			unescaped, err := url.QueryUnescape(value)
			if err != nil || len(unescaped) > maxToken {
				return "", errNoField
			}
			found, token = found+1, unescaped
		}
		text = rest
	}
	if found != 1 {
		return "", errNoField
	}
	return token, nil
}

func firstPart(text []byte, boundary string) (string, error) {
	if boundary == "" || len(boundary) > 70 { // RFC 2046 §5.1.1
		return "", errNoForm
	}
	part, err := multipart.NewReader(bytes.NewReader(text), boundary).NextRawPart()
	if err != nil || part.FormName() != TokenField || part.FileName() != "" {
		return "", errNoField
	}
	token, err := io.ReadAll(io.LimitReader(part, maxToken+1))
	if err != nil || len(token) > maxToken {
		return "", errNoField
	}
	return string(token), nil
}
