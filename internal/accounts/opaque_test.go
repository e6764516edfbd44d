package accounts

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const apiSecret = "a secret of more than thirty-two characters"

func opaqueOnes(o *Options) { o.Tokens.Format = FormatOpaque; o.Tokens.Claims = []string{"email"} }

// jwts are tokens about which somebody may ask.
func jwts(o *Options) {
	o.Tokens.Claims = []string{"email"}
	o.APIs = APIs{"billing": strings.Repeat("s", leastSecret)}
}

// ways are what may happen to a token before somebody asks about it.
var ways = map[string]func(t *testing.T, a *Accounts, account *Account, token *string){
	"good":            func(*testing.T, *Accounts, *Account, *string) {},
	"signed in again": func(t *testing.T, a *Accounts, account *Account, _ *string) { a.grant(t, account) },
	"disabled": func(t *testing.T, a *Accounts, account *Account, _ *string) {
		if err := a.Disable(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
	},
	"disabled and enabled": func(t *testing.T, a *Accounts, account *Account, _ *string) {
		if err := a.Disable(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
		if err := a.Enable(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
	},
	"another password": func(t *testing.T, a *Accounts, account *Account, _ *string) {
		if _, err := a.changePassword(context.Background(), account.ID, password, "quite another phrase", home); err != nil {
			t.Fatal(err)
		}
	},
	"signed out everywhere": func(t *testing.T, a *Accounts, account *Account, _ *string) {
		if err := a.SignOut(context.Background(), account.ID); err != nil {
			t.Fatal(err)
		}
	},
	"revoked": func(t *testing.T, a *Accounts, _ *Account, token *string) {
		if err := a.RevokeToken(context.Background(), *token); err != nil {
			t.Fatal(err)
		}
	},
	"its session ended": func(t *testing.T, a *Accounts, _ *Account, token *string) {
		if err := a.Provider().(session.Revoker).Revoke(context.Background(), session.Tokens{Access: *token}); err != nil {
			t.Fatal(err)
		}
	},
	"expired": func(_ *testing.T, a *Accounts, _ *Account, _ *string) {
		time.Sleep(a.o.Tokens.Lifetime)
	},
	"another issuer": func(_ *testing.T, a *Accounts, _ *Account, _ *string) { a.o.Tokens.Issuer += "/other" },
	"altered":        func(_ *testing.T, _ *Accounts, _ *Account, token *string) { *token = flip(*token, len(*token)-9) },
	"cut":            func(_ *testing.T, _ *Accounts, _ *Account, token *string) { *token = (*token)[:len(*token)-4] },
	"huge":           func(_ *testing.T, _ *Accounts, _ *Account, token *string) { *token += strings.Repeat("A", 1<<20) },
}

// stillGood are the ways that no token minds.
var stillGood = map[string]bool{"good": true, "signed in again": true}

// ask makes a token, lets something happen to it, and asks whether it is good.
func ask(t *testing.T, options func(*Options), change func(t *testing.T, a *Accounts, account *Account, token *string), good bool) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, options)
		account := a.mustRegister(t, ada)
		token := a.grant(t, account).Tokens.Access
		change(t, a, account, &token)
		claims, err := a.Introspect(context.Background(), token)
		if err != nil || (claims != nil) != good {
			t.Fatalf("%v, %v", claims, err)
		}
		if good && (claims["active"] != true || claims["sub"] != account.ID || claims["email"] != ada || claims["token_type"] != "Bearer") {
			t.Errorf("it says %v", claims)
		}
		if _, err := a.VerifyAccess(context.Background(), token, somewhere.Origin); (err == nil) != good {
			t.Errorf("for a route: %v", err)
		} else if !good {
			wantCode(t, err, session.TokenInvalid)
		}
		if err := a.RevokeToken(context.Background(), token); err != nil {
			t.Errorf("revoking what may be none: %v", err)
		}
	})
}

// What a token is good for, and when it is over: for those who ask at once, for everything that ends one, whatever its format.
func TestAccess_U11_OverAtOnceForThoseWhoAsk(t *testing.T) {
	for format, options := range map[string]func(*Options){FormatJWT: jwts, FormatOpaque: opaqueOnes} {
		for name, change := range ways {
			t.Run(format+"/"+name, func(t *testing.T) { ask(t, options, change, stillGood[name]) })
		}
	}
}

// An opaque token is good as it was given out, at the issuer that gave it out, and in no other way.
func TestOpaque_U11_AsItWasGivenOut(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, a *Accounts, account *Account, token *string){
		"another audience": func(_ *testing.T, a *Accounts, _ *Account, _ *string) {
			a.o.Tokens.Audience = []string{"https://other"}
		},
		"another keyring": func(_ *testing.T, a *Accounts, _ *Account, _ *string) {
			a.opaques = newRing().Box("opaque access token")
		},
		"another purpose": func(_ *testing.T, a *Accounts, _ *Account, _ *string) { a.opaques = somewhere.Ring.Box("login") },
		"renamed":         func(_ *testing.T, _ *Accounts, _ *Account, token *string) { *token = flip(*token, len(opaquePrefix)+2) },
		"short":           func(_ *testing.T, _ *Accounts, _ *Account, token *string) { *token = opaquePrefix + "AAAA" },
		"without a prefix": func(_ *testing.T, _ *Accounts, _ *Account, token *string) {
			*token = strings.TrimPrefix(*token, opaquePrefix)
		},
	} {
		t.Run(name, func(t *testing.T) { ask(t, opaqueOnes, change, false) })
	}
}

