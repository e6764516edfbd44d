package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/session"
)

// Mode is what a demonstration shows: where sessions rest, how the access token reaches the API, and what a request has to
// prove beside where it comes from. "" is the first of each list in modeWords.
type Mode struct {
	Storage  string `json:"storage"`
	Delivery string `json:"delivery"`
	CSRF     string `json:"csrf"`
}

// modeWords are the words of a Mode, the defaults first.
var modeWords = []struct {
	name  string
	field func(*Mode) *string
	words []string
}{
	{"storage", func(m *Mode) *string { return &m.Storage }, []string{"store", "sealed"}},
	{"delivery", func(m *Mode) *string { return &m.Delivery }, []string{"proxy", "cookie", "split", "memory"}},
	{"csrf", func(m *Mode) *string { return &m.CSRF }, []string{"origin", "header", "token"}},
}

// complete fills in the defaults and refuses words that are none.
func (m *Mode) complete() error {
	for _, option := range modeWords {
		word := option.field(m)
		if *word == "" {
			*word = option.words[0]
		}
		if !slices.Contains(option.words, *word) {
			return &session.Error{
				Code: session.BadRequest, Op: "demo", Err: fmt.Errorf("there is no %s %q", option.name, *word),
				Hint: option.name + " is one of " + strings.Join(option.words, ", "),
			}
		}
	}
	return nil
}

// house is the gateway of the demonstration, which can be exchanged for one of another mode while people are in it. Each is built
// once and kept: what began with it ends with it.
type house struct {
	build      func(Mode) (*cloakroom.Gateway, error)
	laboratory bool // there is one
	accounts   bool // people are here, and there is no provider

	current atomic.Pointer[furnished]
	mu      sync.Mutex
	built   map[Mode]*furnished
}

// furnished is a gateway and the mode it was built for.
type furnished struct {
	mode    Mode
	gateway *cloakroom.Gateway
}

// ServeHTTP serves a request by the gateway of the moment.
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.current.Load().gateway.ServeHTTP(w, r)
}

// mode is the mode of the moment.
func (h *house) mode() Mode { return h.current.Load().mode }

// use exchanges the gateway.
func (h *house) use(m Mode) error {
	if err := m.complete(); err != nil {
		return err
	}
	f, err := h.furnish(m)
	if err == nil {
		h.current.Store(f)
	}
	return err
}

// at is the gateway of a mode, whichever is in use.
func (h *house) at(m Mode) (http.Handler, error) {
	f, err := h.furnish(m)
	if err != nil {
		return nil, err
	}
	return f.gateway, nil
}

func (h *house) furnish(m Mode) (*furnished, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.built[m]; ok {
		return f, nil
	}
	g, err := h.build(m)
	if err != nil {
		return nil, err
	}
	if h.built == nil {
		h.built = make(map[Mode]*furnished)
	}
	h.built[m] = &furnished{m, g}
	return h.built[m], nil
}

// close closes all gateways.
func (h *house) close(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var wrong error
	for _, f := range h.built {
		wrong = errors.Join(wrong, f.gateway.Close(ctx))
	}
	return wrong
}

// serveMode tells the mode, and changes it.
func (h *house) serveMode(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodPost {
		m := h.mode()
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&m); err != nil {
			refuse(w, http.StatusBadRequest, errors.New("the body is no JSON object with storage, delivery or csrf"))
			return
		}
		switch err := h.use(m); {
		case session.CodeOf(err) == session.BadRequest:
			refuse(w, http.StatusUnprocessableEntity, err)
			return
		case err != nil:
			refuse(w, http.StatusInternalServerError, errors.New("the gateway could not be changed"))
			return
		}
		forgetTokens(w, r)
	}
	writeJSON(w, http.StatusOK, struct {
		Mode
		Laboratory bool `json:"laboratory"`
		Accounts   bool `json:"accounts"`
	}{h.mode(), h.laboratory, h.accounts})
}

// forgetTokens clears the cookies with a token that the gateway of before has set: the next one may not know them for its own, and
// an API that gets a token in two ways refuses both.
func forgetTokens(w http.ResponseWriter, r *http.Request) {
	for _, c := range r.Cookies() {
		if strings.HasSuffix(c.Name, "-access_token") || strings.HasSuffix(c.Name, "-access_token.sig") || strings.HasSuffix(c.Name, "-csrf") {
			http.SetCookie(w, &http.Cookie{Name: c.Name, Path: "/", MaxAge: -1, Secure: strings.HasPrefix(c.Name, "__"), HttpOnly: true})
		}
	}
}
