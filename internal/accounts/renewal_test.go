package accounts

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// visitor is a browser with a session at the accounts, without the network in between.
type visitor struct {
	desk    *session.Desk
	cookies map[string]string
}

func (v *visitor) copy() *visitor {
	c := &visitor{v.desk, map[string]string{}}
	for name, value := range v.cookies {
		c.cookies[name] = value
	}
	return c
}

// use makes a request, and keeps the cookies that come with its answer.
func (v *visitor) use() (*session.Session, error) {
	r, w := httptest.NewRequest(http.MethodGet, "https://app.example.com/api/me", nil), httptest.NewRecorder()
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	s, err := v.desk.Use(context.Background(), r)
	if err == nil {
		v.desk.Write(w, r, s)
	}
	for _, c := range w.Result().Cookies() {
		v.cookies[c.Name] = c.Value
	}
	return s, err
}

// signedIn opens a session for an account, in a storage of that name.
func (a *Accounts) signedIn(t *testing.T, ctx context.Context, resting string, account *Account) *visitor {
	t.Helper()
	own, err := origin.Parse("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	lives := session.Options{Idle: 30 * time.Minute, Absolute: 8 * time.Hour, CacheStale: 10 * time.Second}
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	sessions, err := storage.New(ctx, store, somewhere.Ring, own, cookie.New(true, ""), lives, storage.Options{Storage: resting})
	if err != nil {
		t.Fatal(err)
	}
	sink := audit.SinkFunc(func(context.Context, audit.Event) {})
	renewer := session.NewRenewer(sessions, func(string) (session.Provider, bool) { return a, true }, sink, someAPI)
	v := &visitor{session.NewDesk(sessions, delivery.Proxy{}, renewer, lives, sink), map[string]string{}}
	now := time.Now().Round(0)
	s, err := sessions.Update(ctx, &session.Session{
		Grant: a.grant(t, account), Life: session.Life{Created: now, Seen: now, Renewed: now, Absolute: now.Add(lives.Absolute)},
	}, func(*session.Session) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	v.desk.Write(w, httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil), s)
	for _, c := range w.Result().Cookies() {
		v.cookies[c.Name] = c.Value
	}
	return v
}

// The ticket is the refresh token: it rotates with renewals, the older one that comes back ends the session for whoever has it, it ends
// when nobody uses it, and none outlives the first one's end.
func TestRenewal_R8_TheTicketIsTheRefreshToken(t *testing.T) {
	for _, resting := range []string{"store", "sealed"} {
		use := func(t *testing.T, do func(t *testing.T, a *Accounts, account *Account, v *visitor)) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(context.Background())
				a := open(t, nil)
				account := a.mustRegister(t, ada)
				do(t, a, account, a.signedIn(t, ctx, resting, account))
				stop()
				synctest.Wait()
			})
		}
		t.Run(resting+"/ReuseEndsTheFamily", func(t *testing.T) {
			use(t, func(t *testing.T, _ *Accounts, _ *Account, v *visitor) {
				if _, err := v.use(); err != nil {
					t.Fatal(err)
				}
				thief := v.copy()
				first, renewals := "", 0
				for range 25 { // of a minute each: the older ticket is not idle for too long
					time.Sleep(time.Minute)
					s, err := v.use()
					if err != nil {
						t.Fatal(err)
					}
					if s.Grant.Tokens.Access != first {
						first, renewals = s.Grant.Tokens.Access, renewals+1
					}
				}
				if renewals < 3 {
					t.Fatalf("%d tokens in 25 minutes", renewals)
				}
				_, err := thief.use()
				wantCode(t, err, session.Stolen)
				if _, err := v.use(); err == nil {
					t.Error("the session goes on after its older ticket came back")
				}
			})
		})
		t.Run(resting+"/NoneOutlivesTheFirst", func(t *testing.T) {
			use(t, func(t *testing.T, _ *Accounts, _ *Account, v *visitor) {
				began := time.Now()
				for {
					time.Sleep(5 * time.Minute)
					if _, err := v.use(); err != nil {
						wantOver(t, err)
						break
					}
				}
				if lived := time.Since(began); lived != 8*time.Hour {
					t.Errorf("renewed for %s", lived)
				}
			})
		})
		t.Run(resting+"/IdleEndsIt", func(t *testing.T) {
			use(t, func(t *testing.T, _ *Accounts, _ *Account, v *visitor) {
				if _, err := v.use(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(31 * time.Minute)
				_, err := v.use()
				wantOver(t, err)
			})
		})
		t.Run(resting+"/AnotherPasswordEndsIt", func(t *testing.T) {
			use(t, func(t *testing.T, a *Accounts, account *Account, v *visitor) {
				if _, err := v.use(); err != nil {
					t.Fatal(err)
				}
				if _, err := a.changePassword(context.Background(), account.ID, password, "quite another phrase", home); err != nil {
					t.Fatal(err)
				}
				time.Sleep(11 * time.Minute)
				_, err := v.use()
				wantCode(t, err, session.GrantOver)
			})
		})
	}
}

// The token for one API is good whenever it is asked for, comes anew with the session's own and before it is over, and ends with the
// credentials.
func TestRenewal_P8_TokenForOneAPI(t *testing.T) {
	for _, resting := range []string{"store", "sealed"} {
		t.Run(resting, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(context.Background())
				a := open(t, nil)
				account := a.mustRegister(t, ada)
				v := a.signedIn(t, ctx, resting, account)
				tokens, owns := map[string]bool{}, map[string]bool{}
				next := func() error {
					s, err := v.use()
					if err != nil {
						return err
					}
					owns[s.Grant.Tokens.Access] = true
					seen, err := v.desk.For(ctx, s, someAPI)
					if err != nil {
						return err
					}
					g, err := a.VerifyAccess(ctx, seen.Grant.Tokens.Access, someAPI)
					if err != nil || g.Subject != account.ID || seen.Grant.Tokens.Refresh != "" || seen.Secret != nil {
						t.Fatalf("%v: %+v", err, seen)
					}
					tokens[seen.Grant.Tokens.Access] = true
					return nil
				}
				for range 60 {
					time.Sleep(30 * time.Second)
					if err := next(); err != nil {
						t.Fatal(err)
					}
				}
				if len(owns) < 4 || len(tokens) < len(owns) || len(tokens) > len(owns)+1 {
					t.Errorf("%d tokens with %d of the session's own", len(tokens), len(owns))
				}
				if _, err := a.changePassword(ctx, account.ID, password, "quite another phrase", home); err != nil {
					t.Fatal(err)
				}
				time.Sleep(11 * time.Minute)
				wantCode(t, next(), session.GrantOver)
				stop()
				synctest.Wait()
			})
		})
	}
}

// wantOver wants a session whose time is over. A store may have forgotten it by then.
func wantOver(t *testing.T, err error) {
	t.Helper()
	if code := session.CodeOf(err); code != session.Expired && code != session.None {
		t.Errorf("code %q: %v", code, err)
	}
}
