// Package issuer knows what an issuer of tokens publishes, and whether an access token is one of its: calls with limits, its metadata
// and keys, signatures, claims. It trusts what an issuer says only after checking it, and tells one that is down from one that
// refuses and from one that lies.
package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Limits of a call.
const (
	CallLimit = 10 * time.Second // for one call, from dialling to the last byte
	BodyLimit = 1 << 20          // bytes of one answer, after decompression
)

// idleLimit is how long a connection may wait for the next call. Servers close theirs after 5 s and more; a call that is on its way then
// is lost, and cannot be sent again: the refresh token in it may be spent.
const idleLimit = 2 * time.Second

// Calls makes every call to an issuer, so that its rules stand in one place: TLS 1.2 or newer with verified
// certificates, no redirect followed, CallLimit, BodyLimit, no cookies.
type Calls struct{ client *http.Client }

// NewCalls takes transport and (shorter) timeout from c, which may be nil, and nothing else.
func NewCalls(c *http.Client) Calls {
	hard := &http.Client{
		Timeout:       CallLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	base := http.DefaultTransport
	if c != nil {
		if c.Transport != nil {
			base = c.Transport
		}
		if c.Timeout > 0 {
			hard.Timeout = min(c.Timeout, CallLimit)
		}
	}
	if t, ok := base.(*http.Transport); ok {
		base = harden(t.Clone())
	}
	hard.Transport = base
	return Calls{client: hard}
}

func harden(t *http.Transport) *http.Transport {
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.TLSClientConfig.InsecureSkipVerify = false
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxConnsPerHost = 64
	if t.IdleConnTimeout == 0 || t.IdleConnTimeout > idleLimit {
		t.IdleConnTimeout = idleLimit
	}
	return t
}

// Reply is a successful answer.
type Reply struct {
	MediaType string // without parameters, lower case
	Header    http.Header
	Body      []byte
}

// Do makes one call. Its error tells who is to blame: ProviderDown for the network, the clock, 408, 429 and 5xx;
// ProviderRefused, wrapping a *Refusal, for other 4xx; ProviderLied for anything that is no honest answer.
func (c Calls) Do(ctx context.Context, op string, r *http.Request) (Reply, error) {
	res, err := c.client.Do(r.WithContext(ctx))
	if err != nil {
		return Reply{}, down(op, r.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, BodyLimit+1))
	switch {
	case err != nil:
		return Reply{}, down(op, r.URL, err)
	case len(body) > BodyLimit:
		return Reply{}, session.Fail(session.ProviderLied, op, "%s answered more than %d bytes", place(r.URL), BodyLimit)
	}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
		return Reply{mediaType, res.Header, body}, nil
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Reply{}, &session.Error{Code: session.ProviderLied, Op: op,
			Err:  errors.New(place(r.URL) + " answered with a redirect, and redirects are not followed"),
			Hint: "set issuer to the provider's final address, as its metadata spell it"}
	case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
		return Reply{}, session.Fail(session.ProviderDown, op, "%s answered %s", place(r.URL), status(res.StatusCode))
	}
	refusal := ParseRefusal(body)
	refusal.Status = res.StatusCode
	return Reply{}, &session.Error{Code: session.ProviderRefused, Op: op, Err: refusal, Hint: refusal.Hint()}
}

// Get fetches a JSON document into v.
func (c Calls) Get(ctx context.Context, op, address string, v any) (Reply, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return Reply{}, session.Fail(session.Internal, op, "make request: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := c.Do(ctx, op, r)
	if err != nil {
		return Reply{}, err
	}
	if err := json.Unmarshal(res.Body, v); err != nil {
		return Reply{}, session.Fail(session.ProviderLied, op, "%s is not the JSON it should be: %w", place(r.URL), err)
	}
	return res, nil
}

// Client is who calls an endpoint that wants to know (RFC 6749 §2.3.1).
type Client struct{ ID, Secret, Method string }

// The ways to authenticate.
const (
	SecretBasic = "client_secret_basic"
	SecretPost  = "client_secret_post"
)

// AuthMethod is the configured one, else client_secret_basic, which every provider must know (RFC 6749 §2.3.1), unless its
// metadata say that it knows only client_secret_post.
func AuthMethod(configured string, supported []string) string {
	switch {
	case configured != "":
		return configured
	case !slices.Contains(supported, SecretBasic) && slices.Contains(supported, SecretPost):
		return SecretPost
	}
	return SecretBasic
}

// Post sends a form to an endpoint, with client authentication. An error holds nothing of what was sent.
func (c Calls) Post(ctx context.Context, op, endpoint string, client Client, form url.Values) (Reply, error) {
	if client.Method == SecretPost {
		form.Set("client_id", client.ID)
		form.Set("client_secret", client.Secret)
	}
	r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return Reply{}, session.Fail(session.Internal, op, "make request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if client.Method != SecretPost { // both parts are form-encoded first, so that a colon or a space in them survives
		r.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret))
	}
	res, err := c.Do(ctx, op, r)
	if refusal := RefusalOf(err); refusal != nil {
		refusal.Without(form)
		refusal.Without(url.Values{"client_secret": {client.Secret}})
	}
	return res, err
}

