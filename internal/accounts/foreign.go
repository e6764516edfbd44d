package accounts

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// passwordHash is a stored hash that passwords can be compared with. It takes the same time for each of them.
type passwordHash interface {
	matches(password string) (bool, error)
	memory() int // KiB that matches takes, at least 1
}

// Limits of what a hash of another system may cost, as of our own: some seconds, and mostMemory.
const (
	mostBcrypt     = 15 // doublings
	mostIterations = 5_000_000
)

// checkHash says why text is no hash that can be verified here. These can:
//
//   - $argon2id$v=19$m=47104,t=1,p=1$salt$sum, as our own
//   - bcrypt: $2a$, $2b$ or $2y$. It sees no more than 72 bytes of a password; the next login makes an argon2id hash of all of it
//   - $scrypt$ln=17,r=8,p=1$salt$sum
//   - Firebase's scrypt: $firebase-scrypt$ln=14,r=8$salt$separator$signer key$sum, of the project's parameters and the user's salt and sum
//   - $pbkdf2-sha256$i=600000$salt$sum, or without i=; also -sha1 and -sha512
//   - pbkdf2_sha256$600000$salt$sum and pbkdf2_sha1, as Django writes them, where the salt is text
//
// Salts, sums and keys are base64 of any alphabet, with or without padding.
func checkHash(text string) error {
	_, err := parseHash(text)
	return err
}

func parseHash(text string) (passwordHash, error) {
	if len(text) > 1024 {
		return nil, errors.New("a hash of more than 1024 bytes")
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(text, "$"), "$")
	parts := strings.Split(text, "$")
	switch {
	case kind == "argon2id":
		return parseArgon2id(text)
	case kind == "2a" || kind == "2b" || kind == "2y":
		return parseBcrypt(text)
	case kind == "scrypt":
		return parseScrypt(parts)
	case kind == "firebase-scrypt":
		return parseFirebase(parts)
	case digests[strings.TrimPrefix(kind, "pbkdf2-")] != nil && strings.HasPrefix(text, "$pbkdf2-"):
		return parsePBKDF2(parts)
	case digests[strings.TrimPrefix(kind, "pbkdf2_")] != nil && strings.HasPrefix(text, "pbkdf2_"):
		return parseDjango(parts)
	}
	return nil, errors.New("no hash of a kind that is known here")
}

var anyAlphabet = strings.NewReplacer("-", "+", "_", "/", ".", "+", "=", "")

// bytesOf decodes base64 as many systems write it.
func bytesOf(text string, least, most int) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(anyAlphabet.Replace(text))
	if err != nil {
		return nil, errors.New("a part of the hash is no base64")
	}
	if len(b) < least || len(b) > most {
		return nil, fmt.Errorf("a part of the hash has %d bytes, not %d to %d", len(b), least, most)
	}
	return b, nil
}

const (
	mostSalt = 128 // bytes
	leastSum = 16
	mostSum  = 128
)

func saltAndSum(salt, sum string) (s, h []byte, err error) {
	if s, err = bytesOf(salt, 1, mostSalt); err != nil {
		return nil, nil, err
	}
	h, err = bytesOf(sum, leastSum, mostSum)
	return s, h, err
}

type bcryptHash string

func parseBcrypt(text string) (passwordHash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != 60 {
		return nil, errors.New("an unreadable bcrypt hash")
	}
	if cost > mostBcrypt {
		return nil, fmt.Errorf("a bcrypt hash of cost %d; at most %d is taken", cost, mostBcrypt)
	}
	return bcryptHash(text), nil
}

func (bcryptHash) memory() int { return 8 }

