package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/files"
	"github.com/cloakroom-go/cloakroom/internal/hook"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	browser "github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/proxy"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/store/postgres"
)

// rule says what is wrong with a value.
type rule func(v value) error

// What the design has and the program has not yet, so that nobody takes it for a typing error.
var (
	notBuilt = map[string][]string{
		"auth_method": {"none", "private_key_jwt", "client_secret_jwt", "tls_client_auth"},
	}
	notBuiltKeys = map[string]bool{"forward_auth": true}
)

// unsafe are values that would work and are refused.
var unsafe = map[string]string{
	"session.same_site: none": "none would let every site send the session cookie, and browsers are taking such cookies away; " +
		"serve the page from the gateway's own site and write strict or lax",
	"response_mode: fragment": "a fragment never reaches the gateway; write query or form_post",
}

// webURL parses an http or https URL without user, query and fragment.
func webURL(v value) (*url.URL, error) {
	u, err := url.Parse(v.text)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s is no URL; write it like https://app.example.com", quote(v))
	case strings.Contains(u.Hostname(), "*"):
		return nil, fmt.Errorf("%s has a wildcard; write every host out", quote(v))
	case u.User != nil:
		return nil, errors.New("a URL with a user name or password is not taken here")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(v.text, "#"):
		return nil, fmt.Errorf("%s has a query or fragment; leave it out", quote(v))
	case !portInRange(u.Port()):
		return nil, fmt.Errorf("%s has a port outside of 1 to 65535", quote(v))
	}
	return u, nil
}

func portInRange(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 1<<16
}

// origin wants scheme, host and port, nothing else.
func origin(v value) error {
	if v.text == "*" || v.text == "null" {
		return fmt.Errorf("%s would trust every site; write each origin out, like https://app.example.com", quote(v))
	}
	u, err := webURL(v)
	if err != nil {
		return err
	}
	if u.Path != "" {
		return fmt.Errorf("%s has a path; write %s://%s", quote(v), u.Scheme, u.Host)
	}
	if _, err := browser.Parse(v.text); err != nil {
		return fmt.Errorf("%s is not as a browser writes it: international names in punycode, addresses in their usual form", quote(v))
	}
	return nil
}

// wireURL wants https, or http to this machine.
func wireURL(v value) error {
	u, err := webURL(v)
	if err == nil && u.Scheme == "http" && !browser.IsLocal(u.Hostname()) {
		return fmt.Errorf("%s would send secrets over the network in clear; use https", quote(v))
	}
	return err
}

// upstream may have a path before which routes are put.
func upstream(v value) error {
	if _, err := webURL(v); err != nil {
		return fmt.Errorf("%w (an upstream is like http://127.0.0.1:3000)", err)
	}
	return nil
}

