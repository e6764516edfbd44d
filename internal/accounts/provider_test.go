package accounts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

func part(t *testing.T, token string, i int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// begin starts a login at a.
func (a *Accounts) begin(t *testing.T, in session.Intent) (*url.URL, session.Pending) {
	t.Helper()
	to, pending, err := a.Begin(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return to, pending
}

// grant signs an account in.
func (a *Accounts) grant(t *testing.T, account *Account) session.Grant {
	t.Helper()
	_, pending := a.begin(t, session.Intent{})
	g, err := a.Finish(context.Background(), pending, a.Answer(pending, account, "pwd"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestBegin_LeadsToOurPages(t *testing.T) {
	a := open(t, nil)
	closed := open(t, func(o *Options) { o.RegisterOff = true })
	for _, v := range []struct {
		name  string
		a     *Accounts
		in    session.Intent
		path  string
		query []string
	}{
		{"SignIn", a, session.Intent{}, "/auth/sign-in", []string{"state"}},
		{"Hint", a, session.Intent{LoginHint: ada}, "/auth/sign-in", []string{"login_hint", "state"}},
		{"SignUp", a, session.Intent{Register: true}, "/auth/sign-up", []string{"state"}},
		{"SignUpIsOff", closed, session.Intent{Register: true}, "/auth/sign-in", []string{"state"}},
		{"NoPage", a, session.Intent{Prompt: "none"}, "/auth/callback/accounts", []string{"error", "state"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			to, pending := v.a.begin(t, v.in)
			if names := slices.Sorted(maps.Keys(to.Query())); to.Scheme+"://"+to.Host != somewhere.Origin || to.Path != v.path || !slices.Equal(names, v.query) {
				t.Errorf("leads to %s", to)
			}
			if to.Query().Get("state") != pending.State() || pending.Provider != Name {
				t.Errorf("state %q, pending %+v", to.Query().Get("state"), pending)
			}
		})
	}
}

// A code is for one login, whole, young, and for an account that may still sign in with the same credentials.
func TestFinish_WhatACodeIsGoodFor(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(t *testing.T, a *Accounts, account *Account, pending *session.Pending, answer url.Values)
		want   session.Code
	}{
		{"Good", func(*testing.T, *Accounts, *Account, *session.Pending, url.Values) {}, ""},
		{"AnotherLogin", func(t *testing.T, a *Accounts, _ *Account, p *session.Pending, answer url.Values) {
			_, *p = a.begin(t, session.Intent{})
			answer.Set("state", p.State())
		}, session.LoginLost},
		{"AnotherState", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) {
			answer.Set("state", strings.Repeat("x", session.StateSize))
		}, session.LoginLost},
		{"Altered", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) {
			code := answer.Get("code")
			answer.Set("code", "A"+code[1:len(code)-4]+"AAAA")
		}, session.LoginLost},
		{"None", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) { answer.Del("code") }, session.LoginLost},
		{"Huge", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) {
			answer.Set("code", strings.Repeat("A", 60_000))
		}, session.LoginLost},
		{"AMinute", func(*testing.T, *Accounts, *Account, *session.Pending, url.Values) { time.Sleep(codeLifetime) }, ""},
		{"Old", func(*testing.T, *Accounts, *Account, *session.Pending, url.Values) {
			time.Sleep(codeLifetime + time.Second)
		}, session.LoginLost},
		{"Error", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) {
			answer.Set("error", "access_denied")
		}, session.LoginDenied},
		{"AnotherIssuer", func(_ *testing.T, _ *Accounts, _ *Account, _ *session.Pending, answer url.Values) {
			answer.Set("iss", "https://login.example.com")
		}, session.ProviderLied},
		{"IssuerChanged", func(_ *testing.T, _ *Accounts, _ *Account, p *session.Pending, _ url.Values) {
			p.Issuer = "https://old.example.com/auth"
		}, session.ProviderLied},
		{"AnotherProvider", func(_ *testing.T, _ *Accounts, _ *Account, p *session.Pending, _ url.Values) { p.Provider = "main" }, session.LoginLost},
		{"Disabled", func(t *testing.T, a *Accounts, account *Account, _ *session.Pending, _ url.Values) {
			if err := a.Disable(context.Background(), account.ID); err != nil {
				t.Fatal(err)
			}
		}, session.LoginDenied},
		{"AnotherPassword", func(t *testing.T, a *Accounts, account *Account, _ *session.Pending, _ url.Values) {
			if _, err := a.changePassword(context.Background(), account.ID, password, "quite another phrase", home); err != nil {
				t.Fatal(err)
			}
		}, session.LoginDenied},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := open(t, nil)
				account := a.mustRegister(t, ada)
				_, pending := a.begin(t, session.Intent{})
				answer := a.Answer(pending, account, "pwd")
				v.change(t, a, account, &pending, answer)
				g, err := a.Finish(context.Background(), pending, answer)
				wantCode(t, err, v.want)
				if err != nil {
					return
				}
				if g.Subject != account.ID || g.Issuer != "https://app.example.com/auth" || g.Provider != Name || g.Claim("amr") != `["pwd"]` || g.Claim("email") != ada {
					t.Errorf("%+v", g)
				}
			})
		})
	}
}

