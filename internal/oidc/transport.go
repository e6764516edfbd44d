package oidc

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
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	callLimit = 10 * time.Second // for one call, from dialling to the last byte
	bodyLimit = 1 << 20          // bytes of one answer, after decompression
)

// caller makes every call to the provider, so that its rules stand in one place: TLS 1.2 or newer with verified
// certificates, no redirect followed, callLimit, bodyLimit, no cookies.
type caller struct{ client *http.Client }

// newCaller takes transport and (shorter) timeout from c, which may be nil, and nothing else.
func newCaller(c *http.Client) caller {
	hard := &http.Client{
		Timeout:       callLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	base := http.DefaultTransport
	if c != nil {
		if c.Transport != nil {
			base = c.Transport
		}
		if c.Timeout > 0 {
			hard.Timeout = min(c.Timeout, callLimit)
		}
	}
	if t, ok := base.(*http.Transport); ok {
		base = harden(t.Clone())
	}
	hard.Transport = base
	return caller{hard}
}

func harden(t *http.Transport) *http.Transport {
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.TLSClientConfig.InsecureSkipVerify = false
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxConnsPerHost = 64
	return t
}

// reply is a successful answer.
type reply struct {
	mediaType string // without parameters, lower case
	header    http.Header
	body      []byte
}

// do makes one call. Its error tells who is to blame: ProviderDown for the network, the clock, 408, 429 and 5xx;
// ProviderRefused, wrapping a *Refusal, for other 4xx; ProviderLied for anything that is no honest answer.
func (c caller) do(ctx context.Context, op string, r *http.Request) (reply, error) {
	res, err := c.client.Do(r.WithContext(ctx))
	if err != nil {
		return reply{}, down(op, r.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit+1))
	switch {
	case err != nil:
		return reply{}, down(op, r.URL, err)
	case len(body) > bodyLimit:
		return reply{}, session.Fail(session.ProviderLied, op, "%s answered more than %d bytes", place(r.URL), bodyLimit)
	}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
		return reply{mediaType, res.Header, body}, nil
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return reply{}, &session.Error{Code: session.ProviderLied, Op: op,
			Err:  errors.New(place(r.URL) + " answered with a redirect, and redirects are not followed"),
			Hint: "set issuer to the provider's final address, as its metadata spell it"}
	case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
		return reply{}, session.Fail(session.ProviderDown, op, "%s answered %s", place(r.URL), status(res.StatusCode))
	}
	refusal := parseRefusal(body)
	refusal.Status = res.StatusCode
	return reply{}, &session.Error{Code: session.ProviderRefused, Op: op, Err: refusal, Hint: hints[refusal.Code]}
}

// get fetches a JSON document into v.
func (c caller) get(ctx context.Context, op, address string, v any) (reply, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return reply{}, session.Fail(session.Internal, op, "make request: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := c.do(ctx, op, r)
	if err != nil {
		return reply{}, err
	}
	if err := json.Unmarshal(res.body, v); err != nil {
		return reply{}, session.Fail(session.ProviderLied, op, "%s is not the JSON it should be: %w", place(r.URL), err)
	}
	return res, nil
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

func newRefusal(code, description string) *Refusal {
	text := secretLike.ReplaceAllString(printable(description, 4096), "[...]")
	return &Refusal{Code: printable(code, 64), Description: text[:min(len(text), 300)]}
}

func parseRefusal(body []byte) *Refusal {
	var e struct {
		Error       any `json:"error"` // some send an object
		Description any `json:"error_description"`
	}
	_ = json.Unmarshal(body, &e) // no JSON: a refusal without a code
	code, _ := e.Error.(string)
	description, _ := e.Description.(string)
	return newRefusal(code, description)
}

// secretLike is what no log should hold, whoever sent it: longer than any word or trace id.
var secretLike = regexp.MustCompile(`[A-Za-z0-9_.~+/=-]{41,}`)

// printable makes foreign text safe for a log: printable ASCII, at most limit bytes.
func printable(text string, limit int) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text[:min(len(text), limit)])
}

// without removes every value of sent from the description: a provider may repeat what it was sent.
func (r *Refusal) without(sent url.Values) {
	for _, values := range sent {
		for _, v := range values {
			if len(v) >= 8 {
				r.Description = strings.ReplaceAll(r.Description, v, "[...]")
			}
		}
	}
}