// down explains why a provider could not be reached. The URL of net/http's own error is left out: only its place is told.
func down(op string, where *url.URL, err error) *session.Error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	e := session.Fail(session.ProviderDown, op, "%s: %w", place(where), err)
	var (
		unknownCA *tls.CertificateVerificationError
		dns       *net.DNSError
		hostname  x509.HostnameError
	)
	switch {
	case errors.As(err, &hostname):
		e.Hint = "the provider's certificate is for another name"
	case errors.As(err, &unknownCA):
		e.Hint = "the provider's certificate is not trusted here: add its CA to the system's, or name it with SSL_CERT_FILE"
	case errors.As(err, &dns):
		e.Hint = "the provider's name does not resolve here"
	}
	return e
}

// place is a URL without what may be secret.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// Refusal is an OAuth error: of the authorization response (RFC 6749 §4.1.2.1) or of an endpoint (§5.2). It holds only
// printable ASCII, of bounded length.
type Refusal struct {
	Status      int    // HTTP status; 0 in an authorization response
	Code        string // "access_denied", "login_required", "invalid_grant" …; "" when the answer had none
	Description string // for the log only
}

func (r *Refusal) Error() string {
	text := "the provider answered"
	if r.Status != 0 {
		text += " " + status(r.Status)
	}
	if r.Code != "" {
		text += " " + r.Code
	}
	if r.Description != "" {
		text += " (" + r.Description + ")"
	}
	return text
}

// hints say what an operator can do about an OAuth error.
var hints = map[string]string{
	"invalid_client":      "client_id, client_secret or auth_method is not what the provider has registered",
	"unauthorized_client": "allow this client the authorization code and refresh token grants at the provider",
	"invalid_scope":       "the provider does not grant one of scopes to this client",
	"invalid_target":      "the provider does not know audience or resource",
	"invalid_request":     "is the callback URL registered at the provider exactly as it is here?",
}

// Hint says what an operator can do about it, or "".
func (r *Refusal) Hint() string { return hints[r.Code] }

// RefusalOf returns the refusal in err's chain, or nil.
func RefusalOf(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// NewRefusal makes foreign text fit for a log.
func NewRefusal(code, description string) *Refusal {
	text := secretLike.ReplaceAllString(Printable(description, 4096), "[...]")
	return &Refusal{Code: Printable(code, 64), Description: text[:min(len(text), 300)]}
}

// ParseRefusal reads the body of a refusal (RFC 6749 §5.2).
func ParseRefusal(body []byte) *Refusal {
	var e struct {
		Error       any `json:"error"` // some send an object
		Description any `json:"error_description"`
	}
	_ = json.Unmarshal(body, &e) // no JSON: a refusal without a code
	code, _ := e.Error.(string)
	description, _ := e.Description.(string)
	return NewRefusal(code, description)
}

// secretLike is what no log should hold, whoever sent it: longer than any word or trace id.
var secretLike = regexp.MustCompile(`[A-Za-z0-9_.~+/=-]{41,}`)

// Printable makes foreign text safe for a log: printable ASCII, at most limit bytes.
func Printable(text string, limit int) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text[:min(len(text), limit)])
}

// Without removes every value of sent from the description: a provider may repeat what it was sent.
func (r *Refusal) Without(sent url.Values) {
	for _, values := range sent {
		for _, v := range values {
			if len(v) >= 8 {
				r.Description = strings.ReplaceAll(r.Description, v, "[...]")
			}
		}
	}
}
