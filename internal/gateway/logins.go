package gateway

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/session"
)

// Limits of the logins that one browser has in flight. Three cookies of ordinary size, or one large one.
const (
	maxLogins     = 3
	maxLoginBytes = 1020
	maxReturnTo   = 512 // a longer path comes back without its query, or to the start page
)

// logins keeps each login in flight in a sealed cookie of its own, so that several tabs can sign in at once.
type logins struct {
	jar   cookie.Jar
	box   *seal.Box
	notes *storage.Notes
}

// idOf is the part of a state that names its cookie.
func idOf(state string) string { return state[:10] }

// Start puts a login into the browser and drops the oldest ones beyond the limits.
func (l *logins) Start(w http.ResponseWriter, r *http.Request, p session.Pending, formPost bool) {
	name := l.jar.Login(idOf(p.State()))
	value := base64.RawURLEncoding.EncodeToString(l.box.Seal(encodePending(p), []byte(name)))
	sameSite := sameSiteOf(formPost)

	others := l.inFlight(r)
	slices.SortFunc(others, func(a, b inFlight) int { return b.started.Compare(a.started) }) // youngest first
	size, kept := len(name)+len(value), 1
	for _, o := range others {
		size += o.size
		kept++
		if kept > maxLogins || size > maxLoginBytes || o.stale {
			l.jar.Clear(w, o.name, sameSite)
		}
	}
	l.jar.Set(w, name, value, cookie.Attributes{SameSite: sameSite, MaxAge: session.LoginLifetime})
}

// Keep puts a login that is in the browser there again, changed. It lasts no longer.
func (l *logins) Keep(w http.ResponseWriter, p session.Pending) {
	name := l.jar.Login(idOf(p.State()))
	value := base64.RawURLEncoding.EncodeToString(l.box.Seal(encodePending(p), []byte(name)))
	l.jar.Set(w, name, value, cookie.Attributes{SameSite: sameSiteOf(false), MaxAge: session.LoginLifetime - time.Since(p.Started)})
}

func sameSiteOf(formPost bool) http.SameSite {
	if formPost {
		return http.SameSiteNoneMode // the provider's form is a cross-site POST, which Lax cookies stay away from
	}
	return http.SameSiteLaxMode
}

// Follow tells the other logins of this browser that a session began: theirs will replace it. Their callbacks come from another
// site and cannot see its Strict cookie.
func (l *logins) Follow(w http.ResponseWriter, r *http.Request, done session.Pending, id session.ID, formPost func(session.Pending) bool) {
	own, prefix, told := l.jar.Login(idOf(done.State())), l.jar.Login(""), 0
	cookie.Each(r, func(name, value string) {
		if name == own || !strings.HasPrefix(name, prefix) || told == maxLogins {
			return
		}
		p, ok := l.open(name, value)
		left := session.LoginLifetime - time.Since(p.Started)
		if !ok || left < time.Second {
			return
		}
		told++
		p.Replaces = id
		value = base64.RawURLEncoding.EncodeToString(l.box.Seal(encodePending(p), []byte(name)))
		l.jar.Set(w, name, value, cookie.Attributes{SameSite: sameSiteOf(formPost(p)), MaxAge: left})
	})
}

type inFlight struct {
	name    string
	size    int
	started time.Time
	stale   bool
}

func (l *logins) inFlight(r *http.Request) []inFlight {
	var found []inFlight
	prefix := l.jar.Login("")
	cookie.Each(r, func(name, value string) {
		if !strings.HasPrefix(name, prefix) || len(found) > 64 {
			return
		}
		f := inFlight{name: name, size: len(name) + len(value), stale: true}
		if p, ok := l.open(name, value); ok {
			f.started, f.stale = p.Started, time.Since(p.Started) > session.LoginLifetime
		}
		found = append(found, f)
	})
	return found
}

// Find returns the login that state belongs to, if this browser began it and its time is not over. LoginLost otherwise.
func (l *logins) Find(r *http.Request, state string) (session.Pending, error) {
	lost := func(why string) (session.Pending, error) {
		return session.Pending{}, session.Fail(session.LoginLost, "find login", "%s", why)
	}
	if len(state) != session.StateSize {
		return lost("no state of ours")
	}
	name := l.jar.Login(idOf(state))
	value, count := cookie.Get(r, name)
	if count != 1 {
		return lost("no login cookie for this state")
	}
	p, ok := l.open(name, value)
	switch {
	case !ok:
		return lost("the login cookie cannot be opened")
	case time.Since(p.Started) > session.LoginLifetime || time.Until(p.Started) > time.Minute:
		return lost("the login took too long")
	case !seal.Equal([]byte(p.State()), []byte(state)):
		return lost("the state is not this login's")
	}
	return p, nil
}

// Spend uses a login up, whatever comes of it: its cookie goes, and its name stays in the store until it would have expired
// anyway, so that a copy of the cookie is worth nothing either. LoginSpent: it was used before.
func (l *logins) Spend(ctx context.Context, w http.ResponseWriter, p session.Pending, formPost bool) error {
	l.jar.Clear(w, l.jar.Login(idOf(p.State())), sameSiteOf(formPost))
	err := l.notes.Put(ctx, "login", p.State(), nil, session.LoginLifetime+time.Minute)
	if session.CodeOf(err) == session.Conflict {
		return &session.Error{Code: session.LoginSpent, Op: "spend login", Err: err}
	}
	return err
}

func (l *logins) open(name, value string) (session.Pending, bool) {
	if len(value) > 2*maxLoginBytes {
		return session.Pending{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return session.Pending{}, false
	}
	text, err := l.box.Open(raw, []byte(name))
	if err != nil {
		return session.Pending{}, false
	}
	return decodePending(text)
}

const pendingVersion = 1

// encodePending packs a login tightly: browsers and servers count every byte of a cookie.
// version ‖ flags ‖ round ‖ seconds ‖ secret ‖ [replaced session] ‖ provider ‖ 0 ‖ issuer ‖ 0 ‖ return path
func encodePending(p session.Pending) []byte {
	var flags byte
	if p.Remember {
		flags |= 1
	}
	replaces := p.Replaces != session.ID{}
	if replaces {
		flags |= 2
	}
	b := []byte{pendingVersion, flags, byte(p.Round)}
	b = binary.BigEndian.AppendUint32(b, uint32(p.Started.Unix()))
	b = append(b, p.Secret[:]...)
	if replaces {
		b = append(b, p.Replaces[:]...)
	}
	b = append(append(b, p.Provider...), 0)
	b = append(append(b, p.Issuer...), 0)
	return append(b, p.ReturnTo...)
}

func decodePending(b []byte) (session.Pending, bool) {
	const fixed = 3 + 4 + 32
	if len(b) < fixed || b[0] != pendingVersion {
		return session.Pending{}, false
	}
	p := session.Pending{
		Remember: b[1]&1 != 0, Round: int(b[2]), Started: time.Unix(int64(binary.BigEndian.Uint32(b[3:])), 0),
		Secret: [32]byte(b[7:39]),
	}
	rest := b[fixed:]
	if b[1]&2 != 0 {
		if len(rest) < 32 {
			return session.Pending{}, false
		}
		p.Replaces, rest = session.ID(rest[:32]), rest[32:]
	}
	parts := strings.SplitN(string(rest), "\x00", 3)
	if len(parts) != 3 {
		return session.Pending{}, false
	}
	p.Provider, p.Issuer, p.ReturnTo = parts[0], parts[1], parts[2]
	return p, true
}