// A token is renewed as long as the account may sign in with the credentials of its login; when it was is told by each.
func TestRefresh_T7_R4_UntilTheAccountIsOver(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(a *Accounts, account *Account) error
		want   session.Code
	}{
		{"Good", func(*Accounts, *Account) error { return nil }, ""},
		{"Disabled", func(a *Accounts, account *Account) error { return a.Disable(context.Background(), account.ID) }, session.GrantOver},
		{"EnabledAgain", func(a *Accounts, account *Account) error {
			_ = a.Disable(context.Background(), account.ID)
			return a.Enable(context.Background(), account.ID)
		}, session.GrantOver},
		{"AnotherPassword", func(a *Accounts, account *Account) error {
			_, err := a.changePassword(context.Background(), account.ID, password, "quite another phrase", home)
			return err
		}, session.GrantOver},
		{"Reset", func(a *Accounts, account *Account) error {
			return a.Reset(context.Background(), account, "quite another phrase")
		}, session.GrantOver},
		{"SignedOutEverywhere", func(a *Accounts, account *Account) error { return a.SignOut(context.Background(), account.ID) }, session.GrantOver},
		{"Gone", func(a *Accounts, account *Account) error {
			_, err := a.db.db.Exec("DELETE FROM account")
			return err
		}, session.GrantOver},
		{"DatabaseIsAway", func(a *Accounts, account *Account) error { return a.db.db.Close() }, session.ProviderDown},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := open(t, nil)
				account := a.mustRegister(t, ada)
				g := a.grant(t, account)
				time.Sleep(5 * time.Minute)
				if err := v.change(a, account); err != nil {
					t.Fatal(err)
				}
				fresh, err := a.Refresh(context.Background(), g, session.Want{})
				wantCode(t, err, v.want)
				if err != nil {
					return
				}
				old, young := part(t, g.Tokens.Access, 1), part(t, fresh.Access, 1)
				if old["auth_time"] != young["auth_time"] || old["jti"] == young["jti"] || young["iat"].(float64)-old["iat"].(float64) != 300 {
					t.Errorf("renewed\n%v to\n%v", old, young)
				}
				if left := time.Until(fresh.Expires); left > 10*time.Minute || left < 10*time.Minute-time.Second {
					t.Errorf("it lives %s", left)
				}
			})
		})
	}
}

func TestRefresh_RefusesWhatIsNotOurs(t *testing.T) {
	a := open(t, nil)
	g := a.grant(t, a.mustRegister(t, ada))
	other := g
	other.Issuer = "https://old.example.com/auth"
	_, err := a.Refresh(context.Background(), other, session.Want{})
	wantCode(t, err, session.GrantOver)
	other = g
	other.Provider = "main"
	_, err = a.Refresh(context.Background(), other, session.Want{})
	wantCode(t, err, session.GrantOver)
	_, err = a.Refresh(context.Background(), g, session.Want{Scope: "read"})
	wantCode(t, err, session.BadRequest)
	_, err = a.Refresh(context.Background(), g, session.Want{Audience: "https://nobody.example.com"})
	wantCode(t, err, session.BadRequest)
}

// With the option a token names its session: the same through renewals and for every API, another one for each login. Nothing by which
// the session is found is in there.
func TestMint_U11_NamesTheSession(t *testing.T) {
	for _, format := range []string{FormatJWT, FormatOpaque} {
		t.Run(format, func(t *testing.T) {
			a := open(t, func(o *Options) { jwts(o); o.Tokens.Format, o.Tokens.Session = format, true })
			account := a.mustRegister(t, ada)
			g, other := a.grant(t, account), a.grant(t, account)
			sid := func(token string) string {
				t.Helper()
				claims, err := a.Introspect(context.Background(), token)
				if err != nil || len(claims["sid"].(string)) != 22 {
					t.Fatalf("%v %v", claims, err)
				}
				return claims["sid"].(string)
			}
			first := sid(g.Tokens.Access)
			for _, want := range []session.Want{{}, {Audience: someAPI}} {
				tokens, err := a.Refresh(context.Background(), g, want)
				if err != nil || sid(tokens.Access) != first {
					t.Errorf("%+v: another session's, %v", want, err)
				}
			}
			if sid(other.Tokens.Access) == first || first != g.SID {
				t.Error("two logins have the same name, or the session has another")
			}
			a.o.Tokens.Session = false
			tokens, err := a.Refresh(context.Background(), g, session.Want{})
			if err != nil {
				t.Fatal(err)
			}
			if claims, err := a.Introspect(context.Background(), tokens.Access); err != nil || claims["sid"] != nil {
				t.Errorf("without the option: %v %v", claims, err)
			}
		})
	}
}

