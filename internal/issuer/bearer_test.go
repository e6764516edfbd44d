package issuer

import (
	"net/http"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

func TestBearerOf(t *testing.T) {
	for _, c := range []struct {
		lines []string
		token string
		code  session.Code
	}{
		{nil, "", ""}, {[]string{"Bearer abc"}, "abc", ""}, {[]string{"bearer  abc"}, "abc", ""}, {[]string{"Basic abc"}, "", ""}, {[]string{""}, "", ""},
		{[]string{"Bearer"}, "", session.BadRequest}, {[]string{"Bearer "}, "", session.BadRequest}, {[]string{"Bearer a b"}, "", session.BadRequest},
		{[]string{"Bearer a", "Bearer a"}, "", session.BadRequest}, {[]string{"Bearer a\x00"}, "", session.BadRequest},
	} {
		h := http.Header{}
		if c.lines != nil {
			h["Authorization"] = c.lines
		}
		if token, err := BearerOf(h); token != c.token || session.CodeOf(err) != c.code {
			t.Errorf("%q: %q, %v", c.lines, token, err)
		}
	}
}
