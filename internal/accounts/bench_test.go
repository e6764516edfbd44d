package accounts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// spent is the CPU time of this process: what others do on the machine does not count.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ballast is as much as the program's own, see cmd/cloakroom: a test's small heap would be collected for every few hundred tokens.
var ballast = make([]byte, 32<<20)

// compare reports what do costs over bare, turn by turn.
func compare(b *testing.B, rounds int, bare, do func()) {
	defer runtime.KeepAlive(ballast)
	var barely, all time.Duration
	for b.Loop() {
		start := spent(b)
		for range rounds {
			bare()
		}
		between := spent(b)
		for range rounds {
			do()
		}
		barely, all = barely+between-start, all+spent(b)-between
	}
	b.ReportMetric(float64(all)/float64(barely), "cpu-ratio")
}

// A login costs at most 5 % more than the hash it needs.
func BenchmarkSignIn_OverTheBareHash(b *testing.B) {
	var t testing.T
	a := open(&t, nil)
	a.hasher = newHasher(Options{}.withDefaults().Hash)
	account := a.mustRegister(&t, ada)
	hash, err := parseArgon2id(account.password)
	if err != nil {
		b.Fatal(err)
	}
	compare(b, 1, func() { hash.of(password, hashSize) }, func() {
		if _, err := a.SignIn(context.Background(), ada, password, home); err != nil {
			b.Fatal(err)
		}
	})
}

// A token costs at most half as much again as its signature.
func BenchmarkMint_OverTheBareSignature(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	a := open(&testing.T{}, nil)
	account := &Account{ID: seal.RandomText(16), Email: ada, epoch: 1}
	text := make([]byte, 400)
	compare(b, 200, func() {
		sum := sha256.Sum256(text)
		if _, err := ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if _, err := a.mint(account, issued{SignedIn: time.Now().Unix()}); err != nil {
			b.Fatal(err)
		}
	})
}
