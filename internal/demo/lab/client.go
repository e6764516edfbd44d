package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask puts a request to a handler of this process, as one from this machine.
func ask(h http.Handler, q *http.Request) reply {
	q.RemoteAddr = "127.0.0.1:9"
	q.RequestURI = q.URL.RequestURI()
	q.URL = &url.URL{Path: q.URL.Path, RawPath: q.URL.RawPath, RawQuery: q.URL.RawQuery} // as a server reads it
	if q.Body == nil {
		q.Body = http.NoBody
	}
	w := &writer{reply: reply{header: make(http.Header)}}
	h.ServeHTTP(w, q)
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.header = w.sent
	return w.reply
}

// writer is a ResponseWriter that keeps the answer.
type writer struct {
	reply
	sent http.Header
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if len(w.body)+len(b) > 1<<20 {
		return 0, errors.New("the answer is too long")
	}
	w.body = append(w.body, b...)
	return len(b), nil
}

// device is a browser without a screen: a thief's, or another one of the person's own. It reaches the app in this process.
type device struct {
	http.Client
	lab *Lab
}

// newDevice returns one that uses app, which is a gateway or the baseline, at origin.
func (l *Lab) newDevice(origin *url.URL, app http.Handler) *device {
	jar := must(cookiejar.New(nil))
	d := &device{lab: l, Client: http.Client{Jar: jar, Timeout: 20 * time.Second}}
	d.Transport = roundTrip(func(q *http.Request) (*http.Response, error) {
		if q.URL.Host != origin.Host {
			return l.Client.Transport.RoundTrip(q)
		}
		q = q.Clone(q.Context())
		q.Host = origin.Host
		got := ask(app, q)
		return &http.Response{
			StatusCode: got.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: got.header, Request: q,
			Body: io.NopCloser(bytes.NewReader(got.body)), ContentLength: int64(len(got.body)),
		}, nil
	})
	return d
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// send sends a request and reads the answer. headers are names and values in turn.
func (d *device) send(ctx context.Context, method, address string, form url.Values, headers ...string) (reply, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	q, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return reply{}, err
	}
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	res, err := d.Do(q)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return reply{res.StatusCode, res.Header, text}, err
}

// replay sends a request to the app with the cookies that were copied from the browser, from elsewhere.
func (v *visit) replay(ctx context.Context, method, path string, form url.Values, headers ...string) (reply, error) {
	return v.replayed(ctx, v.cookies, method, path, form, headers...)
}

func (v *visit) replayed(ctx context.Context, cookies, method, path string, form url.Values, headers ...string) (reply, error) {
	d := v.newDevice(v.origin(), v.served())
	d.Jar = nil
	headers = append([]string{"Cookie", cookies}, headers...)
	return d.as(ctx, method, v.origin(), path, form, headers...)
}

// as sends a request as a page of the app does: a write with the token that its session is told, where the gateway wants one.
func (d *device) as(ctx context.Context, method string, app *url.URL, path string, form url.Values, headers ...string) (reply, error) {
	headers = append([]string{"Origin", app.String(), "Sec-Fetch-Site", "same-origin", "X-CSRF-Token", "1"}, headers...)
	if method != http.MethodGet {
		var s struct {
			Token string `json:"csrf_token"`
		}
		got, err := d.send(ctx, http.MethodGet, app.String()+"/auth/session", nil, headers...)
		if err != nil {
			return reply{}, err
		}
		if json.Unmarshal(got.body, &s) == nil && s.Token != "" {
			headers = append(headers, "X-CSRF-Token", s.Token)
		}
	}
	return d.send(ctx, method, app.String()+path, form, headers...)
}

// mint returns a good access token of somebody, which came by no gateway.
func (l *Lab) mint(username string) (string, error) {
	t, err := l.Mint(username)
	return t.Access, err
}

// person is what the API says of a caller.
type person struct {
	Subject string `json:"sub"`
	Email   string `json:"email"`
	Role    string `json:"role"`
}

// opens asks the API, from outside the gateway, whom a token opens it for. It is nobody for a token that is no good.
func (l *Lab) opens(ctx context.Context, token string) (person, bool) {
	var p person
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api/api/me", nil)
	if err != nil || strings.ContainsAny(token, "\r\n") {
		return p, false
	}
	q.Header.Set("Authorization", "Bearer "+token)
	got := ask(l.API, q)
	return p, got.status == http.StatusOK && json.Unmarshal(got.body, &p) == nil
}

// known asks the API what it has of somebody.
func (l *Lab) known(ctx context.Context, username string) (person, error) {
	token, err := l.mint(username)
	if err != nil {
		return person{}, err
	}
	p, ok := l.opens(ctx, token)
	if !ok {
		return p, errors.New("the API does not answer")
	}
	return p, nil
}

// marker is an e-mail address that nobody has had before.
func marker() string {
	return strings.ToLower(rand.Text()[:10]) + "@attacker.example"
}

// changed reports whether the victim's e-mail address has become the marker.
func (v *visit) changed(ctx context.Context, marker string) (bool, error) {
	p, err := v.known(ctx, victim)
	return p.Email == marker, err
}

// claimsOf are the claims of a JWT, or of the first two parts of one.
func claimsOf(token string) (map[string]any, bool) {
	parts := strings.Split(token, ".")
	if len(parts) < 2 {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	return claims, err == nil && json.Unmarshal(raw, &claims) == nil
}
