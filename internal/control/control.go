// Package control is for those who run the gateway: they see who is signed in, and end sessions, those of closed accounts at once. Handler is
// the gateway's side, behind a unix socket that Listen makes; Client is the program's.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
)

// Session is a session as it is listed: one line of JSON each. One whose key was retired says only when it would have ended.
type Session struct {
	ID       string    `json:"id"` // what the logs call it
	User     string    `json:"user,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	Provider string    `json:"provider,omitempty"`
	SID      string    `json:"sid,omitempty"` // what the provider calls it
	Created  time.Time `json:"created,omitzero"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	Expires  time.Time `json:"expires"`
	Browser  string    `json:"browser,omitempty"`
	System   string    `json:"system,omitempty"`
}

// Ended says what a revocation came to.
type Ended struct {
	Sessions int  `json:"sessions"` // how many were ended
	Counted  bool `json:"counted"`  // false: nobody knows how many there were
}

// Failure is what went wrong, for the one who asked: unlike a browser, they run the gateway.
type Failure struct {
	Code  session.Code `json:"code"`
	Error string       `json:"error"`
	Hint  string       `json:"hint,omitempty"`
}

// line is one line of a list: a session, or what ended the list before its end.
type line struct {
	*Session
	Failure *Failure `json:"failure,omitempty"`
}

// Handler serves lists and revocations. It asks nobody who they are.
type Handler struct {
	desk    *session.Desk
	issuers []string
	audit   audit.Sink
	mux     *http.ServeMux

	endClosed func(context.Context) error // nil: there are no accounts
}

// NewHandler returns a handler over a desk. A person is looked for at each of the issuers. endClosed ends the sessions of everybody whose
// account is closed by now; nil: there are no accounts.
func NewHandler(desk *session.Desk, issuers []string, sink audit.Sink, endClosed func(context.Context) error) *Handler {
	h := &Handler{desk: desk, issuers: issuers, audit: sink, mux: http.NewServeMux(), endClosed: endClosed}
	h.mux.HandleFunc("GET /sessions", h.list)
	h.mux.HandleFunc("DELETE /sessions", h.revoke)
	h.mux.HandleFunc("DELETE "+closedPath, h.revokeClosed)
	return h
}

// closedPath are the sessions of people whose accounts are closed.
const closedPath = "/sessions/closed"

// ServeHTTP serves `GET /sessions?user=&issuer=`, DELETE of `/sessions?user=&issuer=`, `/sessions?id=` and `/sessions?all=1`, and DELETE of
// `/sessions/closed`.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	h.mux.ServeHTTP(w, r)
}

// asked reads what a request wants. A parameter that is unknown, unreadable or there twice is refused: without it the request would mean
// more than was said.
func asked(r *http.Request, names ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, session.Fail(session.BadRequest, "", "the query is not readable")
	}
	for name, values := range query {
		if !slices.Contains(names, name) || len(values) > 1 {
			return nil, session.Fail(session.BadRequest, "", "%q is no parameter of this, or is there %d times", name, len(values))
		}
	}
	return query, nil
}

// list writes a line for each session as it is found, so that it needs no more memory for a million than for one.
func (h *Handler) list(w http.ResponseWriter, r *http.Request) {
	query, err := asked(r, "user", "issuer")
	if err != nil {
		fail(w, err)
		return
	}
	began := false
	lines := json.NewEncoder(w)
	for l, err := range h.wanted(r.Context(), query) {
		switch {
		case err != nil && !began:
			fail(w, err)
			return
		case err != nil:
			_ = lines.Encode(line{Failure: failureOf(err)})
			return
		}
		if !began {
			w.Header().Set("Content-Type", "application/x-ndjson")
			began = true
		}
		if lines.Encode(line{Session: &Session{
			ID: l.LogID, User: l.Subject, Issuer: l.Issuer, Provider: l.Provider, SID: l.SID, Created: l.Created.UTC(), LastSeen: l.Seen.UTC(),
			Expires: l.Expires, Browser: l.Device.Browser, System: l.Device.System,
		}}) != nil {
			return // nobody reads any more
		}
	}
}

