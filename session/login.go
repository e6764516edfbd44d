package session

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// LoginLifetime is how long a login may take, from the redirect to the answer.
const LoginLifetime = 10 * time.Minute

// MaxRounds is how often a login may start over by itself before the person is told what is wrong.
const MaxRounds = 5

// Intent is what a login is asked to do.
type Intent struct {
	Register  bool   // show the sign-up page
	Prompt    string // OIDC Core §3.1.2.1: "", none, login, consent, select_account
	LoginHint string // at most 256 bytes
	ReturnTo  string // path on our own origin, already checked
	Replaces  ID     // the session that this login ends, zero for none
	Remember  bool   // ask for a persistent cookie
	Round     int    // how often this login has started over by itself, 0 to MaxRounds
}

// Pending is a login in flight, as its sealed cookie holds it. State, nonce and PKCE verifier are derived from one secret of
// 256 bits, which keeps the cookie small; none of them tells anything about the others.
type Pending struct {
	Provider string // its name in the configuration
	Issuer   string // where the login went; compared again when it is answered
	Secret   [32]byte
	ReturnTo string
	Replaces ID
	Started  time.Time // whole seconds
	Remember bool
	Round    int
}

// NewPending returns a login that starts now, with a fresh secret.
func NewPending(provider, issuer string, in Intent) Pending {
	p := Pending{
		Provider: provider, Issuer: issuer, ReturnTo: in.ReturnTo, Replaces: in.Replaces,
		Started: time.Now().Truncate(time.Second), Remember: in.Remember, Round: in.Round,
	}
	copy(p.Secret[:], seal.Random(len(p.Secret)))
	return p
}

// StateSize is how many characters a state has.
const StateSize = 33

// State is the state parameter (RFC 6749 §4.1.1): 32 characters that carry 192 bits, and one digit that counts rounds, so
// that a loop is seen even in a browser that keeps no cookie.
func (p Pending) State() string {
	return p.derive("state")[:StateSize-1] + strconv.Itoa(min(max(p.Round, 0), MaxRounds))
}

// Nonce is the nonce of the ID token (OIDC Core §3.1.2.1), 43 characters.
func (p Pending) Nonce() string { return p.derive("nonce") }

// Verifier is the PKCE code verifier (RFC 7636 §4.1), 43 characters.
func (p Pending) Verifier() string { return p.derive("verifier") }

// Challenge is the S256 code challenge of Verifier (RFC 7636 §4.2).
func (p Pending) Challenge() string {
	sum := sha256.Sum256([]byte(p.Verifier()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (p Pending) derive(what string) string {
	sum := seal.Derive(p.Secret[:], "login "+what)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// RoundOf reads the round from a state that matches no login here. Anything that is no state of ours is round 0.
func RoundOf(state string) int {
	if len(state) != StateSize {
		return 0
	}
	digit := state[StateSize-1]
	if digit < '0' || digit > '0'+MaxRounds {
		return 0
	}
	return int(digit - '0')
}
