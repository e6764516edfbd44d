package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
)

// newLab puts the laboratory into the demonstration. All that it knows of it is here.
func newLab(s sockets, base *url.URL, gateways *house, p *provider, api http.Handler, db string) *lab.Lab {
	issuer, _ := url.Parse(s.issuer)
	return lab.New(lab.World{
		App: base, Issuer: issuer, Sibling: s.sibling, Foreign: s.foreign, Baseline: s.bare,
		Gateway: gateways, API: api, Client: &http.Client{Transport: http.DefaultTransport},
		Mode: func() (storage, delivery string) { m := gateways.mode(); return m.Storage, m.Delivery },
		Use: func(storage, delivery string) error {
			return gateways.use(Mode{storage, delivery, gateways.mode().CSRF})
		},
		At: func(storage, delivery string) (http.Handler, error) {
			return gateways.at(Mode{storage, delivery, gateways.mode().CSRF})
		},
		Issued: p.issued,
		Enter: func(username string) *http.Cookie {
			who := signIn{person: p.ledger.meet(username), sid: rand.Text(), at: time.Now()}
			return &http.Cookie{Name: signInCookie, Value: p.signIns.put(who), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
		},
		Mint: func(username string) (lab.Tokens, error) {
			f := family{Person: p.ledger.meet(username), SID: rand.Text(), Scope: "openid profile email", SignedIn: time.Now()}
			id, refresh, err := p.ledger.found(f)
			if err != nil {
				return lab.Tokens{}, err
			}
			return tokensOf(p.issue(f, id, refresh, ""))
		},
		Refresh: func(refresh string) (lab.Tokens, error) {
			return tokensOf(p.refresh(url.Values{"refresh_token": {refresh}}))
		},
		Good:   p.ledger.good,
		Stored: func(context.Context) ([]byte, error) { return stored(db) },
		Policy: starterPolicy,
	})
}

func tokensOf(answer map[string]any, err error) (lab.Tokens, error) {
	if err != nil {
		return lab.Tokens{}, err
	}
	access, _ := answer["access_token"].(string)
	refresh, _ := answer["refresh_token"].(string)
	return lab.Tokens{Access: access, Refresh: refresh}, nil
}

// stored reads the database as a thief does: the file and what SQLite keeps beside it.
func stored(path string) ([]byte, error) {
	var all []byte
	for _, suffix := range []string{"", "-wal", "-journal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = append(all, text...)
	}
	return all, nil
}

// starterPolicy is what the gateway puts on pages that name no policy, as docs/security.md has it.
var starterPolicy = strings.Join([]string{
	"default-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:", "font-src 'self' data:",
	"object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'",
}, "; ")