// wanted are the sessions that a query is about: all, or those of a person at one or all of the providers.
func (h *Handler) wanted(ctx context.Context, query url.Values) iter.Seq2[session.Listed, error] {
	user := query.Get("user")
	if user == "" {
		return h.desk.All(ctx)
	}
	return func(yield func(session.Listed, error) bool) {
		for _, issuer := range h.at(query) {
			for l, err := range h.desk.List(ctx, session.Selector{Issuer: issuer, Subject: user}) {
				if !yield(l, err) || err != nil {
					return
				}
			}
		}
	}
}

// at are the issuers at which a person is looked for.
func (h *Handler) at(query url.Values) []string {
	if one := query.Get("issuer"); one != "" {
		return []string{one}
	}
	return h.issuers
}

// reason is what the audit log says of a session that ended here.
const reason = "by an administrator"

func (h *Handler) told(ctx context.Context) func(session.Listed) {
	return func(l session.Listed) { h.audit.Record(ctx, l.Event(audit.Ended, reason)) }
}

// revoke ends all sessions of a person, one by its id, or all there are: which, must be said.
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request) {
	query, err := asked(r, "user", "issuer", "id", "all")
	user, id, all := query.Get("user"), query.Get("id"), query.Get("all") == "1"
	switch {
	case err != nil:
		fail(w, err)
	case user != "" && id == "" && !all:
		ended, err := h.revokeUser(r.Context(), user, h.at(query))
		answer(w, ended, err)
	case id != "" && user == "" && !all:
		n, _, err := h.desk.Revoke(r.Context(), session.Selector{LogID: id}, h.told(r.Context()))
		if err == nil && n == 0 {
			err = session.Fail(session.NotFound, "", "no session has the id %q", id)
		}
		answer(w, Ended{n, true}, err)
	case all && user == "" && id == "":
		n, err := h.desk.RevokeAll(r.Context(), h.told(r.Context()))
		answer(w, Ended{n, true}, err)
	default:
		fail(w, session.Fail(session.BadRequest, "", "say what is to end: user=SUBJECT, id=ID or all=1"))
	}
}

func (h *Handler) revokeUser(ctx context.Context, user string, issuers []string) (sum Ended, err error) {
	sum.Counted = true
	for _, issuer := range issuers {
		n, listed, err := h.desk.Revoke(ctx, session.Selector{Issuer: issuer, Subject: user}, h.told(ctx))
		switch {
		case err != nil:
			return sum, err
		case !listed && !slices.Contains(h.issuers, issuer): // where they cannot be counted, a slip of the pen would look like success
			return sum, &session.Error{
				Code: session.NotFound, Err: fmt.Errorf("no provider has the issuer %q", issuer),
				Hint: "write it as the configuration has it: " + strings.Join(h.issuers, ", "),
			}
		}
		sum.Sessions, sum.Counted = sum.Sessions+n, listed
		if !listed {
			h.audit.Record(ctx, audit.Event{Time: time.Now(), Action: audit.Ended, Issuer: issuer, Subject: user, Reason: reason + ", all of the person's"})
		}
	}
	return sum, nil
}

// revokeClosed ends the sessions of everybody whose account is closed. Nobody is told how many they were: they may have ended by themselves.
func (h *Handler) revokeClosed(w http.ResponseWriter, r *http.Request) {
	_, err := asked(r)
	if err == nil && h.endClosed == nil {
		err = session.Fail(session.NotFound, "", "this gateway has no accounts of its own")
	}
	if err == nil {
		err = h.endClosed(r.Context())
	}
	answer(w, Ended{}, err)
}

// answer says what was ended. Of what was ended before a failure the audit log has a record.
func answer(w http.ResponseWriter, ended Ended, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ended)
}

func failureOf(err error) *Failure {
	return &Failure{Code: session.CodeOf(err), Error: err.Error(), Hint: session.HintOf(err)}
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch session.CodeOf(err) {
	case session.BadRequest:
		status = http.StatusBadRequest
	case session.NotFound, session.Unlisted:
		status = http.StatusNotFound
	case session.Unavailable, session.ProviderDown:
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failureOf(err))
}

// errorOf is what a Failure was on the other side.
func (f *Failure) errorOf() error {
	return &session.Error{Code: f.Code, Err: errors.New(f.Error), Hint: f.Hint}
}
