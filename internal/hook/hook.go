// Package hook asks a program of somebody else's who people are: a user table behind one address, for those who run the gateway as a
// program. Questions are signed as Standard Webhooks 1.0.0 are, so that libraries for them verify it.
package hook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Options are what the hook obeys. URL and Secret are needed.
type Options struct {
	URL     string        // https, or http on this machine
	Secret  string        // what questions are signed with: "whsec_" and base64 of 24 to 64 bytes
	Timeout time.Duration // for one question; default 5 s, at most 10
}

// Hook is accounts.Users behind an address. It is safe for concurrent use.
type Hook struct {
	url     string
	secret  []byte
	calls   issuer.Calls
	mu      sync.Mutex
	probed  time.Time // when it was asked last whether it is there
	verdict error
}

var (
	_ accounts.Users = (*Hook)(nil)
	_ session.Prober = (*Hook)(nil)
)

// New checks the options, and contacts nobody.
func New(o Options) (*Hook, error) {
	if _, err := issuer.Secure(o.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	key, err := secretOf(o.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	return &Hook{url: o.URL, secret: key, calls: issuer.NewCalls(&http.Client{Timeout: o.Timeout})}, nil
}

// The form of secrets, in which the libraries take them (Standard Webhooks, "Signature scheme").
const (
	secretPrefix = "whsec_"
	leastSecret  = 24 // bytes
	mostSecret   = 64
)

// NewSecret makes a secret.
func NewSecret() string { return secretPrefix + base64.StdEncoding.EncodeToString(seal.Random(32)) }

// secretOf returns the bytes of a secret. Another form would be other bytes to some libraries than to others.
func secretOf(text string) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || strings.ContainsAny(rest, "\r\n") || len(key) < leastSecret || len(key) > mostSecret {
		return nil, fmt.Errorf("it is whsec_ and base64 of %d to %d random bytes, like those of: cloakroom keys new --hook", leastSecret, mostSecret)
	}
	return key, nil
}

// CheckSecret says why text cannot be a secret.
func CheckSecret(text string) error {
	_, err := secretOf(text)
	return err
}

// question is the body of a request.
type question struct {
	Type       string `json:"type"` // sign_in or find
	Identifier string `json:"identifier,omitempty"`
	Password   string `json:"password,omitempty"`
	Subject    string `json:"sub,omitempty"`
}

// SignIn asks who an identifier and a password belong to.
func (h *Hook) SignIn(ctx context.Context, identifier, password string) (*accounts.User, error) {
	return h.ask(ctx, question{Type: "sign_in", Identifier: identifier, Password: password})
}

// Find asks for somebody as they are now. What is no answer says nothing of them, be it a page of somebody's on the way: that is
// ProviderDown, which ends nobody's session.
func (h *Hook) Find(ctx context.Context, subject string) (*accounts.User, error) {
	u, err := h.ask(ctx, question{Type: "find", Subject: subject})
	if session.CodeOf(err) == session.ProviderLied {
		err = &session.Error{Code: session.ProviderDown, Op: op, Err: err, Hint: session.HintOf(err)}
	}
	return u, err
}

// probeEvery is how often the hook is asked at most whether it is there.
const probeEvery = 5 * time.Second

// Probe asks for nobody.
func (h *Hook) Probe(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.probed) >= probeEvery {
		_, h.verdict = h.ask(ctx, question{Type: "find", Subject: "-"})
		h.probed = time.Now()
	}
	return h.verdict
}

const (
	op         = "ask the hook"
	mostAnswer = 64 << 10 // bytes
)

// ask sends a question. Its error tells who is to blame, and holds nothing of question and answer: there may be a password in either.
func (h *Hook) ask(ctx context.Context, q question) (*accounts.User, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, session.Fail(session.Internal, op, "a question that is no JSON")
	}
	r, err := http.NewRequest(http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, session.Fail(session.Internal, op, "a request cannot be made")
	}
	h.sign(r.Header, "msg_"+seal.RandomText(16), time.Now(), body)
	res, err := h.calls.Do(ctx, op, r)
	if refusal := issuer.RefusalOf(err); refusal != nil {
		return nil, &session.Error{
			Code: session.ProviderRefused, Op: op, Err: fmt.Errorf("it answered %d", refusal.Status),
			Hint: `it answers 200 with {"user": …}, and {"user": null} for nobody; look whether accounts.hook.secret is the one that it knows`,
		}
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		User *json.RawMessage `json:"user"`
	}
	var u *accounts.User
	if err = errAnswer; res.MediaType == "application/json" && len(res.Body) <= mostAnswer && bytes.Contains(res.Body, []byte(`"user"`)) {
		if err = json.Unmarshal(res.Body, &answer); err == nil && answer.User != nil {
			err = json.Unmarshal(*answer.User, &u)
		}
	}
	if err != nil {
		return nil, &session.Error{
			Code: session.ProviderLied, Op: op, Err: errAnswer,
			Hint: `it answers application/json, {"user": {"sub": "…"}}, and {"user": null} for nobody`,
		}
	}
	return u, nil
}

var errAnswer = errors.New("its answer is not the JSON it should be")

// sign adds the headers of Standard Webhooks: a name of the question, without dots, when it was asked, and an HMAC-SHA256 over both and the body.
func (h *Hook) sign(header http.Header, id string, now time.Time, body []byte) {
	at := strconv.FormatInt(now.Unix(), 10)
	sum := seal.HMAC(h.secret, []byte(id+"."+at+"."+string(body)))
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json")
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", at)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(sum[:]))
}
