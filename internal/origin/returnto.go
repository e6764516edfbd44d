package origin

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxReturnTo is the most bytes of a return_to, as it comes and as it is given back.
const maxReturnTo = 2048

// ReturnTo checks a return_to from outside (OIDC Core §4, RFC 9700 §4.11.1). It gives back the path of our own origin, with
// query and fragment, or an absolute URL on an origin of the list, both in printable ASCII and fit for a Location header; a
// URL on our own origin becomes its path. What it gives back, it gives back unchanged again.
//
// It answers false for everything else: empty, over 2048 bytes, relative, another scheme, another origin, userinfo, a
// backslash or control byte that a browser would read as something else, and a path that [CleanPath] would refuse.
func ReturnTo(raw string, own Origin, listed []Origin) (string, bool) {
	// Browsers cut spaces off the ends and drop tabs and line ends anywhere (WHATWG URL §4.4), so nothing with them is
	// what it seems.
	if raw == "" || len(raw) > maxReturnTo || !utf8.ValidString(raw) || strings.ContainsFunc(raw, blank) {
		return "", false
	}
	base, local := "", raw
	if raw[0] != '/' {
		// Only scheme://host[:port] to the letter counts as an origin; "https:evil" and "https:/evil" have none here.
		end := len(raw)
		if i := strings.Index(raw, "://"); i >= 0 {
			if n := strings.IndexAny(raw[i+3:], `/?#\`); n >= 0 {
				end = i + 3 + n
			}
		}
		to, err := Parse(raw[:end])
		switch {
		case err != nil:
			return "", false
		case to == own:
		case slices.Contains(listed, to):
			base = to.String()
		default:
			return "", false
		}
		local = raw[end:]
		if local == "" || local[0] != '/' && local[0] != '\\' {
			local = "/" + local
		}
	}
	// "//host" is another host to a browser, and so is "/\host".
	if strings.HasPrefix(local, "//") || strings.HasPrefix(local, `/\`) {
		return "", false
	}
	u, err := url.Parse(local)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !cleanPath(u.Path, u.RawPath) {
		return "", false
	}
	to := base + u.EscapedPath()
	if u.RawQuery != "" {
		to += "?" + asciiQuery(u.RawQuery)
	}
	if u.Fragment != "" {
		to += "#" + u.EscapedFragment()
	}
	if len(to) > maxReturnTo {
		return "", false
	}
	return to, true
}

func blank(c rune) bool { return c <= ' ' || 0x7f <= c && c < 0xa0 }

// asciiQuery encodes what RFC 3986 §3.4 does not allow in a query. net/url leaves a query as it came.
func asciiQuery(query string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
