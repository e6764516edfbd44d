// Package demo is everything behind "cloakroom demo": an identity provider for demonstrations, a small API, a single-page app,
// and the gateway between them. It is built on what any user of the library has.
package demo

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// Options are what a demonstration obeys.
type Options struct {
	Listen      string        // host and port on this machine; default 127.0.0.1:8080
	Dir         string        // where sessions, keys and refresh tokens rest; made if it is missing; survives restarts
	Log         *slog.Logger  // default: slog.Default()
	AccessToken time.Duration // how long access tokens live; at least a second, default 30 s
	Mode        Mode          // at the beginning; the page can change it
	Accounts    bool          // people register at the gateway itself, and there is no provider and no laboratory

	// What browsers know it by, where that is not http and Listen: with https there is a certificate.
	URL, TLSCert, TLSKey string
	// What browsers know the laboratory's attacker by: a host of the app's site, and one of another. Both lead to this machine.
	Sibling, Foreign string
}

//go:embed app
var appFiles embed.FS

// Run serves the demonstration until ctx ends, then lets the requests in flight finish. It calls ready once, when everything
// answers. It refuses to listen to other machines: everyone can sign in as anyone here.
func Run(ctx context.Context, o Options, ready func(url string)) error {
	if err := o.complete(); err != nil {
		return err
	}
	kept, err := openFolder(ctx, o)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer kept.close()
	s, err := listen(o, kept.ledger)
	if err != nil {
		return err
	}
	defer s.close()
	base, err := url.Parse(s.url)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	events := newJournal(ctx.Done())
	client := relyingParty{
		id: "cloakroom-demo", secret: kept.ledger.page.ClientSecret,
		redirect: s.url + "/auth/callback", signedOut: []string{s.url + "/auth/signed-out"},
	}
	gateways := &house{laboratory: !o.Accounts, accounts: o.Accounts, build: func(m Mode) (*cloakroom.Gateway, error) {
		cfg := kept.config(o, m, s, client)
		cfg.Observe = cloakroom.Observe{Log: o.Log, Audit: audit.Tee(events, audit.Log(o.Log))}
		// The gateway outlives ctx by the requests that are in flight then.
		return cloakroom.New(context.WithoutCancel(ctx), cfg)
	}}
	if err := gateways.use(o.Mode); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	issuer, fetch := s.issuer, &http.Client{}
	if o.Accounts {
		issuer, fetch = s.url+"/auth", atFront(s)
	}
	keys := &remoteKeys{url: issuer + "/jwks", client: fetch}
	p := newProvider(s.issuer, client, o.AccessToken, kept.ledger, events.note)
	behind := newAPI(verifier{issuer: issuer, keys: keys.find}, tokenCookiesOf(base), ctx.Done())
	lab := newLab(s, base, gateways, p, behind, kept.path)
	signIn := p.handler(lab.Enter)
	if o.Accounts {
		signIn = http.NotFoundHandler()
	}
	return s.serve(ctx, o, handlers{
		front:    newFront(gateways, base, events, lab),
		provider: signIn,
		api:      behind,
		attacker: lab.Attacker(),
		baseline: lab.BaselineApp(),
		drained:  gateways.close,
	}, func() { ready(s.url) })
}

// folder is what a demonstration has on its disk.
type folder struct {
	path   string // of the store
	store  session.Store
	ledger *ledger
	app    string  // a folder with the page, as long as the demonstration runs
	people *sql.DB // nil: they are the provider's

	undo []func() // closes what is open, the last one first
}

func openFolder(ctx context.Context, o Options) (f *folder, err error) {
	f = &folder{path: filepath.Join(o.Dir, "demo.db")}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return f, err
	}
	// The store is first: it is locked by the one process that serves it, and so is everything beside it.
	store, err := sqlite.Open(ctx, f.path)
	if session.CodeOf(err) == session.Unavailable {
		err = &session.Error{Code: session.Unavailable, Err: err, Hint: "if another demonstration runs, end it, or give this one a folder of its own: --dir FOLDER"}
	}
	if err != nil {
		return f, err
	}
	f.store, f.undo = store, append(f.undo, func() { store.Close() })
	if f.ledger, err = openLedger(filepath.Join(o.Dir, "demo.json"), cloakroom.NewKey); err != nil {
		return f, err
	}
	if f.app, err = os.MkdirTemp("", "cloakroom-demo-*"); err != nil {
		return f, err
	}
	f.undo = append(f.undo, func() { os.RemoveAll(f.app) })
	if err := unpack(f.app, !o.Accounts); err != nil {
		return f, fmt.Errorf("unpack the page: %w", err)
	}
	if !o.Accounts {
		return f, nil
	}
	if f.people, err = openPeople(ctx, o); err != nil {
		return f, err
	}
	f.undo = append(f.undo, func() { f.people.Close() })
	return f, nil
}

func (f *folder) close() {
	for _, undo := range slices.Backward(f.undo) {
		undo()
	}
}

// config is that of a gateway in one of its modes.
func (f *folder) config(o Options, m Mode, s sockets, client relyingParty) cloakroom.Config {
	cfg := cloakroom.Config{
		URL:   s.url,
		Keys:  []string{f.ledger.page.GatewayKey},
		Store: f.store,
		Providers: map[string]cloakroom.Provider{
			"demo": {Issuer: s.issuer, ClientID: client.id, ClientSecret: client.secret},
		},
		Cookie:    cloakroom.CookieOptions{Storage: m.Storage},
		Tokens:    cloakroom.TokenOptions{Delivery: m.Delivery},
		Guard:     cloakroom.GuardOptions{CSRF: m.CSRF},
		Endpoints: cloakroom.EndpointOptions{SignedOut: "/", LoginsPer: 600}, // the laboratory signs in often
		Routes:    append([]cloakroom.Route{{Path: "/api/", Upstream: "http://" + s.api[0].Addr().String()}}, routesTo(f.app, !o.Accounts)...),
	}
	if o.Accounts {
		withPeople(&cfg, f.people, o)
	}
	return cfg
}

func (o *Options) complete() error {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8080"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.AccessToken < time.Second {
		o.AccessToken = 30 * time.Second
	}
	if err := checkLoopback(o.Listen); err != nil {
		return err
	}
	if o.Dir == "" {
		return errors.New("demo: no folder to keep its state in")
	}
	return o.Mode.complete()
}

// routesTo are the routes to the files in the folder app. The laboratory signs in at the provider, so there is none without one.
func routesTo(app string, laboratory bool) []cloakroom.Route {
	page := cloakroom.Route{Path: "/", Files: app, Auth: cloakroom.AuthOff}
	page.File.CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	if !laboratory {
		return []cloakroom.Route{page}
	}
	// Its pages have the policy that every app begins with, and once none.
	withPolicy := cloakroom.Route{Path: "/lab/", Files: filepath.Join(app, "lab"), Auth: cloakroom.AuthOff}
	without := cloakroom.Route{Path: "/lab/open/", Files: filepath.Join(app, "lab"), Auth: cloakroom.AuthOff}
	without.File.CSP = "off"
	return []cloakroom.Route{page, withPolicy, without}
}

// unpack writes the page's files into a folder, and those of the laboratory.
func unpack(dir string, laboratory bool) error {
	files, err := fs.Sub(appFiles, "app")
	if err != nil {
		return err
	}
	err = os.CopyFS(dir, files)
	if laboratory {
		err = errors.Join(err, os.CopyFS(filepath.Join(dir, "lab"), lab.AppFiles()))
	}
	return err
}
