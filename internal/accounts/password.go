package accounts

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/session"
)

// Limits of a new password. It is taken as it was typed: nothing is cut, folded or forbidden in it.
const (
	leastPassword = 8    // characters
	mostPassword  = 1024 // bytes
)

// common is a list of frequent passwords of at least 8 characters in lower case, in the order of their bytes; see COMMON-LICENSE.txt.
//
//go:embed common.txt
var common string

var commonest = sync.OnceValue(func() []string { return strings.Split(strings.TrimSuffix(common, "\n"), "\n") })

// fit says whether a password may be chosen by the person of an identifier's key. BadRequest: it is not text, or what came was read
// with characters missing.
func fit(password, key string) error {
	const op = "check new password"
	switch {
	case len(password) > mostPassword:
		return session.Fail(session.PasswordLong, op, "%d bytes", len(password))
	case !utf8.ValidString(password) || strings.ContainsRune(password, utf8.RuneError):
		return session.Fail(session.BadRequest, op, "not UTF-8, or a replacement character in it")
	case utf8.RuneCountInString(password) < leastPassword:
		return session.Fail(session.PasswordShort, op, "%d characters", utf8.RuneCountInString(password))
	}
	lower := strings.ToLower(password)
	local, _, _ := strings.Cut(key, "@")
	if _, found := slices.BinarySearch(commonest(), lower); found || lower == key || lower == local {
		return session.Fail(session.PasswordCommon, op, "it is in the list of common passwords, or the identifier itself")
	}
	return nil
}
