package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What a thief does with what he has copied.

// profile is what a copy of the browser's profile holds: cookies, and what storages keep on the disk.
type profile struct {
	cookies string
	stored  []string
}

func (p *profile) hear(v *visit) func(json.RawMessage) error {
	return func(text json.RawMessage) error {
		p.cookies = v.cookies
		var seen struct{ Stored []string }
		err := json.Unmarshal(text, &seen)
		p.stored = seen.Stored
		return err
	}
}

// tokens are those that lie in a profile, or that its cookies give to whoever asks.
func (p *profile) tokens(ctx context.Context, v *visit) ([]string, error) {
	list := append([]string(nil), p.stored...)
	half := map[string]string{}
	for _, c := range pairs(p.cookies) {
		switch {
		case c.Name == tokenCookie && v.column.Keep == "cookie":
			list = append(list, c.Value)
		case strings.HasSuffix(c.Name, "-access_token"):
			list = append(list, c.Value)
			half["claims"] = c.Value
		case strings.HasSuffix(c.Name, "-access_token.sig"):
			half["signature"] = c.Value
		}
	}
	if len(half) == 2 {
		list = append(list, half["claims"]+"."+half["signature"])
	}
	if v.column.Delivery == "memory" {
		token, err := v.askToken(ctx, p.cookies)
		if err != nil {
			return nil, err
		}
		list = append(list, token)
	}
	return list, nil
}

// use tries a profile elsewhere: whether its cookies open the app as the victim, and what its tokens are worth.
func (p *profile) use(ctx context.Context, v *visit, tokens []string) (session bool, token string, err error) {
	loot := []find{}
	for _, t := range tokens {
		loot = append(loot, find{"", t})
	}
	token, _ = v.worth(ctx, loot)
	if v.column.Baseline() {
		return false, token, nil
	}
	who, err := v.known(ctx, victim)
	if err != nil {
		return false, "", err
	}
	session, err = v.isOpen(ctx, p.cookies, who)
	return session, token, err
}

// isOpen reports whether cookies open the app as somebody.
func (v *visit) isOpen(ctx context.Context, cookies string, who person) (bool, error) {
	got, err := v.callAs(ctx, cookies)
	var p person
	return err == nil && got.status == http.StatusOK && json.Unmarshal(got.body, &p) == nil && p.Subject == who.Subject, err
}

// copyProfile uses a copy of the browser's profile on another machine while the person is signed in.
func copyProfile(v *visit) attack {
	var p profile
	return attack{
		stops: []stop{{at: app, hear: p.hear(v)}},
		judge: func(ctx context.Context) (string, string, error) {
			tokens, err := p.tokens(ctx, v)
			if err != nil {
				return "", "", err
			}
			session, token, err := p.use(ctx, v, tokens)
			switch {
			case err != nil:
				return "", "", err
			case token == "refresh", token == "access":
				return token, "", nil
			case session:
				return "session", "", nil
			}
			return "nothing", "", nil
		},
	}
}

// replayLogout copies the profile, and uses it when the person has signed out.
func replayLogout(v *visit) attack {
	var p profile
	var tokens []string
	return attack{
		stops: []stop{
			{at: app, hear: func(text json.RawMessage) (err error) {
				if err = p.hear(v)(text); err == nil {
					tokens, err = p.tokens(v.run.ctx, v)
				}
				return err
			}},
			{at: app},
		},
		judge: func(ctx context.Context) (string, string, error) {
			session, token, err := p.use(ctx, v, tokens)
			switch {
			case err != nil:
				return "", "", err
			case session:
				return "session", "", nil
			case token == "refresh", token == "access":
				return token, "", nil
			}
			return "nothing", "", nil
		},
	}
}

