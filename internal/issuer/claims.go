package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// TokenLimit is the longest token we take, in bytes. No server in front of an API would take a longer one.
const TokenLimit = 64 << 10

// Leeway is how far an issuer's clock may be off.
const Leeway = 60 * time.Second

// Claims are what a token or an endpoint says of someone. Names are case-sensitive.
type Claims map[string]any

// Audience are the values of aud: one text, or a list of them.
func (c Claims) Audience() ([]string, error) {
	switch aud := c["aud"].(type) {
	case string:
		return []string{aud}, nil
	case []any:
		var all []string
		for _, one := range aud {
			text, ok := one.(string)
			if !ok {
				return nil, errors.New("aud is not a list of texts")
			}
			all = append(all, text)
		}
		return all, nil
	}
	return nil, errors.New("aud is missing or malformed")
}

// Time reads a claim in seconds since 1970. Milliseconds, text and numbers out of all reason are no times.
func (c Claims) Time(name string) (time.Time, error) {
	seconds, ok := c[name].(float64)
	if !ok || !(seconds > 0 && seconds < 1e11) {
		return time.Time{}, fmt.Errorf("%s is missing or no time in seconds", name)
	}
	return time.Unix(int64(seconds), 0), nil
}

// Text is a claim that is text, "" for any other.
func (c Claims) Text(name string) string {
	text, _ := c[name].(string)
	return text
}

// Scope reads a scope: names in one text, or in a list, as some issuers have it.
func Scope(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var names []string
		for _, one := range v {
			if name, ok := one.(string); ok {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	return ""
}

// Part decodes the nth of the three parts of a compact JWS.
func Part(token string, n int) ([]byte, bool) {
	parts := strings.Split(token, ".")
	if len(token) > TokenLimit || len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[n])
	return raw, err == nil
}

// Unverified reads the claims of a JWT without its signature: of one that was verified before, or to learn whom to ask. Anything
// else has none.
func Unverified(token string) Claims {
	payload, ok := Part(token, 1)
	if !ok {
		return nil
	}
	var c Claims
	_ = json.Unmarshal(payload, &c) // no JSON: no claims
	return c
}
