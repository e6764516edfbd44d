package lab

import (
	"embed"
	"net/http"
	"strings"
)

//go:embed baseline
var baselineFiles embed.FS

// BaselineApp serves the app as it is without a gateway: the same page, a client that keeps its tokens where script can reach
// them, and the same API, which reads the token from the header or from a cookie of that name.
func (l *Lab) BaselineApp() http.Handler { return l.only(l.Homeward(l.baseline()), l.World.Baseline) }

// tokenCookie is the cookie that script writes.
const tokenCookie = "token"

func (l *Lab) baseline() http.Handler {
	mux := http.NewServeMux()
	l.travel(mux)
	mux.Handle("/api/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		if c, err := r.Cookie(tokenCookie); err == nil && r.Header.Get("Authorization") == "" {
			r.Header.Set("Authorization", "Bearer "+c.Value)
		}
		r.Header.Del("Cookie")
		l.API.ServeHTTP(w, r)
	}))
	mux.HandleFunc("POST /auth/login", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-Fetch-Site") != "same-origin" {
			refuse(w, http.StatusForbidden, "for the app's own page")
			return
		}
		t, err := l.Mint(victim)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "nobody could be signed in")
			return
		}
		answer(w, http.StatusOK, t)
	})
	mux.HandleFunc("GET /auth/client.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		http.ServeFileFS(w, r, baselineFiles, "baseline/client.js")
	})
	page := func(w http.ResponseWriter, r *http.Request, name string) {
		w.Header().Set("Cache-Control", "no-store")
		http.ServeFileFS(w, r, AppFiles(), name)
	}
	mux.HandleFunc("GET /lab/open/{name}", func(w http.ResponseWriter, r *http.Request) { page(w, r, r.PathValue("name")) })
	mux.HandleFunc("GET /lab/{name}", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.PathValue("name"), ".html") {
			w.Header().Set("Content-Security-Policy", l.Policy)
		}
		page(w, r, r.PathValue("name"))
	})
	return mux
}

// served is the app of a visit, as somebody reaches it who has no browser.
func (v *visit) served() http.Handler {
	if v.column.Baseline() {
		return v.baseline()
	}
	return v.gateway
}
