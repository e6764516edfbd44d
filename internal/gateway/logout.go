package gateway

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	nextLifetime = 2 * time.Minute
	// longURL is from where on a logout goes to the provider as a form: some servers refuse longer URLs.
	longURL = 2000
)

// logout ends the session here first. What a provider does or fails to do cannot keep anybody signed in.
func (g *Gateway) logout(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	s, err := g.Desk.Look(r.Context(), r)
	if code := session.CodeOf(err); code == session.Unavailable || code == session.BadRequest {
		return err
	}
	state := g.logoutState(query.Get("return_to"))
	var next *url.URL
	if s != nil {
		if err := g.end(r, s, query.Get("everywhere") == "1"); err != nil {
			return err
		}
		g.Desk.Discard(s, "signed out")
		next = g.providerEnd(r, s, state)
	}
	g.forget(w, r)
	if next == nil {
		next = g.own("signed-out")
		next.RawQuery = url.Values{"state": {state}}.Encode()
	}
	if origin.IsNavigation(r) {
		g.follow(w, r, next)
		return nil
	}
	// Script gets a URL of ours: the provider's holds the ID token, which is none of its business.
	if next.Host != "" && next.Scheme+"://"+next.Host == g.Own.String() {
		return writeJSON(w, map[string]string{"logout_url": next.RequestURI()})
	}
	id := seal.RandomText(24)
	if err := g.Notes.Put(r.Context(), "logout", id, []byte(next.String()), nextLifetime); err != nil {
		return err
	}
	// Sealed, so that ids that somebody made up never reach the store.
	return writeJSON(w, map[string]string{"logout_url": g.options.Prefix + "logout/next?id=" + sealText(g.nexts, id)})
}

// forget has the browser forget what it has of a session that is over.
func (g *Gateway) forget(w http.ResponseWriter, r *http.Request) {
	g.Desk.Write(w, r, nil)
	if len(g.options.ClearSite) > 0 {
		w.Header().Set("Clear-Site-Data", `"`+strings.Join(g.options.ClearSite, `", "`)+`"`)
	}
}

// end ends a session, or all of the person's.
func (g *Gateway) end(r *http.Request, s *session.Session, everywhere bool) error {
	// Not even a client that gives up may stop this half way.
	ctx := context.WithoutCancel(r.Context())
	if _, err := g.Storage.End(ctx, session.Selector{ID: s.ID}); err != nil {
		return err
	}
	if !everywhere {
		g.record(r, s.Event(audit.Logout, ""))
		return nil
	}
	g.record(r, s.Event(audit.Logout, "everywhere"))
	if g.Accounts != nil && s.Grant.Provider == accounts.Name {
		// Also what cannot be found here is over then, at its next renewal.
		if err := g.Accounts.SignOut(ctx, s.Grant.Subject); err != nil && session.CodeOf(err) != session.None {
			return err
		}
	}
	_, _, err := g.Desk.Revoke(ctx, session.Selector{Issuer: s.Grant.Issuer, Subject: s.Grant.Subject}, func(l session.Listed) {
		g.record(r, l.Event(audit.Ended, "signed out everywhere"))
	})
	return err
}

// providerEnd is where the provider ends its own session, or nil.
func (g *Gateway) providerEnd(r *http.Request, s *session.Session, state string) *url.URL {
	provider, err := g.providerOf(s.Grant.Provider)
	if err != nil {
		return nil // it left the configuration while the session lived
	}
	next, err := provider.End(r.Context(), s.Grant, g.own("signed-out"), state)
	if err != nil {
		g.Answers.Note(r, err) // it is away; here the session is over all the same
		return nil
	}
	return next
}

// logoutState is what a provider hands back after a logout: where the person goes then, sealed, so that nobody else can say.
func (g *Gateway) logoutState(returnTo string) string {
	to := g.options.SignedOut
	if returnTo != "" {
		to = g.returnTo(returnTo)
	}
	return sealText(g.states, to)
}

func sealText(box *seal.Box, text string) string {
	return base64.RawURLEncoding.EncodeToString(box.Seal([]byte(text), nil))
}

// openText reads what sealText wrote, and reports whether it did.
func openText(box *seal.Box, text string) (string, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", false
	}
	opened, err := box.Open(raw, nil)
	return string(opened), err == nil
}

// follow sends a navigation on to the provider.
func (g *Gateway) follow(w http.ResponseWriter, r *http.Request, next *url.URL) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	text := next.String()
	if len(text) <= longURL {
		http.Redirect(w, r, text, http.StatusSeeOther)
		return
	}
	fields := next.Query()
	action := *next
	action.RawQuery = ""
	g.Answers.Pages.Submit(w, action.String(), fields)
}

// logoutNext goes on to the provider, once.
func (g *Gateway) logoutNext(w http.ResponseWriter, r *http.Request) error {
	var text []byte
	var err error = session.Fail(session.None, "logout", "no id of ours")
	if id, ours := openText(g.nexts, r.URL.Query().Get("id")); ours {
		text, err = g.Notes.Take(r.Context(), "logout", id)
	}
	switch session.CodeOf(err) {
	case "":
	case session.None:
		http.Redirect(w, r, g.options.Prefix+"signed-out", http.StatusSeeOther)
		return nil
	default:
		return err
	}
	next, err := url.Parse(string(text))
	if err != nil {
		return &session.Error{Code: session.Internal, Op: "logout", Err: err}
	}
	g.follow(w, r, next)
	return nil
}

// signedOut is where a provider sends people after a logout. State may be altered or missing: the person is signed out all the
// same, and sees a page that says so.
func (g *Gateway) signedOut(w http.ResponseWriter, r *http.Request) error {
	if to := g.afterLogout(r.URL.Query().Get("state")); to != "" {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	g.Answers.Pages.SignedOut(w, ui.SignedOutPage{SignIn: g.options.Prefix + "login", Home: "/"})
	return nil
}

// afterLogout reads a state of ours; "" for any other, and for one that names no place.
func (g *Gateway) afterLogout(state string) string {
	to, ours := openText(g.states, state)
	if !ours {
		return ""
	}
	// Once more (L10): a state has no end, and the list of origins may have changed since.
	path, _ := origin.ReturnTo(to, g.Own, g.Guard.Listed())
	return path
}
