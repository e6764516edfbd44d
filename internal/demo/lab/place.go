package lab

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// place is where the travelling tab can be.
type place string

// The places.
const (
	app     place = "victim"  // the app with an injected script, under the starter policy
	open    place = "open"    // the same without a policy
	sibling place = "sibling" // the attacker, on another host of the app's site
	foreign place = "foreign" // the attacker, on another site
)

// page is the address of a place for a run.
func (l *Lab) page(p place, r *run) string {
	q := url.Values{"run": {r.id}, "at": {string(p)}}
	at, path := l.App, "/lab/victim.html"
	switch p {
	case sibling:
		at, path = l.Sibling, "/lab/page.html"
	case foreign:
		at, path = l.Foreign, "/lab/page.html"
	case open:
		path = "/lab/open/victim.html"
	}
	if v := r.visit(); v != nil && (p == app || p == open) {
		at = v.origin()
		if v.column.Baseline() {
			q.Set("keep", v.column.Keep)
		}
	}
	return at.String() + path + "?" + q.Encode()
}

// Attacker serves the attacker's pages, under the two names that he has. Whatever comes to /lab/collect has got out.
func (l *Lab) Attacker() http.Handler {
	mux := http.NewServeMux()
	l.travel(mux)
	pages := http.FileServerFS(evilFiles)
	mux.HandleFunc("GET /lab/page.html", func(w http.ResponseWriter, r *http.Request) {
		l.collect(r)
		serveEvil(w, r, pages)
	})
	mux.HandleFunc("GET /lab/toss", l.serveToss)
	mux.HandleFunc("GET /lab/tab.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, AppFiles(), "tab.js") })
	mux.HandleFunc("GET /lab/{name}", func(w http.ResponseWriter, r *http.Request) { serveEvil(w, r, pages) })
	collected := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		l.collect(r)
		w.WriteHeader(http.StatusNoContent)
	}
	mux.HandleFunc("GET /lab/collect", collected)
	mux.HandleFunc("POST /lab/collect", collected)
	return l.only(mux, l.Sibling, l.Foreign)
}

func serveEvil(w http.ResponseWriter, r *http.Request, pages http.Handler) {
	r2 := r.Clone(r.Context())
	r2.URL.Path = "/evil" + strings.TrimPrefix(r.URL.Path, "/lab")
	w.Header().Set("Cache-Control", "no-store")
	pages.ServeHTTP(w, r2)
}

// only lets requests for these origins through: a name that somebody else points here gets nothing.
func (l *Lab) only(h http.Handler, origins ...*url.URL) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, o := range origins {
			if r.Host == o.Host {
				h.ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, "wrong host", http.StatusMisdirectedRequest)
	})
}

// collect notes what arrived at the attacker's.
func (l *Lab) collect(r *http.Request) {
	q := r.URL.Query()
	if one, ok := l.find(q.Get("run")); ok && q.Get("loot") != "" {
		one.inbox.put(q.Get("by"), q.Get("loot"))
	}
}

// inbox is what arrived at the attacker's, by the way it came.
type inbox struct {
	mu   sync.Mutex
	came map[string]string

	tossed []string // Set-Cookie lines that the sibling's server has ready
}

func (i *inbox) put(by, loot string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.came == nil || len(i.came) >= 64 {
		i.came = make(map[string]string)
	}
	i.came[by] = loot
}

// take returns what came by ways that begin with prefix, and forgets it.
func (i *inbox) take(prefix string) map[string]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := make(map[string]string)
	for by, loot := range i.came {
		if way, ok := strings.CutPrefix(by, prefix); ok {
			taken[way] = loot
			delete(i.came, by)
		}
	}
	return taken
}

// Enter is where a run's tab is signed in at the provider, as the one who is attacked, on its way to the app.
func (l *Lab) Enter(w http.ResponseWriter, r *http.Request) {
	one, ok := l.find(r.URL.Query().Get("run"))
	if !ok {
		http.Error(w, "This run is not known any more.", http.StatusNotFound)
		return
	}
	http.SetCookie(w, l.World.Enter(victim))
	w.Header().Set("Cache-Control", "no-store")
	back := "/lab/victim.html?" + url.Values{"run": {one.id}}.Encode()
	http.Redirect(w, r, l.App.String()+"/auth/login?"+url.Values{"return_to": {back}}.Encode(), http.StatusSeeOther)
}

// Homeward brings the travelling tab home from an answer of h that it cannot leave by itself: a page that shows a refusal, or one that
// goes on to a page of the app's. Decision and cookies are the answer's own; only what would be shown, and where it would go on to,
// is the lab's.
func (l *Lab) Homeward(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("lab"); id != "" {
			if one, ok := l.find(id); ok {
				w = &homeward{ResponseWriter: w, to: l.page(foreign, one)}
			}
		}
		h.ServeHTTP(w, r)
	})
}

type homeward struct {
	http.ResponseWriter
	to          string
	sent, shown bool
}

// Unwrap is for http.ResponseController.
func (h *homeward) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Write shows another page, and that only once: one that goes on by itself would go elsewhere, and without any a browser shows its own.
func (h *homeward) Write(b []byte) (int, error) {
	if !h.sent {
		h.WriteHeader(http.StatusOK)
	}
	if h.shown {
		return len(b), nil
	}
	h.shown = true
	_, err := io.WriteString(h.ResponseWriter, "The laboratory goes on.\n")
	return len(b), err
}

func (h *homeward) WriteHeader(status int) {
	h.sent = h.sent || status >= 200
	switch {
	case status >= 300 && status < 400: // it was done, and the app would go on to a page of its own
		h.Header().Set("Location", h.to)
	case status >= 200:
		h.Header().Del("Content-Length")
		h.Header().Set("Content-Type", "text/plain; charset=utf-8")
		h.Header().Set("Refresh", "0;url="+h.to)
	}
	h.ResponseWriter.WriteHeader(status)
}
