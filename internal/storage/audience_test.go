package storage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// addressing is a provider that makes tokens for one API, and rotates its refresh token each time.
type addressing struct {
	*provider
	refuses bool

	mu    sync.Mutex
	wants map[string]int
}

func (p *addressing) Refresh(ctx context.Context, g session.Grant, want session.Want) (session.Tokens, error) {
	p.mu.Lock()
	p.wants[want.Audience]++
	p.mu.Unlock()
	if p.refuses && want.Audience != "" {
		return session.Tokens{}, session.Fail(session.ProviderRefused, "refresh", "invalid_target")
	}
	tokens, err := p.provider.Refresh(ctx, g, want)
	if want.Audience != "" {
		tokens.Access += "@" + want.Audience
	}
	return tokens, err
}

func (p *addressing) Addressees(access string, _ session.Want) []string {
	_, name, _ := strings.Cut(access, "@")
	return []string{name}
}

// asked returns how often each audience was asked for since the last time.
func (p *addressing) asked() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	wants := p.wants
	p.wants = map[string]int{}
	return wants
}

var audiences = []string{"a", "b", "c"}

// However many ask at any replica, each replica asks the provider once for each audience, and no refresh token comes twice: not at first,
// and not when all tokens are over at once.
func TestFor_P8_R1_OneRefreshForEachAudience(t *testing.T) {
	for _, resting := range []string{"store", "sealed"} {
		for _, replicas := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d replicas", resting, replicas), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &addressing{provider: newProvider(time.Minute), wants: map[string]int{}}
					p.before, p.back = 100*time.Millisecond, 100*time.Millisecond
					g := newRig(t, session.DefaultOptions(), p)
					g.options.Storage, g.audiences = resting, audiences
					store := memory.New()
					var all []*replica
					for range replicas {
						r := g.replica(t.Context(), t, &ear{Store: store, slow: time.Millisecond})
						all = append(all, r)
					}
					synctest.Wait()
					_, value := signIn(t, all[0], p.provider)
					p.asked()
					for round, wait := range []time.Duration{0, time.Second, 61 * time.Second, 55 * time.Second} {
						time.Sleep(wait)
						value = everybodyAsks(t, all, value)
						wants := p.asked()
						for _, name := range audiences {
							if n := wants[name]; n > replicas || n == 0 && round == 0 {
								t.Errorf("round %d: %q was asked for %d times", round, name, n)
							}
						}
						if wants[""] > 1 || round == 1 && len(wants) != 0 || round == 2 && wants[""] != 1 {
							t.Errorf("round %d: the provider was asked for %v", round, wants)
						}
						time.Sleep(2 * time.Second) // what began early is over
						p.asked()
					}
					if len(p.reused) != 0 || p.dead {
						t.Errorf("refresh tokens came twice: %v", p.reused)
					}
				})
			})
		}
	}
}

// everybodyAsks has 150 requests of one browser ask for tokens for one API, and returns its cookie afterwards.
func everybodyAsks(t *testing.T, all []*replica, value string) string {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 150 {
		r, name := all[i%len(all)], audiences[i%len(audiences)]
		wg.Go(func() {
			s, err := r.use(value)
			if err != nil {
				t.Errorf("a request: %v", err)
				return
			}
			seen, err := r.For(context.Background(), s, name)
			if err != nil {
				t.Errorf("for %s: %v", name, err)
				return
			}
			token := seen.Grant.Tokens
			if !strings.HasSuffix(token.Access, "@"+name) || !time.Now().Before(token.Expires) || token.Refresh != "" || seen.ID != s.ID {
				t.Errorf("for %s: %+v", name, token)
			}
		})
	}
	wg.Wait()
	for _, r := range all {
		s, err := r.use(value)
		if err != nil {
			t.Fatal(err)
		}
		if next := r.written(s, value); next != "" {
			value = next
		}
	}
	return value
}

// What a provider refuses, it is not asked again for a while; the session and its own token go on.
func TestFor_P8_ARefusalIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &addressing{provider: newProvider(time.Hour), refuses: true, wants: map[string]int{}}
		g := newRig(t, session.DefaultOptions(), p)
		g.audiences = audiences
		r := g.replica(t.Context(), t, memory.New())
		_, value := signIn(t, r, p.provider)
		for range 60 {
			s, err := r.use(value)
			if err != nil {
				t.Fatal(err)
			}
			if seen, err := r.For(context.Background(), s, "a"); session.CodeOf(err) != session.ProviderRefused || seen != nil {
				t.Fatalf("%+v, %v", seen, err)
			}
			time.Sleep(time.Second)
		}
		if n := p.asked()["a"]; n != 2 {
			t.Errorf("asked %d times in a minute", n)
		}
		if _, err := r.For(context.Background(), &session.Session{}, "elsewhere"); session.CodeOf(err) != session.Internal {
			t.Errorf("what no route names: %v", err)
		}
		if g.audit.count(audit.Ended) != 0 {
			t.Error("the session ended")
		}
		time.Sleep(time.Minute) // until what is remembered of it is forgotten
	})
}

// A page asks many APIs at once, and its provider rotates the refresh token for each: a request that comes late, with the cookie of before and to
// another replica, is as many generations behind.
func TestFor_P8_R1_ManyGenerationsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &addressing{provider: newProvider(time.Hour), wants: map[string]int{}}
		g := newRig(t, session.DefaultOptions(), p)
		g.options.Storage = "sealed"
		var many []string
		for i := range 20 {
			many = append(many, fmt.Sprint("api", i))
		}
		g.audiences = many
		var all []*replica
		for store := memory.New(); len(all) < 3; {
			r := g.replica(t.Context(), t, &ear{Store: store, slow: time.Millisecond})
			all = append(all, r)
		}
		synctest.Wait()
		_, value := signIn(t, all[0], p.provider)
		time.Sleep(time.Second)
		for i, r := range all {
			for _, name := range many {
				s, err := r.use(value)
				if err != nil {
					t.Fatalf("replica %d, %s: %v", i, name, err)
				}
				if seen, err := r.For(context.Background(), s, name); err != nil || !strings.HasSuffix(seen.Grant.Tokens.Access, "@"+name) {
					t.Fatalf("replica %d, %s: %v", i, name, err)
				}
			}
		}
		if len(p.reused) != 0 || p.dead {
			t.Errorf("refresh tokens came twice: %v", p.reused)
		}
	})
}
