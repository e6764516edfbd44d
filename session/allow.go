package session

import (
	"slices"
	"strings"
)

// Allow says who may enter. Every part that is set must hold; the zero value lets everyone in who signed in.
type Allow struct {
	EmailDomains []string            // the e-mail's domain is one of these, and the provider does not call it unverified
	Groups       []string            // the claim "groups" has one of these
	Claims       map[string][]string // each claim has one of its values; a list claim has it among its entries
}

// Permits reports whether the person of g may enter. A claim that is missing never permits.
func (a *Allow) Permits(g *Grant) bool {
	if a == nil {
		return true
	}
	if len(a.EmailDomains) > 0 && !a.permitsEmail(g) {
		return false
	}
	if len(a.Groups) > 0 && !hasOneOf(g.Claims["groups"], a.Groups) {
		return false
	}
	for name, values := range a.Claims {
		if !hasOneOf(g.Claims[name], values) {
			return false
		}
	}
	return true
}

func (a *Allow) permitsEmail(g *Grant) bool {
	email, _ := g.Claims["email"].(string)
	at := strings.LastIndexByte(email, '@')
	if at < 1 {
		return false
	}
	// Without the claim nobody says that the address is the person's: some providers let people type in any.
	if verified := g.Claims["email_verified"]; verified != true && verified != "true" { // some send the boolean as text
		return false
	}
	return slices.ContainsFunc(a.EmailDomains, func(domain string) bool { return strings.EqualFold(domain, email[at+1:]) })
}

func hasOneOf(claim any, values []string) bool {
	switch v := claim.(type) {
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return hasOneOf(one, values) })
	case nil:
		return false
	default:
		g := Grant{Claims: map[string]any{"": v}}
		return slices.Contains(values, g.Claim(""))
	}
}
