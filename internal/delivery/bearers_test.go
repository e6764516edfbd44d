package delivery

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// fakeIssuer counts how often it is asked, and finds tokens good that live a while.
type fakeIssuer struct {
	asked atomic.Int32
	life  time.Duration
	err   error
}

func (i *fakeIssuer) VerifyAccess(_ context.Context, token, audience string) (session.Grant, error) {
	i.asked.Add(1)
	if i.err != nil {
		return session.Grant{}, i.err
	}
	return session.Grant{Subject: "of " + audience, Tokens: session.Tokens{Access: token, Expires: time.Now().Add(i.life)}}, nil
}

func from(iss string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+iss+`"}`)) + ".c2ln"
}

// A verified token is believed until it ends, and for a minute at most.
func TestBearers_RememberForAMinute(t *testing.T) {
	for _, c := range []struct{ life, believed time.Duration }{{time.Hour, time.Minute}, {10 * time.Second, 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			i := &fakeIssuer{life: c.life}
			b := NewBearers(map[string]Issuer{"https://op.example": i})
			verify := func(audience string) *session.Grant {
				t.Helper()
				g, err := b.Verify(t.Context(), from("https://op.example"), audience)
				if err != nil {
					t.Fatal(err)
				}
				return g
			}
			verify("a")
			time.Sleep(c.believed - time.Millisecond)
			if verify("a"); i.asked.Load() != 1 {
				t.Errorf("asked %d times within the time", i.asked.Load())
			}
			// P8: what is good for one API says nothing of another.
			if g := verify("b"); g.Subject != "of b" || i.asked.Load() != 2 {
				t.Errorf("%s, asked %d times", g.Subject, i.asked.Load())
			}
			time.Sleep(time.Millisecond)
			if verify("a"); i.asked.Load() != 3 {
				t.Errorf("asked %d times after the time", i.asked.Load())
			}
		})
	}
}

func TestBearers_Refuse(t *testing.T) {
	down := session.Fail(session.ProviderDown, "fetch keys", "down")
	good, away := &fakeIssuer{life: time.Hour}, &fakeIssuer{err: down}
	b := NewBearers(map[string]Issuer{"https://op.example": good, "https://away.example": away})
	for _, c := range []struct {
		name, token string
		want        session.Code
	}{
		{"another issuer", from("https://evil.example"), session.TokenInvalid},
		{"an issuer with a slash more", from("https://op.example/"), session.TokenInvalid},
		{"no issuer", from(""), session.TokenInvalid},
		{"opaque", "x", session.TokenInvalid},
		{"one dot", "x.y", session.TokenInvalid},
		{"no base64", "e30.!!.c2ln", session.TokenInvalid},
		{"too long", from("https://op.example") + strings.Repeat("x", 16<<10), session.TokenInvalid},
		{"its keys cannot be had", from("https://away.example"), session.ProviderDown},
	} {
		if _, err := b.Verify(t.Context(), c.token, "a"); session.CodeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if good.asked.Load() != 0 {
		t.Error("an issuer was asked about tokens that are not its own")
	}
	// What failed is not remembered.
	away.err, away.life = nil, time.Hour
	if _, err := b.Verify(t.Context(), from("https://away.example"), "a"); err != nil {
		t.Error(errors.Join(errors.New("after the issuer is back"), err))
	}
}
