package cookie

import (
	"net/http"
	"strings"
)

// MaxParts is the most cookies that a session kept in cookies may take.
const MaxParts = 4

// MaxSize is what browsers keep of one cookie: name, value and, in the stricter count, attributes. A larger one is dropped
// without a word (RFC 6265bis §5.6).
const MaxSize = 4096

// attributesSize is what the longest attributes of our cookies take.
const attributesSize = len("; Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Strict")

// Part is the name of the i-th cookie of a session that is kept in cookies.
func (j Jar) Part(i int) string { return j.parts + string(rune('0'+i)) }

// Seen is the name of the small cookie beside them, which says when the session was last used.
func (j Jar) Seen() string { return j.parts + "t" }

// PartSize is how many characters of a value one part holds.
func (j Jar) PartSize() int { return MaxSize - len(j.Part(0)) - len("=") - attributesSize }

// Parts are the cookies of a session that is kept in cookies.
type Parts struct {
	Values [MaxParts]string // "" where there is none
	Seen   string
	Twice  bool // one of the names is there twice: which of the two is ours cannot be told
}

// Parts reads them from a request.
func (j Jar) Parts(r *http.Request) (p Parts) {
	var has [MaxParts + 1]bool // an empty one counts as well
	Each(r, func(name, value string) {
		if len(name) != len(j.parts)+1 || !strings.HasPrefix(name, j.parts) {
			return
		}
		into, i := &p.Seen, MaxParts
		if c := name[len(name)-1]; c >= '0' && c < '0'+MaxParts {
			i = int(c - '0')
			into = &p.Values[i]
		} else if c != 't' {
			return
		}
		p.Twice = p.Twice || has[i]
		*into, has[i] = value, true
	})
	return p
}

// SetParts sets a value in as many cookies as it takes. Of those it does not take, it clears the ones that r carries, and all
// of them if r may not show what the browser has: a Strict cookie stays at home when another site sends the browser here.
func (j Jar) SetParts(w http.ResponseWriter, r *http.Request, value string, a Attributes, blind bool) {
	has, size := j.Parts(r), j.PartSize()
	for i := range MaxParts {
		switch {
		case value != "":
			n := min(size, len(value))
			j.Set(w, j.Part(i), value[:n], a)
			value = value[n:]
		case blind || has.Values[i] != "":
			j.Clear(w, j.Part(i), a.SameSite)
		}
	}
}

// ClearParts makes the browser forget all of them, also those that r does not show.
func (j Jar) ClearParts(w http.ResponseWriter, sameSite http.SameSite) {
	for i := range MaxParts {
		j.Clear(w, j.Part(i), sameSite)
	}
	j.Clear(w, j.Seen(), sameSite)
}

// CarriesSession reports whether r has a cookie of a session, good or not.
func (j Jar) CarriesSession(r *http.Request) bool {
	found := false
	Each(r, func(name, _ string) {
		found = found || strings.HasPrefix(name, j.prefix) && (name == j.Session() || name == j.Part(0))
	})
	return found
}

// Weight is how many bytes of a request's Cookie header an answer's cookies will take. Those that it clears take none.
func Weight(answer http.Header) int {
	weight := 0
	for _, line := range answer["Set-Cookie"] {
		pair, attributes, _ := strings.Cut(line, ";")
		if !strings.Contains(attributes, "Max-Age=0") {
			weight += len(pair) + len("; ")
		}
	}
	return weight
}
