package origin

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// CleanPath reports whether the path of r may be matched against routes and forwarded. It may when everyone who reads it,
// however often they decode it, reads the same path. So there is no dot segment, no "//", no backslash, no ";" parameter, no
// control byte; no "%"-encoding of any of these or of "." and "/", once or twice; no invalid or overlong UTF-8. The request
// target is in origin form (RFC 9112 §3.2.1): not absolute, not an authority, not "*".
//
// It is for requests as the server got them, before anything rewrote their URL. It does not allocate.
func CleanPath(r *http.Request) bool {
	u := r.URL
	if u.Scheme != "" || u.Opaque != "" || u.Host != "" || u.User != nil {
		return false
	}
	return cleanPath(u.Path, u.RawPath)
}

// cleanPath looks at both forms of a path. raw is "" where it is the usual encoding of path. An encoding found in path was
// encoded twice: an upstream that decodes once more would see another path than we do.
func cleanPath(path, raw string) bool {
	if path == "" || path[0] != '/' || !utf8.ValidString(path) {
		return false
	}
	// A server gets no fragment; net/url would take '#' for a part of the path, others would not.
	return plain(path) && (raw == "" || plain(raw) && strings.IndexByte(raw, '#') < 0)
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case ambiguous(c):
			return false
		case c == '/' && oddSegment(s[i+1:]):
			return false
		case c == '%' && i+2 < len(s):
			if c, ok := unhex(s[i+1], s[i+2]); ok && (c == '/' || c == '.' || ambiguous(c)) {
				return false
			}
		}
	}
	return true
}

func ambiguous(c byte) bool { return c < ' ' || c == 0x7f || c == '\\' || c == ';' }

// oddSegment reports whether rest, which follows a slash, begins with another slash or with a segment "." or "..".
func oddSegment(rest string) bool {
	if rest == "" {
		return false
	}
	dots := 0
	for dots < len(rest) && rest[dots] == '.' {
		dots++
	}
	return dots <= 2 && (dots == len(rest) || rest[dots] == '/')
}

func unhex(a, b byte) (byte, bool) {
	x, y := nibble(a), nibble(b)
	return x<<4 | y&15, x < 16 && y < 16
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}