// address is where a listener listens: HOST:PORT.
func address(v value) error {
	host, port, err := net.SplitHostPort(v.text)
	if err == nil && host != "" && net.ParseIP(host) == nil && !hostName.MatchString(host) {
		err = errors.New("no host")
	}
	if n, nerr := strconv.Atoi(port); err != nil || nerr != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s is no address to listen on; write it like :8080 or 127.0.0.1:8080", quote(v))
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func orOff(r rule) rule {
	return func(v value) error {
		if v.text == "off" {
			return nil
		}
		return r(v)
	}
}

// sealingKeys wants a key of the keyring, or a file of them. It never shows any.
func sealingKeys(v value) error { return seal.CheckText(v.text) }

// prefix is the path under which our endpoints are.
func prefix(v value) error {
	if !pathPrefix.MatchString(v.text) || strings.Contains(v.text, "/.") {
		return fmt.Errorf("%s is no prefix; write it like /auth/, beginning and ending with a slash", quote(v))
	}
	return nil
}

var pathPrefix = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+/$`)

// path begins with a slash and is normal: what a browser sends is compared with it as it stands.
func path(v value) error {
	switch {
	case !strings.HasPrefix(v.text, "/"):
		return fmt.Errorf("%s is no path; it begins with a slash", quote(v))
	case strings.ContainsAny(v.text, "?#%\\ \t\r\n{}*"):
		return fmt.Errorf("%s has characters that a path here cannot have; /api/ means it and all below it", quote(v))
	case strings.Contains(v.text, "//") || slices.ContainsFunc(strings.Split(v.text, "/"), func(s string) bool { return s == "." || s == ".." }):
		return fmt.Errorf("%s is not normal; leave out //, . and ..", quote(v))
	}
	return nil
}

// cookiePath is a path that a cookie can be for.
func cookiePath(v value) error {
	if err := delivery.CheckPath(v.text); err != nil {
		return err
	}
	return path(v)
}

// landing is a path on our own origin to send a browser to.
func landing(v value) error {
	if !strings.HasPrefix(v.text, "/") || strings.HasPrefix(v.text, "//") || strings.ContainsAny(v.text, "\\ \t\r\n") {
		return fmt.Errorf("%s is no path of ours; write it like /goodbye", quote(v))
	}
	return nil
}

// method is a request method as it is written on the wire.
func method(v value) error {
	upper := strings.ToUpper(v.text)
	switch {
	case upper == "TRACE" || upper == "CONNECT":
		return fmt.Errorf("%s is never forwarded", upper)
	case v.text != upper:
		return fmt.Errorf("methods are written in capitals: %s", upper)
	case !httpguts.ValidHeaderFieldName(v.text):
		return fmt.Errorf("%s is no method", quote(v))
	}
	return nil
}

func identityHeader(name string, v value) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is no name of a header", name)
	case !proxy.CanCarryClaim(name):
		return fmt.Errorf("%s means something else already; take a name like X-User", name)
	}
	return claim(v)
}

// headerName is the name of a header that a script may send.
func headerName(v value) error {
	if !httpguts.ValidHeaderFieldName(v.text) {
		return fmt.Errorf("%s is no name of a header", quote(v))
	}
	return nil
}

func answerHeader(name string, v value) error { return files.CheckHeader(name, v.text) }

// oneLine refuses what would end a header or a log line.
func oneLine(v value) error {
	if strings.ContainsFunc(v.text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return errors.New("this must be one line without control characters")
	}
	return nil
}

func claim(v value) error {
	if strings.ContainsAny(v.text, " \t\r\n,") {
		return fmt.Errorf("%s is no claim; it is one name, like email", quote(v))
	}
	return nil
}

func mailDomain(v value) error {
	if !hostName.MatchString(v.text) || !strings.Contains(v.text, ".") {
		return fmt.Errorf("%s is no domain; write what stands behind the @, like example.com", quote(v))
	}
	return nil
}

var scopeText = regexp.MustCompile("^[!#-[\\]-~]+$") // RFC 6749 §3.3

func scope(v value) error {
	if !scopeText.MatchString(v.text) {
		return fmt.Errorf("%s is not one scope; write a list: [openid, profile, email]", quote(v))
	}
	return nil
}

func strength(v value) error {
	if v.text == "" || strings.ContainsFunc(v.text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("%s is not one value of acr; write a list: [mfa, pwd]", quote(v))
	}
	return nil
}

func loginParam(name string, v value) error {
	switch lower := strings.ToLower(name); {
	case lower == "audience" || lower == "resource" || lower == "acr_values":
		return fmt.Errorf("%s has a key of its own; write it beside params", name)
	case oidc.ReservedParam(name):
		return fmt.Errorf("%s is decided by the login itself", name)
	}
	return oneLine(v)
}

func audience(v value) error { return proxy.CheckAudience(v.text) }

func resource(v value) error {
	if !oidc.IsResource(v.text) {
		return fmt.Errorf("%s is no resource; it is an absolute URI without a fragment (RFC 8707 §2)", quote(v))
	}
	return nil
}

func algorithm(v value) error {
	if v.text == "none" || strings.HasPrefix(v.text, "HS") {
		return fmt.Errorf("%s is no signature that only the provider can make; take one of %s", quote(v), strings.Join(issuer.Algorithms, ", "))
	}
	return oneOf(issuer.Algorithms...)(v)
}

func oneOf(words ...string) rule {
	return func(v value) error {
		if slices.Contains(words, v.text) {
			return nil
		}
		return fmt.Errorf("%s is none of %s%s", quote(v), strings.Join(words, ", "), didYouMean(v.text, words))
	}
}

// dsn names a store that there is.
func dsn(v value) error {
	_, _, err := splitDSN(v.text)
	return err
}

// apiSecret is what machines know each other by.
func apiSecret(v value) error { return accounts.CheckSecret(v.text) }

// hookSecret is what questions to a hook are signed with.
func hookSecret(v value) error { return hook.CheckSecret(v.text) }

// mailServer is where letters go.
func mailServer(v value) error {
	host, port, err := net.SplitHostPort(v.text)
	if v.text == mail.ToLog {
		return nil
	}
	if n, nerr := strconv.Atoi(port); err != nil || nerr != nil || n < 1 || n > 65535 || net.ParseIP(host) == nil && !hostName.MatchString(host) {
		return fmt.Errorf("%s is no mail server; write it like mail.example.com:587, or log", quote(v))
	}
	return nil
}

// accountsDSN names a database for accounts. What is wrong is not shown: there may be a password in it.
func accountsDSN(v value) error {
	if isPostgres(v.text) {
		return postgres.Check(v.text)
	}
	if kind, _, err := splitDSN(v.text); err != nil || kind != "sqlite" {
		return errAccounts
	}
	return nil
}

// tokenClaim is a claim that a token does not have of its own.
func tokenClaim(v value) error {
	if accounts.FixedClaim(v.text) {
		return fmt.Errorf("%s is set by the issuer itself", quote(v))
	}
	return nil
}

// seenFrom is what to know of a path.
const seenFrom = "it is relative to the folder of the configuration file"

// folder is a folder, as seen from the configuration file.
func (r *reading) folder(v value) error {
	at, err := os.Stat(r.beside(v.text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; build the front end first, or mend the path: %s", reason(err), seenFrom)
	case err != nil:
		return reason(err)
	case !at.IsDir():
		return fmt.Errorf("%s is not a folder", quote(v))
	}
	return nil
}

// there wants a file, as seen from the configuration file.
func (r *reading) there(v value) error {
	at, err := os.Stat(r.beside(v.text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; put the file there, or mend the path: %s", reason(err), seenFrom)
	case err != nil:
		return reason(err)
	case !at.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", quote(v))
	}
	return nil
}