// With a session end all tokens that say they are of it, older ones and those for one API, and nobody else's.
func TestRevoke_U11_R8_AllOfASession(t *testing.T) {
	for _, format := range []string{FormatJWT, FormatOpaque} {
		t.Run(format, func(t *testing.T) {
			a := open(t, func(o *Options) { jwts(o); o.Tokens.Format, o.Tokens.Session = format, true })
			account := a.mustRegister(t, ada)
			g, other := a.grant(t, account), a.grant(t, account)
			all := []string{g.Tokens.Access}
			for _, want := range []session.Want{{}, {Audience: someAPI}} {
				tokens, err := a.Refresh(context.Background(), g, want)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, tokens.Access)
			}
			// An API that revokes one means that one.
			if err := a.RevokeToken(context.Background(), all[0]); err != nil {
				t.Fatal(err)
			}
			active := func(token string) bool {
				claims, err := a.Introspect(context.Background(), token)
				if err != nil {
					t.Fatal(err)
				}
				return claims != nil
			}
			if active(all[0]) || !active(all[1]) || !active(all[2]) {
				t.Error("revoking one token did something else")
			}
			if err := a.Provider().(session.Revoker).Revoke(context.Background(), session.Tokens{Access: all[1]}); err != nil {
				t.Fatal(err)
			}
			for i, token := range all {
				if active(token) {
					t.Errorf("token %d is active", i)
				}
			}
			if !active(other.Tokens.Access) {
				t.Error("a token of another session is over")
			}
		})
	}
}

// A token for one API is for nobody else, whatever its format.
func TestRefresh_P8_TokenForOneAPI(t *testing.T) {
	for _, format := range []string{FormatJWT, FormatOpaque} {
		t.Run(format, func(t *testing.T) {
			a := open(t, func(o *Options) {
				o.Tokens.Format = format
				o.Tokens.Audience = []string{somewhere.Origin, "urn:second"}
			})
			g := a.grant(t, a.mustRegister(t, ada))
			tokens, err := a.Refresh(context.Background(), g, session.Want{Audience: someAPI})
			if err != nil {
				t.Fatal(err)
			}
			one, own := tokens.Access, g.Tokens.Access
			for token, names := range map[string][]string{one: {someAPI}, own: {somewhere.Origin, "urn:second"}} {
				if got := a.Addressees(token, session.Want{}); !slices.Equal(got, names) {
					t.Errorf("it is for %v, want %v", got, names)
				}
				for _, name := range []string{someAPI, somewhere.Origin, "urn:second", "urn:third"} {
					_, err := a.VerifyAccess(context.Background(), token, name)
					if good := slices.Contains(names, name); good && err != nil {
						t.Errorf("%s, where it is for %v: %v", name, names, err)
					} else if !good {
						wantCode(t, err, session.TokenInvalid)
					}
				}
				if claims, err := a.Introspect(context.Background(), token); err != nil || fmt.Sprint(claims["aud"]) != fmt.Sprint(wantAud(names)) {
					t.Errorf("introspection: %v %v", claims, err)
				}
			}
			// No route names it any more.
			a.audiences = nil
			if claims, err := a.Introspect(context.Background(), one); claims != nil || err != nil {
				t.Errorf("%v %v", claims, err)
			}
			if claims, err := a.Introspect(context.Background(), own); claims == nil || err != nil {
				t.Errorf("the session's own: %v", err)
			}
		})
	}
}

func wantAud(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}

