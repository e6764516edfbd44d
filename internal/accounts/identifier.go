package accounts

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	mostEmail    = 254 // bytes (RFC 5321 §4.5.3.1.3, less the brackets)
	mostLocal    = 64  // bytes before the @
	leastName    = 2   // characters of a user name
	mostName     = 64
	opIdentifier = "read identifier"
)

func unfit(format string, args ...any) error {
	return session.Fail(session.BadIdentifier, opIdentifier, format, args...)
}

// keyOf is how an identifier is looked up: two that people take for the same have the same key. BadIdentifier: it is none.
func keyOf(login, typed string) (string, error) {
	if login == LoginUsername {
		return nameKey(typed)
	}
	return emailKey(typed)
}

// domains are read as browsers and mail servers read them: in lower case, international ones in punycode.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// emailKey takes addresses whose local part is a dot-atom of ASCII (RFC 5322 §3.2.3). Servers may tell upper from lower case in it, and
// none that people have an account at does. Local parts of other alphabets are refused: what looks like an address of somebody else
// is a way to be taken for them.
func emailKey(typed string) (string, error) {
	if len(typed) > mostEmail {
		return "", unfit("an e-mail address of %d bytes", len(typed))
	}
	at := strings.LastIndexByte(typed, '@')
	if at < 1 {
		return "", unfit("no @ with something before it")
	}
	local, domain := typed[:at], typed[at+1:]
	if len(local) > mostLocal || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") || strings.ContainsFunc(local, notAtom) {
		return "", unfit("what is before the @ is no dot-atom of 1 to %d ASCII characters", mostLocal)
	}
	domain, err := domains.ToASCII(domain)
	if err != nil || !strings.Contains(domain, ".") || strings.HasSuffix(domain, ".") {
		return "", unfit("what is behind the @ is no domain")
	}
	if whole := strings.ToLower(local) + "@" + domain; len(whole) <= mostEmail {
		return whole, nil
	}
	return "", unfit("an e-mail address of more than %d bytes in punycode", mostEmail)
}

func notAtom(c rune) bool {
	return c > unicode.MaxASCII || !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".!#$%&'*+/=?^_`{|}~-", c))
}

// nameKey takes user names by the profile UsernameCaseMapped (RFC 8265 §3.3). One alphabet for each: letters of several make names
// that look like others.
func nameKey(typed string) (string, error) {
	if len(typed) > 4*mostName {
		return "", unfit("a user name of %d bytes", len(typed))
	}
	name, err := precis.UsernameCaseMapped.String(typed)
	if err != nil {
		return "", unfit("no user name by RFC 8265: %w", err)
	}
	if n := utf8.RuneCountInString(name); n < leastName || n > mostName {
		return "", unfit("a user name of %d characters", n)
	}
	if strings.ContainsRune(name, '@') {
		return "", unfit("an @ in a user name: it would look like an e-mail address")
	}
	if alphabets(name) > 1 {
		return "", unfit("letters of several alphabets that look alike")
	}
	return name, nil
}

// alphabets counts those of text that have letters like another's.
func alphabets(text string) int {
	n := 0
	for _, alphabet := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee} {
		if strings.ContainsFunc(text, func(c rune) bool { return unicode.Is(alphabet, c) }) {
			n++
		}
	}
	return n
}
