package guard

import (
	"net/http"
	"slices"
	"strings"
)

// preflightAge is how long a browser may keep the answer to a preflight, in seconds.
const preflightAge = "600"

// sendable are the headers that a listed front end may send beside those that need no leave.
var sendable = []string{"Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "Last-Event-Id", "Range", tokenHeaderKey, "X-Requested-With"}

// readable are the headers that it may read beside those that need no leave.
const readable = "Cloakroom, Content-Disposition, Content-Range, ETag, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id"

// Share lets a listed origin's script read an answer to r (Fetch §3.3). Others get nothing, not even a word that there is a list. Call it
// when the final headers go out.
func (g *Guard) Share(h http.Header, r *http.Request) {
	if len(g.texts) == 0 {
		return
	}
	if !slices.Contains(h["Vary"], varyOrigin) { // also without an Origin: a cache must not serve that answer to one (K2)
		h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], varyOrigin)
	}
	if from := r.Header["Origin"]; len(from) == 1 && g.texts[from[0]] {
		h["Access-Control-Allow-Origin"] = []string{from[0]}
		h["Access-Control-Allow-Credentials"] = []string{"true"}
		h["Access-Control-Expose-Headers"] = []string{readable}
	}
}

const varyOrigin = "Origin"

// Preflight answers a CORS preflight and reports whether r was one. It looks at no session, and nothing of it goes on: an upstream
// does not decide who shares our sessions. methods are those of the resource, nil for all that may be forwarded.
func (g *Guard) Preflight(w http.ResponseWriter, r *http.Request, methods []string) bool {
	asked := r.Header["Access-Control-Request-Method"]
	if r.Method != http.MethodOptions || len(asked) == 0 || len(r.Header["Origin"]) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	g.Share(h, r)
	if h["Access-Control-Allow-Origin"] != nil && len(asked) == 1 && mayAsk(asked[0], methods) {
		delete(h, "Access-Control-Expose-Headers") // it is for the answer itself
		h["Access-Control-Allow-Methods"] = asked
		if allowed := g.mayBring(r.Header["Access-Control-Request-Headers"]); len(allowed) > 0 {
			h["Access-Control-Allow-Headers"] = []string{strings.Join(allowed, ", ")}
		}
		h["Access-Control-Max-Age"] = []string{preflightAge}
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

func mayAsk(method string, methods []string) bool {
	if method == http.MethodTrace || method == http.MethodConnect {
		return false
	}
	return methods == nil || slices.Contains(methods, method)
}

// mayBring are those of the headers asked for that may be sent.
func (g *Guard) mayBring(asked []string) []string {
	var allowed []string
	for _, line := range asked {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); len(allowed) < 64 && g.sendable[http.CanonicalHeaderKey(name)] {
				allowed = append(allowed, name)
			}
		}
	}
	return allowed
}