// A JWT tells nobody but us under which credentials it was made: not by a claim, and not by what two of them have in common.
func TestAccess_U11_CredentialsAreNotTold(t *testing.T) {
	a := open(t, jwts)
	account := a.mustRegister(t, ada)
	seen := map[string]bool{}
	for range 50 {
		claims := part(t, a.grant(t, account).Tokens.Access, 1)
		raw, err := base64.RawURLEncoding.DecodeString(claims["jti"].(string))
		if err != nil || len(raw) != nameSize+stampSize {
			t.Fatalf("jti %q", claims["jti"])
		}
		if stamp := string(raw[nameSize:]); seen[stamp] {
			t.Error("two tokens have the same stamp")
		} else {
			seen[stamp] = true
		}
		if claims["epoch"] != nil || claims["e"] != nil {
			t.Errorf("it says %v", claims)
		}
	}
	// The stamp of one token does not do for another, nor for another account.
	one, other := part(t, a.grant(t, account).Tokens.Access, 1)["jti"].(string), part(t, a.grant(t, account).Tokens.Access, 1)["jti"].(string)
	if a.madeUnder(account, one[:20]+other[20:]) || a.madeUnder(a.mustRegister(t, "grace@example.com"), one) || a.madeUnder(account, one[:22]) || !a.madeUnder(account, one) {
		t.Error("a stamp is taken for what it is not of")
	}
}

func flip(text string, i int) string {
	c := byte('A')
	if text[i] == c {
		c = 'B'
	}
	return text[:i] + string(c) + text[i+1:]
}

// The token tells nothing, no two are alike, and the database holds none.
func TestOpaque_U11_TellsNothingAndRestsNowhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	a := open(t, func(o *Options) { opaqueOnes(o); o.Database = openFile(t, path) })
	account := a.mustRegister(t, ada)
	seen := map[string]bool{}
	for range 100 {
		token := a.grant(t, account).Tokens.Access
		if seen[token] || !strings.HasPrefix(token, opaquePrefix) || len(token) > 300 || strings.Contains(token, ".") {
			t.Fatalf("%d characters: %s", len(token), token)
		}
		seen[token] = true
		i, _ := a.openOpaque(token)
		if err := a.RevokeToken(context.Background(), token); err != nil {
			t.Fatal(err)
		}
		var same int
		if err := a.db.QueryRowContext(context.Background(), "SELECT count(*) FROM account_revoked WHERE token = ? OR token = ?", []byte(token), []byte(i.jti())).Scan(&same); err != nil || same != 0 {
			t.Fatalf("%d rows have it in clear, %v", same, err)
		}
	}
}

// otherwise returns the same JWT with another signature that verifies as well: with (r, s) so does (r, n-s).
func otherwise(t *testing.T, token string) string {
	t.Helper()
	dot := strings.LastIndexByte(token, '.')
	signed, signature := token[:dot], token[dot+1:]
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(raw) != 64 {
		t.Fatalf("no ES256: %d bytes, %v", len(raw), err)
	}
	s := new(big.Int).SetBytes(raw[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(raw[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw)
}

// JWTs can be asked about too, and what was revoked is forgotten once it is over. S10: revoked is the token, however its signature is written.
func TestIntrospect_S10_JWTs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, func(o *Options) { o.APIs = APIs{"billing": apiSecret} })
		account := a.mustRegister(t, ada)
		token := a.grant(t, account).Tokens.Access
		claims, err := a.Introspect(context.Background(), token)
		if err != nil || claims["active"] != true || claims["sub"] != account.ID {
			t.Fatalf("%v, %v", claims, err)
		}
		twin := otherwise(t, token)
		if claims, err := a.Introspect(context.Background(), twin); twin == token || err != nil || claims["active"] != true {
			t.Fatalf("the other signature: %v, %v", claims, err)
		}
		for range 2 {
			if err := a.RevokeToken(context.Background(), token); err != nil {
				t.Fatal(err)
			}
		}
		for name, token := range map[string]string{"as it was": token, "with the other signature": twin} {
			if claims, err := a.Introspect(context.Background(), token); claims != nil || err != nil {
				t.Errorf("revoked, %s: %v, %v", name, claims, err)
			}
		}
		_, err = a.VerifyAccess(context.Background(), token, somewhere.Origin)
		wantCode(t, err, session.TokenInvalid)
		time.Sleep(a.o.Tokens.Lifetime + time.Second)
		if err := a.RevokeToken(context.Background(), a.grant(t, account).Tokens.Access); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := a.db.db.QueryRow("SELECT count(*) FROM account_revoked").Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

func TestAPIs_G3_SecretsAreStrongAndNeverShown(t *testing.T) {
	a := open(t, func(o *Options) { o.APIs = APIs{"billing": apiSecret, "orders": apiSecret + "!"} })
	for _, v := range []struct {
		id, secret string
		want       bool
	}{
		{"billing", apiSecret, true}, {"orders", apiSecret + "!", true},
		{"billing", apiSecret + "!", false}, {"billing", "", false}, {"", "", false}, {"nobody", apiSecret, false}, {"billing", apiSecret + "\x00", false},
	} {
		if a.KnowsAPI(v.id, v.secret) != v.want {
			t.Errorf("%+v", v)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", a.o.APIs, a.o, a.o); strings.Contains(text, apiSecret) {
		t.Error("printing the options shows a secret")
	}
	_, err := New(context.Background(), Options{Database: a.o.Database, APIs: APIs{"billing": "hunter2"}}, somewhere)
	if err == nil || !strings.Contains(err.Error(), "billing: a secret of 7 characters is easily guessed") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
