// Package lab attacks the demonstration, from the reader's own browser, and tells what came of it.
//
// A run takes one browser tab on a journey: to the app, in which a script was injected, to a page of another site, to one of a
// sibling host, and home. At each stop the tab is told what to try, and reports what it saw. Whether an attack ended well is never
// the tab's word alone: the lab looks at what arrived at the attacker's host, and asks the API what has changed. What needs no
// browser, like the replay of a copied cookie, the lab does by itself.
//
// All of it belongs to the demonstration. The gateway has no part in it, and none of it is reachable from "cloakroom serve".
package lab

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// World is the demonstration around the lab.
type World struct {
	App      *url.URL // the app behind the gateway, as browsers know it
	Issuer   *url.URL // the identity provider
	Sibling  *url.URL // the attacker on another host of the app's site; over http on another port of its host
	Foreign  *url.URL // the attacker on another site
	Baseline *url.URL // the app without a gateway: another port of the app's host

	Gateway http.Handler                                         // serves the app
	API     http.Handler                                         // behind the gateway
	Mode    func() (storage, delivery string)                    // of the gateway
	Use     func(storage, delivery string) error                 // exchanges the gateway
	At      func(storage, delivery string) (http.Handler, error) // the gateway as it is when it is set so
	Issued  func() []string                                      // the latest tokens that the provider gave out
	Enter   func(username string) *http.Cookie                   // signs somebody in at the provider: its cookie
	Mint    func(username string) (Tokens, error)                // signs somebody in without a gateway
	Good    func(refresh string) bool                            // whether Refresh would, without doing it
	Refresh func(refresh string) (Tokens, error)                 // renews what Mint gave
	Stored  func(context.Context) ([]byte, error)                // a copy of the database, as a thief has it
	Policy  string                                               // the Content-Security-Policy that a baseline has where it has one
	Client  *http.Client                                         // reaches the provider
}

// Tokens are what a front end without a gateway gets at the end of a login.
type Tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// The people in every run.
const (
	victim   = "vera"
	attacker = "mallory"
)

// Lab holds the runs. It is safe for concurrent use.
type Lab struct {
	World

	mu       sync.Mutex
	runs     []*run                       // the newest last
	measured map[string]map[string]Result // by column by attack, from all runs
}

// maxRuns bounds how many runs are known. The oldest is forgotten.
const maxRuns = 8

// New returns a lab in w.
func New(w World) *Lab {
	return &Lab{World: w, measured: make(map[string]map[string]Result)}
}

// Result is a cell of the table that was measured.
type Result struct {
	End  string    `json:"end"`            // a key of Attack.Ends; "" if it could not be measured
	Is   Outcome   `json:"is,omitempty"`   //
	Why  string    `json:"why"`            // the ending's sentence, or what went wrong
	Seen string    `json:"seen,omitempty"` // what was observed, in a few words
	At   time.Time `json:"at"`
}

//go:embed app
var appFiles embed.FS

//go:embed evil
var evilFiles embed.FS

// AppFiles are the lab's pages on the app's own origin, below /lab/: the table, and the app in which a script was injected.
func AppFiles() fs.FS { return must(fs.Sub(appFiles, "app")) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Handler serves /demo/lab/ on the app's origin, for its own pages.
func (l *Lab) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /demo/lab/table", l.table)
	mux.HandleFunc("POST /demo/lab/run", l.start)
	l.travel(mux)
	return mux
}

// travel adds what the travelling tab asks, on every origin that it visits.
func (l *Lab) travel(mux *http.ServeMux) {
	mux.HandleFunc("POST /demo/lab/next", l.next)
	mux.HandleFunc("POST /demo/lab/report", l.report)
}

// view is what the lab's page shows.
type view struct {
	Attacks  []Attack                     `json:"attacks"`
	Columns  []Column                     `json:"columns"`
	Expected map[string]map[string]string `json:"expected"`
	Measured map[string]map[string]Result `json:"measured"`
	Here     string                       `json:"here"` // the column of the gateway as it is set
	Secure   bool                         `json:"secure"`
	Run      *progress                    `json:"run,omitempty"`
}

// progress is how far a run has come.
type progress struct {
	ID     string `json:"id"`
	Column string `json:"column"`
	Attack string `json:"attack"`
	Left   int    `json:"left"`  // cells to be measured
	Total  int    `json:"total"` // cells of the run
	Done   bool   `json:"done"`
	Next   string `json:"next"` // where its tab goes on, if it was lost
}

func (l *Lab) table(w http.ResponseWriter, r *http.Request) {
	storage, delivery := l.Mode()
	v := view{Attacks: Attacks, Columns: Columns, Expected: Expected, Here: storage + "-" + delivery, Secure: l.App.Scheme == "https"}
	if one, ok := l.find(r.URL.Query().Get("run")); ok {
		v.Run = one.progress()
	}
	l.mu.Lock()
	v.Measured = make(map[string]map[string]Result, len(l.measured))
	for column, cells := range l.measured {
		copied := make(map[string]Result, len(cells))
		for attack, result := range cells {
			copied[attack] = result
		}
		v.Measured[column] = copied
	}
	l.mu.Unlock()
	answer(w, http.StatusOK, v)
}

// start begins a run and says where its tab begins.
func (l *Lab) start(w http.ResponseWriter, r *http.Request) {
	var in struct{ Columns, Attacks []string } // no attacks: all
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<10)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "the body is no JSON object with columns")
		return
	}
	one, err := newRun(l, in.Columns, in.Attacks)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	l.mu.Lock()
	l.runs = append(l.runs[max(0, len(l.runs)+1-maxRuns):], one)
	l.mu.Unlock()
	answer(w, http.StatusOK, map[string]string{"run": one.id, "tab": l.page(foreign, one)})
}

func (l *Lab) find(id string) (*run, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.runs, func(r *run) bool { return r.id == id })
	if at < 0 {
		return nil, false
	}
	return l.runs[at], true
}

func (l *Lab) record(column, attack string, r Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.measured[column] == nil {
		l.measured[column] = make(map[string]Result)
	}
	l.measured[column][attack] = r
}

// next tells the tab what to do where it is, or where to go.
func (l *Lab) next(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Run string
		At  place
	}
	one, ok := l.asked(w, r, &in, &in.Run)
	if !ok {
		return
	}
	answer(w, http.StatusOK, one.next(r.Context(), in.At, r))
}

// report takes what the tab saw.
func (l *Lab) report(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Run  string
		Do   string
		Seen json.RawMessage
	}
	one, ok := l.asked(w, r, &in, &in.Run)
	if !ok {
		return
	}
	if err := one.report(r.Context(), in.Do, in.Seen, r); err != nil {
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// asked reads what a tab of a run asks.
func (l *Lab) asked(w http.ResponseWriter, r *http.Request, in any, id *string) (*run, bool) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256<<10))
	if err == nil {
		err = json.Unmarshal(text, in)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body is no JSON object of this kind")
		return nil, false
	}
	one, ok := l.find(*id)
	if !ok {
		refuse(w, http.StatusNotFound, "this run is not known any more")
	}
	return one, ok
}

var errStopped = errors.New("the tab did not come back from it")

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}
