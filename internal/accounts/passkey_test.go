package accounts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A page to sign in on waits for a passkey as long as its login is there: browsers offer one where the name is filled in. All else that is
// done with one takes 5 minutes at most.
func TestPasskey_U13_InTime(t *testing.T) {
	ctx := context.Background()
	a := open(t, func(o *Options) { o.Passkeys = anyPasskey{} })
	ann, err := a.Add(ctx, Registration{Identifier: ada, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	bare := *ann
	bare.password = ""
	for name, v := range map[string]struct {
		life  time.Duration
		begin func(p session.Pending) (Ceremony, error)
		end   func(p session.Pending, sealed string, spend func() error) error
	}{
		"SignIn": {
			session.LoginLifetime, a.AskPasskey,
			func(p session.Pending, sealed string, spend func() error) error {
				_, err := a.SignInByPasskey(ctx, p, sealed, "response", spend)
				return err
			},
		},
		"Confirm": {
			5 * time.Minute,
			func(session.Pending) (Ceremony, error) { return a.AskAgain(&bare, "session") },
			func(_ session.Pending, sealed string, spend func() error) error {
				_, err := a.ConfirmByPasskey(ctx, &bare, "session", sealed, "response", spend)
				return err
			},
		},
		"Make": {
			5 * time.Minute,
			func(session.Pending) (Ceremony, error) { return a.NewPasskey(ctx, ann, "session") },
			func(_ session.Pending, sealed string, spend func() error) error {
				return a.AddPasskey(ctx, ann, "session", "", sealed, "response", spend)
			},
		},
		"Register": {
			5 * time.Minute,
			func(p session.Pending) (Ceremony, error) {
				return a.BeginAccount(ctx, p, Registration{Identifier: "eve@example.com"}, home)
			},
			func(p session.Pending, sealed string, spend func() error) error {
				_, err := a.FinishAccount(ctx, p, "", sealed, "response", spend)
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, p, err := a.Begin(ctx, session.Intent{})
				if err != nil {
					t.Fatal(err)
				}
				c, err := v.begin(p)
				if err != nil {
					t.Fatal(err)
				}
				looked := 0
				stop := func() error { looked++; return session.Fail(session.Conflict, "spend", "far enough") }
				time.Sleep(v.life)
				wantCode(t, v.end(p, c.Sealed, stop), session.Conflict)
				time.Sleep(time.Second)
				wantCode(t, v.end(p, c.Sealed, stop), session.WrongPasskey)
				if looked != 1 {
					t.Errorf("looked at %d times", looked)
				}
			})
		})
	}
}
