package accounts

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// The vectors of RFC 6238, appendix B, in their last six digits.
func TestCodeAt_U13_Vectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := codeAt(secret, at/30); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

// A clock may be one step off, and no more.
func TestStepOf_U13_Window(t *testing.T) {
	secret, now := []byte("12345678901234567890"), time.Unix(1111111109, 0)
	for off := int64(-3); off <= 3; off++ {
		want := now.Unix()/30 + off
		step, ok := stepOf(secret, codeAt(secret, want), now)
		if in := off >= -1 && off <= 1; ok != in || in && step != want {
			t.Errorf("%d steps off: %d, %v", off, step, ok)
		}
	}
}

// withinAStep waits where a step of time is as good as over, so that what a test does next is within one.
func withinAStep() {
	const step = 30 * time.Second
	now := time.Now()
	if left := now.Truncate(step).Add(step).Sub(now); left < 3*time.Second {
		time.Sleep(left)
	}
}

// withAuthenticator sets one up, and returns its secret and the recovery codes.
func (a *Accounts) withAuthenticator(t *testing.T, account *Account) (secret []byte, codes []string) {
	t.Helper()
	withinAStep()
	offer := a.Offer(account, "session")
	secret, err := base32Text.DecodeString(strings.ReplaceAll(offer.Secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	codes, err = a.Accept(context.Background(), account, "session", offer.Sealed, codeAt(secret, time.Now().Unix()/30-1))
	if err != nil {
		t.Fatal(err)
	}
	return secret, codes
}

func TestOffer_ReadsAsAppsRead(t *testing.T) {
	a := open(t, nil)
	offer := a.Offer(a.mustRegister(t, ada), "session")
	u, err := url.Parse(offer.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/app.example.com:ada@example.com" || u.Query().Get("issuer") != "app.example.com" ||
		u.Query().Get("secret") != strings.ReplaceAll(offer.Secret, " ", "") || len(u.Query().Get("secret")) != 32 {
		t.Errorf("%s, %s: %v", offer.URI, offer.Secret, err)
	}
}

// An offer is for one account in one session, and a code shows that the app has the secret.
func TestAccept_U8_OfThisSessionAlone(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account, eve := a.mustRegister(t, ada), a.mustRegister(t, "eve@example.com")
	offer := a.Offer(account, "session")
	secret, _ := base32Text.DecodeString(strings.ReplaceAll(offer.Secret, " ", ""))
	code := codeAt(secret, time.Now().Unix()/30)
	_, err := a.Accept(ctx, account, "another session", offer.Sealed, code)
	wantCode(t, err, session.LoginLost)
	_, err = a.Accept(ctx, eve, "session", offer.Sealed, code)
	wantCode(t, err, session.LoginLost)
	_, err = a.Accept(ctx, account, "session", offer.Sealed+"A", code)
	wantCode(t, err, session.LoginLost)
	_, err = a.Accept(ctx, account, "session", offer.Sealed, "abcdef")
	wantCode(t, err, session.WrongCode)
	epoch := account.Epoch()
	codes, err := a.Accept(ctx, account, "session", offer.Sealed, code[:3]+" "+code[3:])
	if err != nil || len(codes) != 10 || account.Epoch() == epoch {
		t.Fatalf("%v, epoch %s to %s: %v", codes, epoch, account.Epoch(), err)
	}
	second := a.Offer(account, "session")
	_, err = a.Accept(ctx, account, "session", second.Sealed, code)
	wantCode(t, err, session.WrongCode)
	_, err = a.Accept(ctx, account, "session", offer.Sealed, code) // from before the change
	wantCode(t, err, session.LoginLost)
	// Another app takes the place of the first, with recovery codes of its own.
	secret2, _ := base32Text.DecodeString(strings.ReplaceAll(second.Secret, " ", ""))
	stale := *account
	fresh, err := a.Accept(ctx, account, "session", second.Sealed, codeAt(secret2, time.Now().Unix()/30))
	if err != nil || len(fresh) != 10 {
		t.Fatalf("%d codes, %v", len(fresh), err)
	}
	wantCode(t, a.CheckCode(ctx, account, codeAt(secret, time.Now().Unix()/30+1), home), session.WrongCode)
	wantCode(t, a.CheckCode(ctx, account, codes[0], home), session.WrongCode)
	if err := a.CheckCode(ctx, account, codeAt(secret2, time.Now().Unix()/30+1), home); err != nil {
		t.Errorf("a code of the new app: %v", err)
	}
	_, err = a.Accept(ctx, &stale, "session", second.Sealed, codeAt(secret2, time.Now().Unix()/30))
	wantCode(t, err, session.Conflict)
}

// A code is good once, and so is an earlier one than the last. Of two at the same instant one is taken.
func TestCheckCode_U13_Once(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	secret, _ := a.withAuthenticator(t, account)
	step := time.Now().Unix() / 30
	wantCode(t, a.CheckCode(ctx, account, codeAt(secret, step-1), home), session.WrongCode) // it set the authenticator up
	wantCode(t, a.CheckCode(ctx, account, "", home), session.CodeRequired)
	var wait sync.WaitGroup
	results := make(chan error, 4)
	for range cap(results) {
		wait.Go(func() { results <- a.CheckCode(ctx, account, codeAt(secret, step+1), home) })
	}
	wait.Wait()
	close(results)
	right := 0
	for err := range results {
		if err == nil {
			right++
		} else {
			wantCode(t, err, session.WrongCode)
		}
	}
	if right != 1 {
		t.Errorf("one code was good %d times", right)
	}
	a.throttle = newThrottle()
	wantCode(t, a.CheckCode(ctx, account, codeAt(secret, step), home), session.WrongCode) // earlier than the last
}

// Six digits are few. After some wrong ones the account waits, from wherever they come; a recovery code still lets the person in.
func TestCheckCode_U13_RateLimited(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	secret, codes := a.withAuthenticator(t, account)
	wrong := "000000"
	for _, off := range []int64{-1, 0, 1, 2} {
		if codeAt(secret, time.Now().Unix()/30+off) == wrong {
			wrong = "000001"
		}
	}
	tries := 0
	for session.CodeOf(a.CheckCode(ctx, account, wrong, []string{home, abroad}[tries%2])) == session.WrongCode {
		if tries++; tries > 20 {
			t.Fatal("it never has to wait")
		}
	}
	err := a.CheckCode(ctx, account, codeAt(secret, time.Now().Unix()/30), home)
	wantCode(t, err, session.TooMany)
	if wait := session.WaitOf(err); wait < 25*time.Second || wait > 30*time.Second {
		t.Errorf("a wait of %s", wait)
	}
	if err := a.CheckCode(ctx, account, codes[0], home); err != nil {
		t.Errorf("a recovery code: %v", err)
	}
}

// Recovery codes are good once, as they are typed, and for their account.
func TestCheckCode_U13_Recovery(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account, eve := a.mustRegister(t, ada), a.mustRegister(t, "eve@example.com")
	_, codes := a.withAuthenticator(t, account)
	a.withAuthenticator(t, eve)
	if err := a.CheckCode(ctx, account, " "+strings.ToUpper(strings.ReplaceAll(codes[0], "-", " ")), home); err != nil {
		t.Errorf("in capitals, with spaces: %v", err)
	}
	wantCode(t, a.CheckCode(ctx, account, codes[0], home), session.WrongCode)
	wantCode(t, a.CheckCode(ctx, eve, codes[1], home), session.WrongCode)
	wantCode(t, a.CheckCode(ctx, account, strings.Repeat("a", 10_000), home), session.WrongCode)
	wantCode(t, a.CheckCode(ctx, account, "\x00", home), session.WrongCode)
	f, err := a.Factors(ctx, account)
	if err != nil || f.Recovery != 9 || f.Authenticator.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
	renewed, err := a.RenewRecovery(ctx, account)
	if err != nil || len(renewed) != 10 {
		t.Fatal(renewed, err)
	}
	wantCode(t, a.CheckCode(ctx, account, codes[2], home), session.WrongCode)
	if err := a.CheckCode(ctx, account, renewed[9], home); err != nil {
		t.Error(err)
	}
	epoch := account.Epoch()
	if err := a.RemoveAuthenticator(ctx, account); err != nil || account.Epoch() == epoch {
		t.Errorf("epoch %s: %v", account.Epoch(), err)
	}
	wantCode(t, a.CheckCode(ctx, account, renewed[0], home), session.WrongCode)
	if f, err := a.Factors(ctx, account); err != nil || f != (Factors{}) {
		t.Errorf("%+v, %v", f, err)
	}
}

// Neither secret nor recovery code is in the database as it is, and no token's claim has it.
func TestFactors_U13_AtRest(t *testing.T) {
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	secret, codes := a.withAuthenticator(t, account)
	var sealed, hash string
	if err := a.db.db.QueryRow("SELECT sealed FROM account_totp").Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, string(secret)) || strings.Contains(sealed, base32Text.EncodeToString(secret)) {
		t.Error("the secret is there in clear")
	}
	rows, err := a.db.db.Query("SELECT hash FROM account_recovery")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&hash); err != nil || len(hash) != 32 || strings.Contains(strings.Join(codes, strip(codes[0])), hash) {
			t.Errorf("%q, %v", hash, err)
		}
	}
}

