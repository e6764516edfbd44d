package issuer

import (
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// BearerOf returns the bearer token that a request brings (RFC 6750 §2.1), "" for none. Authorization of another scheme is none.
// BadRequest: it is there twice, or malformed.
func BearerOf(h http.Header) (string, error) {
	const op = "read bearer"
	lines := h["Authorization"]
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", session.Fail(session.BadRequest, op, "Authorization is there %d times", len(lines))
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	token = strings.Trim(token, " ")
	if token == "" || !visible(token) {
		return "", session.Fail(session.BadRequest, op, "Authorization has no token that a bearer could be")
	}
	return token, nil
}

// visible reports whether text is printable ASCII without spaces. It is looked at for every request, so byte by byte.
func visible(text string) bool {
	for i := range len(text) {
		if text[i]-'!' > '~'-'!' {
			return false
		}
	}
	return true
}
