package config

import (
	"math"
	"regexp"
	"slices"
	"strings"
)

// ours begins the names of the variables that take the place of options.
const ours = "CLOAKROOM_"

// environment is the variables, and which of them meant something.
type environment struct {
	vars map[string]string
	used map[string]bool
}

func newEnvironment(environ []string) environment {
	e := environment{vars: make(map[string]string, len(environ)), used: map[string]bool{}}
	for _, one := range environ {
		if name, text, ok := strings.Cut(one, "="); ok {
			e.vars[name] = text
		}
	}
	return e
}

// has reports whether a variable is set, and notes that an option goes by that name.
func (e environment) has(name string) bool {
	e.used[name] = true
	_, ok := e.vars[name]
	return ok
}

// variableOf returns the variable that goes before an option: session.same_site is CLOAKROOM_SESSION__SAME_SITE, routes[0].auth
// is CLOAKROOM_ROUTES__0__AUTH.
func variableOf(key string) string {
	return ours + strings.ToUpper(strings.NewReplacer(".", "__", "[", "__", "]", "", "-", "_").Replace(key))
}

// serviceLink are the variables that Kubernetes sets in every container for a service called cloakroom.
var serviceLink = regexp.MustCompile(`^CLOAKROOM_(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// strangers reports variables that look like options and are none.
func (r *reading) strangers() {
	var known, strange []string
	for name := range r.env.used {
		if strings.HasPrefix(name, ours) {
			known = append(known, name)
		}
	}
	for name := range r.env.vars {
		if strings.HasPrefix(name, ours) && !r.env.used[name] && !serviceLink.MatchString(name) {
			strange = append(strange, name)
		}
	}
	slices.Sort(known)
	slices.Sort(strange)
	for _, name := range strange {
		r.wrong(place{env: name}, "there is no such option%s", didYouMeanVariable(name, known))
	}
}

// didYouMeanVariable measures only what stands behind the letters that two names begin with: all of them begin alike, and a
// long beginning would make every other name look near.
func didYouMeanVariable(name string, known []string) string {
	best, least := "", math.MaxInt
	for _, k := range known {
		a, b := plain(name), plain(k)
		for a != "" && b != "" && a[0] == b[0] {
			a, b = a[1:], b[1:]
		}
		if d := distance(a, b); d <= tolerance(a) && d < least {
			best, least = k, d
		}
	}
	return guess(best)
}
