package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

func b64(hexadecimal string) string {
	raw, err := hex.DecodeString(hexadecimal)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(raw)
}

var seventyTwo = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// foreign are hashes that others made and published, with the password of each.
var foreign = []struct{ source, hash, password string }{
	{"argon2, test.c", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"crypt_blowfish, wrapper.c", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"crypt_blowfish, wrapper.c, as 2y", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"},
	{"crypt_blowfish, wrapper.c, as 2b", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"},
	{"crypt_blowfish, wrapper.c, over 72 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", seventyTwo + "chars after 72 are ignored"},
	{
		"RFC 7914 §12", "$scrypt$ln=14,r=8,p=1$" + base64.RawStdEncoding.EncodeToString([]byte("SodiumChloride")) + "$" +
			b64("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"),
		"pleaseletmein",
	},
	{"passlib, scrypt", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", "password"},
	{
		"firebase/scrypt, README", "$firebase-scrypt$ln=14,r=8$42xEC+ixf3L2lw==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$" +
			"lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
		"user1password",
	},
	{"RFC 6070", "$pbkdf2-sha1$i=4096$" + base64.RawStdEncoding.EncodeToString([]byte("salt")) + "$" + b64("4b007901b765489abead49d926f721d065a429c1"), "password"},
	{
		"RFC 6070 with SHA-256", "$pbkdf2-sha256$i=4096$" + base64.RawStdEncoding.EncodeToString([]byte("salt")) + "$" +
			b64("c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"), "password",
	},
	{"Python's hashlib, in passlib's form", "$pbkdf2-sha256$29000$c2Vhc2FsdDM$xYZQvRcZh0nmDDCw5wu7KTjlRDu0/.PNfwl8DMl0Ji8", "password"},
	{"Python's hashlib, SHA-512", "$pbkdf2-sha512$i=210000$c2Vhc2FsdA==$sFg7LUV2KtOE0fT2UBmnUwQZlnvBm0mJeXb5OEwUDqCTUKhDkEgbhsRL1Nf/1gEuG61eH+qyeLnIE7pTZggblw==", "password"},
	{"Django, test_hashers.py", "pbkdf2_sha256$260000$seasalt$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo=", "lètmein"},
}

// Hashes that came along verify, and no other password does.
func TestForeign_U1_PublishedHashesVerify(t *testing.T) {
	h := newHasher(cheap)
	for _, v := range foreign {
		t.Run(v.source, func(t *testing.T) {
			if err := checkHash(v.hash); err != nil {
				t.Fatal(err)
			}
			for given, want := range map[string]bool{v.password: true, v.password[1:]: false} {
				if ok, err := h.Verify(context.Background(), v.hash, given); err != nil || ok != want {
					t.Errorf("%q: %t, %v", given, ok, err)
				}
			}
			if strings.HasPrefix(v.hash, "$argon2id$") == h.Outgrown(v.hash) {
				t.Errorf("outgrown: %t", h.Outgrown(v.hash))
			}
		})
	}
}

// bcrypt sees 72 bytes. The first login with such a hash makes one of the whole password, so that from then on every byte counts.
func TestForeign_U2_BecomesOurOwnAtLogin(t *testing.T) {
	for _, v := range foreign {
		t.Run(v.source, func(t *testing.T) {
			a := open(t, nil)
			made, err := a.Add(context.Background(), Registration{Identifier: ada, Hash: v.hash})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.SignIn(context.Background(), ada, v.password, home); err != nil {
				t.Fatal(err)
			}
			now, err := a.db.byID(context.Background(), made.ID)
			if err != nil || !strings.HasPrefix(now.password, "$argon2id$v=19$") || now.epoch != made.epoch {
				t.Errorf("afterwards %+v, %v", now, err)
			}
			if _, err := a.SignIn(context.Background(), ada, v.password, home); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if len(v.password) > 72 {
				_, err := a.SignIn(context.Background(), ada, v.password[:72]+"other bytes", home)
				wantCode(t, err, session.WrongCredentials)
			}
		})
	}
}

// A hash that nobody can verify, or that would keep the machine busy, is refused when it comes, and opens nothing if it is there.
func TestForeign_RefusesWhatIsOutOfBounds(t *testing.T) {
	sum := base64.RawStdEncoding.EncodeToString(make([]byte, sha256.Size))
	h := newHasher(cheap)
	for _, text := range []string{
		"", "password", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "$6$salt$x", "{SSHA}x", "md5$salt$x", "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + sum,
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2a$05$short", "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$scrypt$ln=24,r=8,p=1$c2FsdA$" + sum, "$scrypt$ln=14,r=1000,p=1$c2FsdA$" + sum, "$scrypt$ln=14,r=8,p=1000$c2FsdA$" + sum, "$scrypt$ln=14,r=8,p=1$c2FsdA$YQ", "$scrypt$ln=14,r=8,p=1$$" + sum,
		"$scrypt$14$8$1$c2FsdA$" + sum, "$firebase-scrypt$ln=30,r=8$c2FsdA$Bw$" + sum + "$" + sum, "$firebase-scrypt$ln=14,r=8$c2FsdA$Bw$" + sum, "$firebase-scrypt$ln=14,r=8$c2FsdA$Bw$YQ$" + sum,
		"$pbkdf2-sha256$i=999999999$c2FsdA$" + sum, "$pbkdf2-sha256$i=0$c2FsdA$" + sum, "$pbkdf2-md5$i=1000$c2FsdA$" + sum, "$pbkdf2-sha256$i=1000$c2FsdA$!", "pbkdf2_sha256$-1$salt$" + sum,
		"pbkdf2_sha256$1000$$" + sum, "pbkdf2_md5$1000$salt$" + sum, "$pbkdf2-sha256$" + strings.Repeat("1", 2000),
	} {
		if err := checkHash(text); err == nil {
			t.Errorf("%q is taken", text)
		}
		if ok, err := h.Verify(context.Background(), text, "password"); ok || err == nil && text != "" {
			t.Errorf("%q verifies: %t, %v", text, ok, err)
		}
	}
	a := open(t, nil)
	_, err := a.Add(context.Background(), Registration{Identifier: ada, Hash: "$1$salt$qJH7.N4xYta3aEG/dfqo/0"})
	wantCode(t, err, session.BadRequest)
}

// Whoever registers brings a password, never a hash.
func TestForeign_NotByRegistering(t *testing.T) {
	a := open(t, nil)
	_, err := a.Register(context.Background(), Registration{Identifier: ada, Hash: foreign[0].hash}, home)
	wantCode(t, err, session.PasswordShort)
}
