package session

import "time"

// breaker keeps a provider that is down from being asked by everyone at once.
type breaker struct {
	failures int
	until    time.Time // nobody asks before
	trying   bool      // one asks, to see whether it is back
}

// open returns an error while the provider is left alone.
func (b *breaker) open(provider string) error {
	if b == nil || b.failures == 0 || !b.trying && !time.Now().Before(b.until) {
		return nil
	}
	return Fail(ProviderDown, "renew", "provider %q did not answer before and is left alone for a moment", provider)
}

// ask says whether the provider may be asked now. After a failure it is left alone for a while, then one may try.
func (n *Renewer) ask(provider string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.breakers[provider]
	if err := b.open(provider); err != nil {
		return err
	}
	if b != nil {
		b.trying = b.failures > 0
	}
	return nil
}

// answered notes how the provider did: 1, 2, 4 … 30 s of peace after failures in a row.
func (n *Renewer) answered(provider string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.breakers[provider]
	if b == nil {
		b = &breaker{}
		n.breakers[provider] = b
	}
	if CodeOf(err) != ProviderDown {
		b.trying, b.failures = false, 0
		return
	}
	if b.failures > 0 && !b.trying {
		return // it was asked before the first failure was known: many at once are one failure, not many in a row
	}
	b.trying = false
	b.failures = min(b.failures+1, 6)
	b.until = time.Now().Add(min(time.Second<<(b.failures-1), 30*time.Second))
}
