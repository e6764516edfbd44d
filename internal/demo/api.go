package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// What the API keeps at most.
const (
	maxBody      = 16 << 10 // bytes of a request
	maxNote      = 280      // bytes of a note
	maxNotes     = 50       // of one person; the oldest goes
	maxNotebooks = 500      // people; the API forgets someone then
)

// api is the API behind the gateway. It knows nothing of sessions: it wants an access token for itself, like any other.
type api struct {
	verifier verifier
	cookies  tokenCookies
	closing  <-chan struct{} // streams end when it is closed

	mu    sync.Mutex
	books map[string]*notebook // by subject
}

// notebook is what the API knows of one person.
type notebook struct {
	Notes []note
	Email string // set by the form, over the token's
}

type note struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// caller is who asks.
type caller struct {
	claims accessClaims
	*api
}

func newAPI(v verifier, cookies tokenCookies, closing <-chan struct{}) http.Handler {
	a := &api{verifier: v, cookies: cookies, closing: closing, books: make(map[string]*notebook)}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(caller, http.ResponseWriter, *http.Request){
		"GET /api/me":       caller.me,
		"GET /api/badge":    caller.badge,
		"GET /api/badge/":   caller.badge,
		"GET /api/socket":   caller.socket,
		"GET /api/notes":    caller.listNotes,
		"POST /api/notes":   caller.addNote,
		"POST /api/email":   caller.setEmail,
		"POST /api/graphql": caller.graphql,
		"GET /api/events":   caller.events,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			token, err := a.cookies.token(r)
			var claims accessClaims
			if err == nil {
				claims, err = a.verifier.check(token)
			}
			if err != nil {
				unauthorized(w, err)
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			serve(caller{claims, a}, w, r)
		})
	}
	return mux
}

// profile is the answer about a person.
type profile struct {
	Subject string `json:"sub"`
	Name    string `json:"name"`
	Email   string `json:"email"`
}

func (c caller) profile() profile {
	p := profile{c.claims.Subject, c.claims.Name, c.claims.Email}
	c.with(func(b *notebook) {
		if b.Email != "" {
			p.Email = b.Email
		}
	})
	return p
}

func (c caller) notes() []note {
	notes := []note{}
	c.with(func(b *notebook) { notes = append(notes, b.Notes...) })
	return notes
}

// with gives f the caller's notebook, alone.
func (c caller) with(f func(*notebook)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.books[c.claims.Subject]
	if b == nil {
		b = &notebook{}
		for subject := range c.books {
			if len(c.books) < maxNotebooks {
				break
			}
			delete(c.books, subject)
		}
		c.books[c.claims.Subject] = b
	}
	f(b)
}

// write keeps a note.
func (c caller) write(text string) (note, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxNote {
		return note{}, fmt.Errorf("a note has 1 to %d bytes", maxNote)
	}
	n := note{Text: text, At: time.Now().UTC().Truncate(time.Second)}
	c.with(func(b *notebook) { b.Notes = append(b.Notes[max(0, len(b.Notes)+1-maxNotes):], n) })
	return n, nil
}

// me answers who the API thinks is calling, and how it knows.
func (c caller) me(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		profile
		Role    string    `json:"role"`
		Issuer  string    `json:"iss"`
		Token   string    `json:"token"`
		Expires time.Time `json:"token_expires_at"`
	}{c.profile(), c.claims.Role, c.claims.Issuer, "verified: signature, iss, aud, exp, typ", c.claims.Expiry.Time().UTC()})
}

// badge is what a careless author wrote: something personal that calls itself fit for every cache, whatever the path ends in.
func (c caller) badge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=600")
	writeJSON(w, http.StatusOK, c.profile())
}

// socket tells who is there to whoever opens it, and does not look where the handshake comes from: that is the gateway's.
func (c caller) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // it has been answered
	}
	defer conn.CloseNow()
	text, err := json.Marshal(c.profile())
	if err == nil {
		err = conn.Write(r.Context(), websocket.MessageText, text)
	}
	if err == nil {
		conn.Close(websocket.StatusNormalClosure, "")
	}
}

func (c caller) listNotes(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"notes": c.notes()})
}

func (c caller) addNote(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Text string `json:"text"`
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, errors.New("send application/json"))
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, errors.New("the body is no JSON object with a text"))
		return
	}
	n, err := c.write(in.Text)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	writeJSON(w, http.StatusCreated, n)
}

// setEmail takes a plain HTML form, sent without any script, and sends the browser back to the page.
func (c caller) setEmail(w http.ResponseWriter, r *http.Request) {
	email := strings.TrimSpace(r.PostFormValue("email"))
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || domain == "" || !printable(email, 128) || strings.ContainsAny(email, " <>\"&") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, `<!doctype html><html lang="en"><title>No e-mail address</title><p>That is no e-mail address. <a href="/#email">Back</a></p></html>`)
		return
	}
	c.with(func(b *notebook) { b.Email = email })
	http.Redirect(w, r, "/?saved=email#email", http.StatusSeeOther)
}

// events streams the API's clock, one event a second, while the caller's token lasts and at most a minute: enough to see
// that nothing on the way holds events back.
func (c caller) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 60 {
		if _, err := fmt.Fprintf(w, "data: {\"time\":%q}\n\n", time.Now().UTC().Format(time.RFC3339)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-c.closing:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}