// Whatever is known of a person, a token says only what is listed, and never a hash or a secret. Nothing that is known takes the place
// of what the issuer says itself.
func TestMint_U11_OnlyListedClaims(t *testing.T) {
	const canary = "canary-of-a-claim"
	for _, v := range []struct {
		listed  []string
		session bool
		extra   []string
	}{
		{nil, false, nil},
		{[]string{"email", "email_verified", "roles"}, false, []string{"email", "email_verified", "roles"}},
		{[]string{"password", "epoch", "id", "nobody_has_this"}, false, nil},
		{nil, true, []string{"sid"}},
	} {
		a := open(t, func(o *Options) { o.Tokens.Claims, o.Tokens.Session = v.listed, v.session })
		account := a.mustRegister(t, ada)
		account.Name = canary
		account.Claims = map[string]any{"roles": []string{"staff"}, "note": canary, "iss": canary, "sub": canary, "sid": canary, "aud": canary, "exp": 1, "scope": canary, "cnf": canary}
		tokens, err := a.mint(account, issued{SignedIn: time.Now().Unix(), Session: "the session"})
		if err != nil {
			t.Fatal(err)
		}
		claims := part(t, tokens.Access, 1)
		want := slices.Sorted(slices.Values(append([]string{"aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "sub"}, v.extra...)))
		if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
			t.Errorf("listed %v: claims %v, want %v", v.listed, got, want)
		}
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{canary, "argon2", account.password, password} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
		all, err := json.Marshal(account.claims())
		if err != nil || strings.Contains(string(all), "argon2") || account.claims()["sub"] != account.ID || account.claims()["iss"] != nil {
			t.Errorf("the session's claims: %s, %v", all, err)
		}
	}
}

func TestVerifyAccess_RefusesWhatIsNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, other := open(t, nil), open(t, nil)
		account := a.mustRegister(t, ada)
		good := a.grant(t, account).Tokens.Access
		verify := func(token, audience string) error {
			_, err := a.VerifyAccess(context.Background(), token, audience)
			return err
		}
		if err := verify(good, somewhere.Origin); err != nil {
			t.Fatal(err)
		}
		wantCode(t, verify(good, "https://other.example.com"), session.TokenInvalid)
		wantCode(t, verify(other.grant(t, other.mustRegister(t, ada)).Tokens.Access, somewhere.Origin), session.TokenInvalid)
		wantCode(t, verify(good[:len(good)-4]+"AAAA", somewhere.Origin), session.TokenInvalid)
		if err := a.Disable(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
		wantCode(t, verify(good, somewhere.Origin), session.TokenInvalid)
		if err := a.Enable(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		wantCode(t, verify(good, somewhere.Origin), session.TokenInvalid)
	})
}

// Who is told does not wait for the next look: whoever was closed is out at the same instant, and once. What fails is told, and tried again.
func TestFollow_T7_AtOnceWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, nil)
		account, other := a.mustRegister(t, ada), a.mustRegister(t, "grace@example.com")
		ctx, stop := context.WithCancel(context.Background())
		var mu sync.Mutex
		var ended []string
		away := false
		end := func(_ context.Context, subject string) error {
			mu.Lock()
			defer mu.Unlock()
			if away {
				return session.Fail(session.Unavailable, "end", "the store is away")
			}
			ended = append(ended, subject)
			return nil
		}
		so := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(ended) }
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Follow(ctx, end)
		}()
		time.Sleep(time.Second / 2)
		began := time.Now()
		if err := errors.Join(a.Disable(ctx, account.ID), a.EndClosed(ctx, end)); err != nil {
			t.Fatal(err)
		}
		if got := so(); !slices.Equal(got, []string{account.ID}) || time.Since(began) != 0 {
			t.Errorf("ended %v, after %s", got, time.Since(began))
		}
		mu.Lock()
		away = true
		mu.Unlock()
		if err := a.Reset(ctx, other, "quite another phrase"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, a.EndClosed(ctx, end), session.Unavailable)
		mu.Lock()
		away = false
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		stop()
		<-done
		if got := so(); !slices.Equal(got, []string{account.ID, other.ID}) {
			t.Errorf("ended %v", got)
		}
	})
}

// Follow ends the sessions of those whom another process closed, tries again when that fails, and ends nobody twice.
func TestFollow_T7_EndsWhomAnOperatorClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, nil)
		account, other := a.mustRegister(t, ada), a.mustRegister(t, "grace@example.com")
		ctx, stop := context.WithCancel(context.Background())
		var ended []string
		failures := 2
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Follow(ctx, func(_ context.Context, subject string) error {
				if failures > 0 {
					failures--
					return session.Fail(session.Unavailable, "end", "the store is away")
				}
				ended = append(ended, subject)
				return nil
			})
		}()
		time.Sleep(time.Second / 2)
		if err := a.Disable(ctx, account.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := a.Reset(ctx, other, "quite another phrase"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		stop()
		<-done
		if !slices.Equal(ended, []string{account.ID, other.ID}) {
			t.Errorf("ended %v", ended)
		}
		wantCode(t, a.Disable(context.Background(), "nobody"), session.None)
	})
}