// matches sees the first 72 bytes, as every bcrypt does.
func (b bcryptHash) matches(password string) (bool, error) {
	if len(password) > 72 {
		password = password[:72]
	}
	err := bcrypt.CompareHashAndPassword([]byte(b), []byte(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

type scryptHash struct {
	n, r, p   int
	salt, sum []byte
}

func (s scryptHash) memory() int { return max(1, 128*s.n*s.r>>10) }

func (s scryptHash) matches(password string) (bool, error) {
	sum, err := scrypt.Key([]byte(password), s.salt, s.n, s.r, s.p, len(s.sum))
	return err == nil && seal.Equal(sum, s.sum), err
}

// checkScrypt bounds what scrypt costs: 128 bytes × N × r, p times.
func checkScrypt(ln, r, p int) error {
	if ln < 1 || ln > 20 || r < 1 || r > 32 || p < 1 || p > 16 || 128<<ln*r > mostMemory<<10 {
		return fmt.Errorf("a scrypt hash out of bounds: ln=%d,r=%d,p=%d", ln, r, p)
	}
	return nil
}

func parseScrypt(parts []string) (passwordHash, error) {
	var ln, r, p int
	if len(parts) != 5 || parts[0] != "" {
		return nil, errors.New("a scrypt hash is $scrypt$ln=17,r=8,p=1$salt$sum")
	}
	if n, err := fmt.Sscanf(parts[2], "ln=%d,r=%d,p=%d", &ln, &r, &p); err != nil || n != 3 {
		return nil, errors.New("a scrypt hash without readable parameters")
	}
	if err := checkScrypt(ln, r, p); err != nil {
		return nil, err
	}
	salt, sum, err := saltAndSum(parts[3], parts[4])
	return scryptHash{1 << ln, r, p, salt, sum}, err
}

// firebaseHash is Firebase's own use of scrypt: what it makes is the key that encrypts the project's signer key, and that is compared.
type firebaseHash struct {
	scryptHash // without a sum
	signer     []byte
	sum        []byte
}

func (f firebaseHash) matches(password string) (bool, error) {
	key, err := scrypt.Key([]byte(password), f.salt, f.n, f.r, f.p, 32)
	if err != nil {
		return false, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return false, err
	}
	sum := make([]byte, len(f.signer))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sum, f.signer)
	return seal.Equal(sum, f.sum), nil
}

func parseFirebase(parts []string) (passwordHash, error) {
	var ln, r int
	if len(parts) != 7 || parts[0] != "" {
		return nil, errors.New("a Firebase hash is $firebase-scrypt$ln=14,r=8$salt$separator$signer key$sum")
	}
	if n, err := fmt.Sscanf(parts[2], "ln=%d,r=%d", &ln, &r); err != nil || n != 2 {
		return nil, errors.New("a Firebase hash without readable parameters: ln is the project's mem_cost, r its rounds")
	}
	if err := checkScrypt(ln, r, 1); err != nil {
		return nil, err
	}
	salt, err1 := bytesOf(parts[3], 1, mostSalt)
	separator, err2 := bytesOf(parts[4], 0, mostSalt)
	signer, err3 := bytesOf(parts[5], 32, mostSum)
	sum, err4 := bytesOf(parts[6], leastSum, mostSum)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return firebaseHash{scryptHash{n: 1 << ln, r: r, p: 1, salt: append(salt, separator...)}, signer, sum}, nil
}

// digests are those that PBKDF2 is made with.
var digests = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

type pbkdf2Hash struct {
	digest     func() hash.Hash
	iterations int
	salt, sum  []byte
}

func (pbkdf2Hash) memory() int { return 1 }

func (h pbkdf2Hash) matches(password string) (bool, error) {
	sum, err := pbkdf2.Key(h.digest, password, h.salt, h.iterations, len(h.sum))
	return err == nil && seal.Equal(sum, h.sum), err
}

func iterationsOf(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "i="))
	if err != nil || n < 1 || n > mostIterations {
		return 0, fmt.Errorf("a PBKDF2 hash has 1 to %d iterations", mostIterations)
	}
	return n, nil
}

func parsePBKDF2(parts []string) (passwordHash, error) {
	if len(parts) != 5 {
		return nil, errors.New("a PBKDF2 hash is $pbkdf2-sha256$i=600000$salt$sum")
	}
	n, err := iterationsOf(parts[2])
	if err != nil {
		return nil, err
	}
	salt, sum, err := saltAndSum(parts[3], parts[4])
	return pbkdf2Hash{digests[strings.TrimPrefix(parts[1], "pbkdf2-")], n, salt, sum}, err
}

func parseDjango(parts []string) (passwordHash, error) {
	if len(parts) != 4 || len(parts[2]) < 1 || len(parts[2]) > mostSalt {
		return nil, errors.New("Django's PBKDF2 hash is pbkdf2_sha256$600000$salt$sum")
	}
	n, err := iterationsOf(parts[1])
	if err != nil {
		return nil, err
	}
	sum, err := bytesOf(parts[3], leastSum, mostSum)
	return pbkdf2Hash{digests[strings.TrimPrefix(parts[0], "pbkdf2_")], n, []byte(parts[2]), sum}, err
}
