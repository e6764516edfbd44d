package accounts

import (
	"context"
	"errors"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

// one is a user table with one person in it, or none.
type one struct {
	user *User
	err  error
}

func (o *one) SignIn(context.Context, string, string) (*User, error) { return o.user, o.err }
func (o *one) Find(context.Context, string) (*User, error)           { return o.user, o.err }

// At a renewal the table says who somebody is now, and whether they may go on. A table that is away ends nobody's session.
func TestUsers_R8_RenewalAsksAgain(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(*one)
		want   session.Code
		plan   string
	}{
		{"as before", func(*one) {}, "", "pro"},
		{"another plan", func(o *one) { o.user.Claims = map[string]any{"plan": "free"} }, "", "free"},
		{"gone", func(o *one) { o.user = nil }, session.GrantOver, ""},
		{"another password", func(o *one) { o.user.Version = "2" }, session.GrantOver, ""},
		{"another person", func(o *one) { o.user.Subject = "8" }, session.ProviderLied, ""},
		{"away", func(o *one) { o.err = errors.New("away") }, session.ProviderDown, ""},
	} {
		for _, format := range []string{FormatJWT, FormatOpaque} {
			t.Run(v.name+" "+format, func(t *testing.T) {
				table := &one{user: &User{Subject: "7", Version: "1", Claims: map[string]any{"plan": "pro"}}}
				a := open(t, func(o *Options) { o.Users, o.Tokens.Format, o.Tokens.Claims = table, format, []string{"plan"} })
				account, err := a.SignIn(context.Background(), "ada", password, home)
				if err != nil {
					t.Fatal(err)
				}
				g := a.grant(t, account)
				v.change(table)
				tokens, err := a.Refresh(context.Background(), g, session.Want{})
				wantCode(t, err, v.want)
				if v.want == "" {
					claims, err := a.Introspect(context.Background(), tokens.Access)
					if err != nil || claims["plan"] != v.plan || claims["sub"] != "7" {
						t.Errorf("%v, %v", claims, err)
					}
				}
				if claims, err := a.Introspect(context.Background(), g.Tokens.Access); v.want == session.GrantOver && format == FormatOpaque && (claims != nil || err != nil) {
					t.Errorf("the token from before: %v, %v", claims, err)
				}
			})
		}
	}
}

// What a version is made of does not get into sessions and tokens.
func TestUsers_VersionIsNotTold(t *testing.T) {
	a := open(t, func(o *Options) { o.Users = &one{user: &User{Subject: "7", Version: "$2b$10$a-hash-of-a-password"}} })
	account, err := a.SignIn(context.Background(), "ada", password, home)
	if err != nil || len(account.Epoch()) != 16 {
		t.Errorf("%q, %v", account.Epoch(), err)
	}
}

// A table may take many spellings for one person, as databases do. They count as one name, whatever the table makes of them.
func TestUsers_U7_SpellingsCountAsOne(t *testing.T) {
	a := open(t, func(o *Options) { o.Users = &one{} })
	last := error(nil)
	for _, spelling := range []string{"jose", "JOSE", "jos\u00e9", "jose\u0301", "\uff4a\uff4f\uff53\uff45", "jo\u00adse", "jose\u200b", " jose\u00a0", "jo se"} {
		_, last = a.SignIn(context.Background(), spelling, password, home)
	}
	wantCode(t, last, session.TooMany)
	_, err := a.SignIn(context.Background(), "josef", password, home)
	wantCode(t, err, session.WrongCredentials)
}
