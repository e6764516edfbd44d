package guard

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// preflightAge is how long a browser may keep the answer to a preflight, in seconds.
var preflightAge = []string{"600"}

// sendable are the headers that a listed front end may send, beside Options.OriginHeaders and those that need no leave.
var sendable = []string{
	"Accept", "Accept-Language", "Cache-Control", "Content-Language", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match",
	"Last-Event-Id", "Pragma", "Range", tokenHeaderKey, "X-Requested-With",
}

// readable are the headers that it may read beside those that need no leave. The client needs the first.
var readable = []string{"Cloakroom, Content-Disposition, Content-Range, ETag, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id"}

var (
	withCredentials = []string{"true"}
	varyOrigin      = []string{"Origin"}
	varyPreflight   = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
)

// Share lets a listed origin's script read an answer to r (Fetch §3.3). Others get nothing, not even a word that there is a list. Call it
// when the final headers go out.
func (g *Guard) Share(h http.Header, r *http.Request) {
	if len(g.texts) == 0 {
		return
	}
	Vary(h, varyOrigin) // also without an Origin: a cache must not serve that answer to one (K2)
	if from := r.Header["Origin"]; g.lists(from) {
		h["Access-Control-Allow-Origin"] = from
		h["Access-Control-Allow-Credentials"] = withCredentials
		h["Access-Control-Expose-Headers"] = readable
	}
}

func (g *Guard) lists(from []string) bool { return len(from) == 1 && g.texts[from[0]] }

// IsPreflight reports whether r is a browser's question whether another request may come (Fetch §3.3.2).
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// Preflight answers a preflight. It looks at no session, and nothing of it goes on: an upstream does not decide who shares our
// sessions (K3). Methods are those of the resource, nil for all that may be forwarded. Whatever is not allowed in every respect is
// answered with no leave at all: where methods are not named, a browser may take its own to be meant.
func (g *Guard) Preflight(w http.ResponseWriter, r *http.Request, methods []string) {
	h := w.Header()
	Vary(h, varyPreflight)
	method, ours := allowedMethods(r.Header["Access-Control-Request-Method"], methods)
	headers, known := g.allowedHeaders(r.Header["Access-Control-Request-Headers"])
	if from := r.Header["Origin"]; g.lists(from) && ours && known {
		h["Access-Control-Allow-Origin"] = from
		h["Access-Control-Allow-Credentials"] = withCredentials
		h["Access-Control-Allow-Methods"] = []string{method}
		if headers != "" {
			h["Access-Control-Allow-Headers"] = []string{headers}
		}
		h["Access-Control-Max-Age"] = preflightAge
	}
	w.WriteHeader(http.StatusNoContent)
}

// usualMethods are what a resource takes that names none; others only if they are asked for.
var usualMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func allowedMethods(asked, methods []string) (line string, ok bool) {
	if len(asked) != 1 || len(asked[0]) > 32 || !httpguts.ValidHeaderFieldName(asked[0]) || asked[0] == http.MethodTrace || asked[0] == http.MethodConnect {
		return "", false
	}
	if methods == nil {
		methods = usualMethods
		if !slices.Contains(methods, asked[0]) {
			methods = slices.Concat(methods, asked)
		}
	}
	return strings.Join(methods, ", "), slices.Contains(methods, asked[0])
}

// allowedHeaders are those asked for, if all of them may be sent.
func (g *Guard) allowedHeaders(asked []string) (line string, ok bool) {
	var names []string
	for _, one := range asked {
		for name := range strings.SplitSeq(one, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			if len(names) == 64 || !g.sendable[http.CanonicalHeaderKey(name)] {
				return "", false
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", "), true
}

// Vary says that an answer depends on the request headers in line, each name once (X11). The line is one value with commas; it is
// shared, where the answer says nothing yet.
func Vary(h http.Header, line []string) {
	old := h["Vary"]
	if len(old) == 0 {
		h["Vary"] = line
		return
	}
	missing := line[0]
	if len(old) == 1 && old[0] == "Accept-Encoding" { // what most answers say, and no list of ours
		h["Vary"] = append(old[:1:1], missing)
		return
	}
	for name := range strings.SplitSeq(line[0], ", ") {
		if says(old, name) {
			missing = without(missing, name)
		}
	}
	if missing != "" {
		h["Vary"] = append(old[:len(old):len(old)], missing)
	}
}

// without returns a list of names that lacks one.
func without(list, name string) string {
	names := strings.Split(list, ", ")
	return strings.Join(slices.DeleteFunc(names, func(one string) bool { return one == name }), ", ")
}

// says reports whether a list of names has one, or all ("*").
func says(lines []string, name string) bool {
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if one = strings.Trim(one, " \t"); one == "*" || strings.EqualFold(one, name) {
				return true
			}
		}
	}
	return false
}