// Whatever page or endpoint asks for a grant: with an authenticator a password alone gets none.
func TestFinish_U13_NotByPasswordAlone(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	a.withAuthenticator(t, account)
	for _, v := range []struct {
		methods []string
		want    session.Code
	}{{[]string{ByPassword}, session.CodeRequired}, {nil, session.CodeRequired}, {[]string{ByPassword, ByCode, Strongly}, ""}} {
		_, p, err := a.Begin(ctx, session.Intent{ReturnTo: "/"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Finish(ctx, p, a.Answer(p, account, v.methods...))
		wantCode(t, err, v.want)
	}
}

// The first step is worth something in its own login alone, and nothing as a code.
func TestResume_U13_BoundToTheLogin(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	a.withAuthenticator(t, account)
	_, p, _ := a.Begin(ctx, session.Intent{ReturnTo: "/"})
	_, other, _ := a.Begin(ctx, session.Intent{ReturnTo: "/"})
	half := a.HalfWay(p, account, ByPassword)
	if got, methods, err := a.Resume(ctx, p, half); err != nil || got.ID != account.ID || !slices.Equal(methods, []string{ByPassword}) {
		t.Errorf("%v, %v", got, err)
	}
	_, _, err := a.Resume(ctx, other, half)
	wantCode(t, err, session.LoginLost)
	_, _, err = a.Resume(ctx, p, a.Answer(p, account, Strongly).Get("code"))
	wantCode(t, err, session.LoginLost)
	answer := a.Answer(p, account, Strongly)
	answer.Set("code", half)
	_, err = a.Finish(ctx, p, answer)
	wantCode(t, err, session.LoginLost)
	if err := a.SignOut(ctx, account.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Resume(ctx, p, half)
	wantCode(t, err, session.LoginLost)
}

// Before a change the person is asked for all that they sign in with.
func TestConfirm_U8(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	_, err := a.Confirm(ctx, account.ID, "wrong password", "", home)
	wantCode(t, err, session.WrongPassword)
	if _, err := a.Confirm(ctx, account.ID, password, "", home); err != nil {
		t.Error(err)
	}
	_, codes := a.withAuthenticator(t, account)
	_, err = a.Confirm(ctx, account.ID, password, "", home)
	wantCode(t, err, session.CodeRequired)
	_, err = a.Confirm(ctx, account.ID, "wrong password", codes[0], home)
	wantCode(t, err, session.WrongPassword)
	if _, err := a.Confirm(ctx, account.ID, password, codes[0], home); err != nil {
		t.Errorf("with the code, which a wrong password did not spend: %v", err)
	}
	_, err = a.Confirm(ctx, "nobody", password, "", home)
	wantCode(t, err, session.WrongPassword)
}

// An operator takes away what somebody has lost: the password alone signs in again, the sessions from before are over, and a gateway that
// runs is told to end them.
func TestResetFactors_U13_BackToThePassword(t *testing.T) {
	a := open(t, nil)
	account, other := a.mustRegister(t, ada), a.mustRegister(t, "grace@example.com")
	a.withAuthenticator(t, account)
	a.withAuthenticator(t, other)
	ctx := context.Background()
	if _, err := a.db.change(ctx, "add", "INSERT INTO account_passkey (id, account, name, credential, created, used) VALUES (?, ?, 'lost', ?, 1, 0)", []byte("id"), account.ID, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	before, err := a.Of(ctx, account.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.enough(ctx, before, []string{ByPassword}), session.CodeRequired)
	if err := a.ResetFactors(ctx, account.ID); err != nil {
		t.Fatal(err)
	}
	after, err := a.SignIn(ctx, ada, password, home)
	if err != nil || after.Epoch() == before.Epoch() {
		t.Fatalf("%v, the same epoch: %t", err, after.Epoch() == before.Epoch())
	}
	if err := a.enough(ctx, after, []string{ByPassword}); err != nil {
		t.Errorf("the password alone: %v", err)
	}
	if keys, err := a.Passkeys(ctx, after); err != nil || len(keys) != 0 {
		t.Errorf("%d passkeys, %v", len(keys), err)
	}
	if f, err := a.Factors(ctx, other); err != nil || f.Authenticator.IsZero() || f.Recovery != 10 {
		t.Errorf("the other person has %+v, %v", f, err)
	}
	var ended []string
	if err := a.endAll(ctx, func(_ context.Context, subject string) error { ended = append(ended, subject); return nil }); err != nil || !slices.Equal(ended, []string{account.ID}) {
		t.Errorf("ended %v, %v", ended, err)
	}
	wantCode(t, a.ResetFactors(ctx, "nobody"), session.None)
}

// What was begun before the person's credentials changed is over: whoever had the password then adds nothing that outlives the change.
func TestChange_U8_EndsWhatIsUnderWay(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(a *Accounts, account *Account) error{
		"factors reset":  func(a *Accounts, account *Account) error { return a.ResetFactors(ctx, account.ID) },
		"password reset": func(a *Accounts, account *Account) error { return a.Reset(ctx, account, "another long password") },
		"disabled":       func(a *Accounts, account *Account) error { return a.Disable(ctx, account.ID) },
		"disabled and let in again": func(a *Accounts, account *Account) error {
			return errors.Join(a.Disable(ctx, account.ID), a.Enable(ctx, account.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, func(o *Options) { o.Passkeys = anyPasskey{} })
			before := a.mustRegister(t, ada)
			c, err := a.NewPasskey(ctx, before, "session")
			if err != nil {
				t.Fatal(err)
			}
			if err := change(a, before); err != nil {
				t.Fatal(err)
			}
			after, err := a.Of(ctx, before.ID)
			if err != nil {
				t.Fatal(err)
			}
			spent := false
			spend := func() error { spent = true; return nil }
			wantCode(t, a.AddPasskey(ctx, after, "session", "", c.Sealed, "response", spend), session.WrongPasskey)
			if spent {
				t.Error("a ceremony that is none was spent")
			}
			// As one who looked at the account right before the change.
			wantCode(t, a.AddPasskey(ctx, before, "session", "", c.Sealed, "response", spend), session.Conflict)
			_, err = a.RenewRecovery(ctx, before)
			wantCode(t, err, session.Conflict)
			if keys, err := a.Passkeys(ctx, after); err != nil || len(keys) != 0 {
				t.Errorf("%d passkeys, %v", len(keys), err)
			}
		})
	}
}
