package accounts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	saltSize = 16 // bytes
	hashSize = 32
)

// hasher hashes passwords, a few at a time: each takes tens of megabytes and a core.
type hasher struct {
	cost    Hash
	slots   int64 // for hashes of our own; one that takes more memory takes several
	free    *semaphore.Weighted
	waiting atomic.Int64
	nobody  argon2id // what a password is compared with where there is no account
}

// mostWaiting is how many wait for a slot: some seconds of work on a small machine, and little memory.
const mostWaiting = 1000

// mostHashing is how much memory all slots take together, in KiB. What one hash leaves behind is garbage until it is collected, so
// the process grows by about twice that.
const mostHashing = 192 << 10

func newHasher(cost Hash) *hasher {
	slots := int64(min(runtime.GOMAXPROCS(0), max(1, mostHashing/cost.Memory)))
	return &hasher{
		cost: cost, slots: slots, free: semaphore.NewWeighted(slots),
		nobody: argon2id{cost: cost, salt: seal.Random(saltSize), sum: seal.Random(hashSize)},
	}
}

// turn waits for its turn with a hash that takes so many KiB, and returns what gives it back. ProviderDown: too many wait already, or
// ctx ended.
func (h *hasher) turn(ctx context.Context, memory int) (done func(), err error) {
	const op = "hash password"
	if h.waiting.Add(1) > mostWaiting {
		h.waiting.Add(-1)
		return nil, session.Fail(session.ProviderDown, op, "%d passwords are waiting already", mostWaiting)
	}
	defer h.waiting.Add(-1)
	slots := min(int64(1+(memory-1)/h.cost.Memory), h.slots)
	if err := h.free.Acquire(ctx, slots); err != nil {
		return nil, &session.Error{Code: session.ProviderDown, Op: op, Err: err}
	}
	return func() { h.free.Release(slots) }, nil
}

// Hash returns the hash of a new password, as it is stored.
func (h *hasher) Hash(ctx context.Context, password string) (string, error) {
	done, err := h.turn(ctx, h.cost.Memory)
	if err != nil {
		return "", err
	}
	defer done()
	a := argon2id{cost: h.cost, salt: seal.Random(saltSize)}
	a.sum = a.of(password, hashSize)
	return a.String(), nil
}

// Verify reports whether password is the one that stored is a hash of: ours, or one that another system made. "" is nobody's: it takes
// as long as any of ours and is never right.
func (h *hasher) Verify(ctx context.Context, stored, password string) (bool, error) {
	var hash passwordHash = h.nobody
	if stored != "" {
		var err error
		if hash, err = parseHash(stored); err != nil {
			return false, &session.Error{Code: session.Internal, Op: "read password hash", Err: err}
		}
	}
	done, err := h.turn(ctx, hash.memory())
	if err != nil {
		return false, err
	}
	defer done()
	same, err := hash.matches(password)
	if err != nil {
		return false, &session.Error{Code: session.Internal, Op: "hash password", Err: err}
	}
	return same && stored != "", nil
}

// Outgrown reports whether stored cost less in some way than hashes do now, or is of another kind.
func (h *hasher) Outgrown(stored string) bool {
	a, err := parseArgon2id(stored)
	return err != nil || a.cost.Memory < h.cost.Memory || a.cost.Time < h.cost.Time || a.cost.Threads < h.cost.Threads
}

// argon2id is a hash as PHC strings have it: $argon2id$v=19$m=47104,t=1,p=1$salt$sum.
type argon2id struct {
	cost      Hash
	salt, sum []byte
}

func (a argon2id) of(password string, size int) []byte {
	return argon2.IDKey([]byte(password), a.salt, uint32(a.cost.Time), uint32(a.cost.Memory), uint8(a.cost.Threads), uint32(size))
}

func (a argon2id) memory() int { return a.cost.Memory }

func (a argon2id) matches(password string) (bool, error) {
	return seal.Equal(a.of(password, len(a.sum)), a.sum), nil
}

func (a argon2id) String() string {
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.cost.Memory, a.cost.Time, a.cost.Threads, text(a.salt), text(a.sum))
}

// parseArgon2id reads a PHC string. It comes from a database or from another system: what it may cost is bounded.
func parseArgon2id(phc string) (argon2id, error) {
	var a argon2id
	var version int
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return a, errors.New("no argon2id hash in PHC form")
	}
	if n, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &a.cost.Memory, &a.cost.Time, &a.cost.Threads); err != nil || n != 4 {
		return a, errors.New("an argon2id hash without readable parameters")
	}
	c := a.cost
	if version != argon2.Version || c.Memory < 8*c.Threads || c.Memory > mostMemory || c.Time < 1 || c.Time > mostTime || c.Threads < 1 || c.Threads > mostThreads {
		return a, fmt.Errorf("an argon2id hash out of bounds: v=%d m=%d,t=%d,p=%d", version, c.Memory, c.Time, c.Threads)
	}
	var err1, err2 error
	a.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	a.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(a.salt) < 8 || len(a.salt) > 64 || len(a.sum) < 16 || len(a.sum) > 64 {
		return a, errors.New("an argon2id hash with an unreadable salt or sum")
	}
	return a, nil
}
