package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// loginJSON signs somebody in for a front end with a form of its own. It is a login like others, in one request.
func (g *Gateway) loginJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
		Code       string `json:"code"`
		Remember   bool   `json:"remember"`
	}
	if err := readJSON(w, r, "sign in", &c); err != nil {
		return err
	}
	account, err := g.authenticate(r, c.Identifier, c.Password)
	if err != nil {
		return err
	}
	methods, err := g.secondStep(r, account, c.Code)
	if err != nil {
		return err
	}
	return g.welcome(w, r, account, c.Remember, methods...)
}

// registerJSON makes an account and signs in with it.
func (g *Gateway) registerJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
		Name       string `json:"name"`
		Remember   bool   `json:"remember"`
	}
	if err := readJSON(w, r, "register", &c); err != nil {
		return err
	}
	who := accounts.Registration{Identifier: c.Identifier, Password: c.Password, Name: c.Name}
	if g.Accounts.Verifies() {
		if err := g.Accounts.RegisterByMail(r.Context(), who, "", telemetry.Of(r).Address); err != nil {
			return err
		}
		return mailed(w, "")
	}
	account, err := g.enrol(r, who)
	if err != nil {
		return err
	}
	return g.welcome(w, r, account, c.Remember, accounts.ByPassword)
}

// changePassword ends all sessions of the person and begins a new one here: who knew the old password knows it no more.
func (g *Gateway) changePassword(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		proof
		New string `json:"new_password"`
	}
	if err := readJSON(w, r, "change password", &c); err != nil {
		return err
	}
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	if s, err = g.exchangePassword(w, r, s, account, c.proof, c.New); err != nil {
		return err
	}
	return g.welcomed(w, s, nil)
}

// exchangePassword gives the person who is signed in another password, or their first, and returns the session that goes on. What is wrong with the new one is
// said before anybody has to show who they are: a code works once.
func (g *Gateway) exchangePassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, p proof, next string) (*session.Session, error) {
	if err := g.Accounts.CheckPassword(account, next); err != nil {
		return nil, err
	}
	account, err := g.confirmed(r, s, account, p)
	if err != nil {
		return nil, err
	}
	methods := methodsOf(s)
	if p.Ceremony != "" {
		methods = confirmedBy(account, false)
	}
	if err := g.Accounts.SetPassword(r.Context(), account, next); err != nil {
		return nil, err
	}
	return g.anew(w, r, s, account, "password", methods...)
}

// endEverywhere ends all sessions of a person.
func (g *Gateway) endEverywhere(r *http.Request, s *session.Session, why string) error {
	// Not even a client that gives up may stop this half way.
	_, _, err := g.Desk.Revoke(context.WithoutCancel(r.Context()), session.Selector{Issuer: s.Grant.Issuer, Subject: s.Grant.Subject}, func(l session.Listed) {
		g.record(r, l.Event(audit.Ended, why))
	})
	return err
}

// beginJSON begins a login for a front end with a form of its own, which goes nowhere afterwards.
func (g *Gateway) beginJSON(r *http.Request, remember bool) (session.Pending, error) {
	_, pending, err := g.Accounts.Begin(r.Context(), session.Intent{ReturnTo: "/", Remember: remember})
	return pending, err
}

// reopen opens a session for somebody who has just proved who they are.
func (g *Gateway) reopen(w http.ResponseWriter, r *http.Request, account *accounts.Account, remember bool, methods ...string) (*session.Session, error) {
	intent := session.Intent{ReturnTo: "/", Remember: remember}
	if old, err := g.Desk.Look(r.Context(), r); err == nil {
		intent.Replaces = old.ID
	} else if session.CodeOf(err) == session.Unavailable {
		return nil, err
	}
	_, pending, err := g.Accounts.Begin(r.Context(), intent)
	if err != nil {
		return nil, err
	}
	grant, err := g.Accounts.Finish(r.Context(), pending, g.Accounts.Answer(pending, account, methods...))
	if err != nil {
		return nil, err
	}
	s, err := g.open(w, r, grant, pending)
	if err == nil {
		telemetry.Of(r).Session = s.LogID
	}
	return s, err
}

// welcome opens a session like reopen, and answers with what the page may know of it.
func (g *Gateway) welcome(w http.ResponseWriter, r *http.Request, account *accounts.Account, remember bool, methods ...string) error {
	s, err := g.reopen(w, r, account, remember, methods...)
	if err != nil {
		return err
	}
	return g.welcomed(w, s, nil)
}

// welcomed answers with what the page may know of a session that has just begun, and with recovery codes where there are new ones.
func (g *Gateway) welcomed(w http.ResponseWriter, s *session.Session, recovery []string) error {
	body := struct {
		view
		*handedOut
		Recovery []string `json:"recovery_codes,omitempty"`
	}{view: g.view(s), Recovery: recovery}
	if _, mediates := g.Delivery.(session.Mediator); mediates {
		out := g.handOut(s, s.Grant.Tokens)
		body.handedOut = &out
	}
	return writeJSON(w, body)
}

// mostCredentials bounds a body with credentials: a password of 1024 bytes may take six times as much in JSON.
const mostCredentials = 16 << 10

// readJSON reads an object of JSON into v, and nothing else: neither other fields, nor a content type that a plain form of any site can
// have.
func readJSON(w http.ResponseWriter, r *http.Request, op string, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		err := session.Fail(session.BadRequest, op, "the body is not application/json")
		err.Hint = "send it with Content-Type: application/json"
		return err
	}
	if r.URL.RawQuery != "" {
		return session.Fail(session.BadRequest, op, "a query: what is said belongs into the body")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, mostCredentials+1))
	switch {
	case err != nil:
		return session.Fail(session.BadRequest, op, "read the body: %w", err)
	case len(body) > mostCredentials:
		return session.Fail(session.TooLarge, op, "more than %d bytes", mostCredentials)
	case !utf8.Valid(body): // the decoder would put other characters in their place, and with them another password
		return session.Fail(session.BadRequest, op, "the body is not UTF-8")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the body is here; hashing may have to wait
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil || d.Decode(&struct{}{}) != io.EOF {
		err := session.Fail(session.BadRequest, op, "the body is not the JSON it should be") // what it is may be a password in a wrong place
		err.Hint = "one object of " + fieldsOf(v) + ", and nothing else: docs/endpoints.md"
		return err
	}
	return nil
}

// fieldsOf names what an object for v, a pointer to a struct, may have.
func fieldsOf(v any) string {
	names := []string{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no fields"
	}
	return strings.Join(names, ", ")
}