// readDatabase looks for anything of use in a copy of the database, and in the sealed cookies of one who has no key.
func readDatabase(v *visit) attack {
	return attack{
		stops: []stop{{at: app}},
		judge: func(ctx context.Context) (string, string, error) {
			if v.column.Baseline() {
				return "absent", "", nil
			}
			copied, err := v.Stored(ctx)
			if err != nil {
				return "", "", err
			}
			size := len(copied)
			secrets := v.Issued()
			for _, c := range pairs(v.cookies) {
				switch {
				case strings.HasSuffix(c.Name, "session"): // a ticket: what the database must not give away
					secrets = append(secrets, c.Value)
				case strings.Contains(c.Name, "session."): // a sealed session: what a thief has who has no key
					copied = append(append(copied, c.Value...), decoded(c.Value)...)
				}
			}
			if len(copied) == 0 || len(secrets) == 0 {
				return "", "", errors.New("there is nothing to look at")
			}
			for _, s := range secrets {
				if holds(copied, s) {
					return "token", "", nil
				}
			}
			for _, claim := range []string{victim + "@demo.example", `"name"`, `"sub"`} {
				if bytes.Contains(copied, []byte(claim)) {
					return "claims", claim, nil
				}
			}
			return "nothing", fmt.Sprintf("%d bytes searched for %d secrets", size, len(secrets)), nil
		},
	}
}

// holds reports whether a secret is in text, as it is or without the base64 of its parts.
func holds(text []byte, secret string) bool {
	if bytes.Contains(text, []byte(secret)) {
		return true
	}
	for part := range strings.SplitSeq(secret, ".") {
		if raw := decoded(part); len(raw) >= 24 && bytes.Contains(text, raw) {
			return true
		}
	}
	return false
}

func decoded(text string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return raw
}

// waits are how long the owner uses a session until a renewal brings another ticket (the last of these waits first), and how long then
// until the old one is dead.
// Both storages allow 30 s in which answers may be on their way. A ticket is exchanged when it has been in use for two of these, and
// the one before is dead after one more; sealed cookies are exchanged with every renewal, which nobody gets within 10 s, and are dead
// after one until the newer ones count as having arrived, and one more.
var waits = map[string]struct{ renewal, grace []time.Duration }{
	"store":  {[]time.Duration{11 * time.Second, 25 * time.Second, 25 * time.Second}, []time.Duration{31 * time.Second}},
	"sealed": {[]time.Duration{11 * time.Second}, []time.Duration{31 * time.Second, 31 * time.Second}},
}

// aged is a device of the victim's whose ticket has been renewed, and the cookies of before.
type aged struct {
	*device
	v      *visit
	before string
	who    person
}

func (v *visit) newAged(ctx context.Context) (*aged, error) {
	d, _, err := v.signedIn(ctx, victim)
	if err != nil {
		return nil, err
	}
	a := &aged{device: d, v: v}
	if a.who, err = v.known(ctx, victim); err != nil {
		return nil, err
	}
	if _, err := a.present(ctx); err != nil {
		return nil, err
	}
	w := waits[v.column.Storage].renewal
	if err := a.pass(ctx, w[1:]); err != nil {
		return nil, err
	}
	a.before = joined(a.Jar.Cookies(v.App))
	return a, sleep(ctx, w[0])
}

// present uses the app as the owner does.
func (a *aged) present(ctx context.Context) (bool, error) {
	got, err := a.own(ctx, http.MethodGet, "/auth/session")
	if err == nil {
		_, err = a.own(ctx, http.MethodGet, "/api/me") // in memory mode it is refused, and is a visit all the same
	}
	return bytes.Contains(got.body, []byte(a.who.Subject)), err
}

func (a *aged) own(ctx context.Context, method, path string) (reply, error) {
	return a.as(ctx, method, a.v.App, path, nil)
}

// renew has the owner's session renewed, and presents what came of it.
func (a *aged) renew(ctx context.Context) error {
	got, err := a.own(ctx, http.MethodPost, "/auth/refresh")
	if err != nil {
		return err
	}
	if got.status != http.StatusNoContent || joined(a.Jar.Cookies(a.v.App)) == a.before {
		return errors.New("the session was not renewed")
	}
	_, err = a.present(ctx)
	return err
}

