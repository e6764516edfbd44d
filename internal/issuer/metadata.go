package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	MetadataLeast = 10 * time.Minute // how long metadata are fresh, whatever Cache-Control says
	MetadataMost  = 24 * time.Hour
)

// Discover returns what an issuer says of itself (OpenID Connect Discovery §4), as far as M reads it and check finds no fault with it.
func Discover[M any](c Calls, issuer string, now func() time.Time, check func(*M) error) *Document[*M] {
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	return NewDocument(now, func(ctx context.Context) (*M, time.Duration, error) {
		m := new(M)
		res, err := c.Get(ctx, "fetch metadata", address, m)
		if err != nil {
			var e *session.Error
			if errors.As(err, &e) && e.Code == session.ProviderRefused {
				e.Hint = "is issuer right? its metadata should be at " + address
			}
			return nil, 0, err
		}
		if err := check(m); err != nil {
			return nil, 0, err
		}
		return m, Fresh(res.Header), nil
	})
}

// OpMetadata is the Op of errors about what metadata say.
const OpMetadata = "check metadata"

// CheckIssuer says why text cannot be an issuer.
func CheckIssuer(text string) error {
	u, err := Secure(text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		err = errors.New("must have no query")
	}
	return err
}

// CheckName says why metadata that name this issuer are not those of issuer: they are the same byte for byte, or not at all.
func CheckName(issuer, named string) error {
	if named == issuer {
		return nil
	}
	e := session.Fail(session.ProviderLied, OpMetadata, "the metadata are those of %q, not of %q", Printable(named, 200), issuer)
	if strings.TrimSuffix(named, "/") == strings.TrimSuffix(issuer, "/") {
		e.Hint = fmt.Sprintf("set issuer to %q: the slash at the end counts", Printable(named, 200))
	}
	return e
}

// CheckEndpoint says why an address that an issuer names is none to call. One that is reached over https may name no others.
func CheckEndpoint(issuer, name, address string) error {
	u, err := Secure(address)
	if err == nil && u.Scheme == "http" && strings.HasPrefix(issuer, "https:") {
		err = errors.New("must be https")
	}
	if err != nil {
		return session.Fail(session.ProviderLied, OpMetadata, "%s: %w", name, err)
	}
	return nil
}

// Secure parses an address that calls may go to: https, or http on this very machine.
func Secure(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case address == "":
		return nil, errors.New("missing")
	case u.Host == "" || u.Hostname() == "" || u.User != nil || strings.Contains(address, "#"):
		return nil, errors.New("must be an absolute URL without user or fragment")
	case u.Scheme == "https" || (u.Scheme == "http" && origin.IsLocal(u.Hostname())):
		return u, nil
	}
	return nil, errors.New("must be https (http only on 127.0.0.1, [::1] or localhost)")
}

var maxAge = regexp.MustCompile(`(?i)(?:^|[,\s])max-age="?(\d{1,9})`)

// Fresh reads how long an answer may be kept.
func Fresh(header http.Header) time.Duration {
	if m := maxAge.FindStringSubmatch(header.Get("Cache-Control")); m != nil {
		seconds, _ := strconv.Atoi(m[1])
		return min(max(time.Duration(seconds)*time.Second, MetadataLeast), MetadataMost)
	}
	return MetadataLeast
}