// pass lets time go by, while the owner goes on.
func (a *aged) pass(ctx context.Context, by []time.Duration) error {
	for _, d := range by {
		if err := sleep(ctx, d); err != nil {
			return err
		}
		for range 2 { // a token that is renewed while an answer is made comes with the next one
			if alive, err := a.present(ctx); err != nil || !alive {
				return errors.Join(errors.New("the owner's session did not go on"), err)
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replayRotated uses the ticket of before a renewal when every grace is over.
func replayRotated(v *visit) attack {
	if v.column.Baseline() {
		return attack{judge: func(ctx context.Context) (string, string, error) {
			old, err := v.Mint(victim)
			if err == nil {
				_, err = v.World.Refresh(old.Refresh)
			}
			if err != nil {
				return "", "", err
			}
			if _, ok := v.opens(ctx, old.Access); ok {
				return "token", "", nil
			}
			return "dead", "", nil
		}}
	}
	return attack{beside: true, judge: func(ctx context.Context) (string, string, error) {
		a, err := v.newAged(ctx)
		if err != nil {
			return "", "", err
		}
		p := profile{cookies: a.before}
		tokens, err := p.tokens(ctx, v)
		if err == nil {
			err = a.renew(ctx)
		}
		if err != nil {
			return "", "", err
		}
		_, token, err := p.use(ctx, v, tokens[:min(len(tokens), 8)])
		if err == nil {
			err = a.pass(ctx, waits[v.column.Storage].grace)
		}
		if err != nil {
			return "", "", err
		}
		session, err := v.isOpen(ctx, a.before, a.who)
		if err != nil {
			return "", "", err
		}
		alive, err := a.present(ctx)
		seen := "the owner is signed out as well: two had the session"
		if alive {
			seen = "the owner goes on"
		}
		switch {
		case session:
			return "session", seen, err
		case token == "access":
			return "token", seen, err
		}
		return "dead", seen, err
	}}
}

// reuseRefresh asks for what came of a renewal with the cookies of before it: at once, and when every grace is over.
func reuseRefresh(v *visit) attack {
	if v.column.Baseline() {
		return attack{judge: func(ctx context.Context) (string, string, error) {
			if v.column.Keep == "cookie" {
				return "absent", "", nil
			}
			old, err := v.Mint(victim)
			if err == nil {
				_, err = v.World.Refresh(old.Refresh)
			}
			if err != nil {
				return "", "", err
			}
			if t, err := v.World.Refresh(old.Refresh); err == nil && t.Access != "" {
				return "again", "", nil
			}
			return "refused", "the provider ended all that came of this login", nil
		}}
	}
	return attack{beside: true, judge: func(ctx context.Context) (string, string, error) {
		a, err := v.newAged(ctx)
		if err == nil {
			err = a.renew(ctx)
		}
		if err != nil {
			return "", "", err
		}
		within, err := v.renewedBy(ctx, a.before, a.who)
		if err == nil {
			err = a.pass(ctx, waits[v.column.Storage].grace)
		}
		if err != nil {
			return "", "", err
		}
		after, err := v.renewedBy(ctx, a.before, a.who)
		switch {
		case after:
			return "again", "", err
		case within:
			return "grace", "", err
		}
		return "refused", "", err
	}}
}

// renewedBy asks POST /auth/refresh with copied cookies, from another machine, and reports whether what it sets opens the app.
func (v *visit) renewedBy(ctx context.Context, cookies string, who person) (bool, error) {
	d := v.newDevice(v.App, v.gateway)
	d.Jar.SetCookies(v.App, secured(v.App, pairs(cookies)))
	got, err := d.as(ctx, http.MethodPost, v.App, "/auth/refresh", nil)
	if err != nil || got.status != http.StatusNoContent {
		return false, err
	}
	return v.isOpen(ctx, joined(d.Jar.Cookies(v.App)), who)
}

func secured(u *url.URL, cookies []*http.Cookie) []*http.Cookie {
	for _, c := range cookies {
		c.Path, c.Secure = "/", u.Scheme == "https"
	}
	return cookies
}
