package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A packed session is one for which every byte counts: version ‖ id ‖ floor ‖ body ‖ told ‖ access, refresh and ID token. Each of
// the last five has its length before it. The body is without its tokens and without the claims that the ID token tells: told says
// which these are, one bit for each of its claims in the order of their names. A token that is parts in base64url, as a JWT is, is
// kept as what its parts encode.
const (
	packedVersion = 1
	packedFixed   = 1 + len(session.ID{}) + 4
)

var errPacked = errors.New("not a packed session")

// pack returns s as it rests in cookies. Its lease, whether it was presented, and the device that has it are not part of it.
func pack(s *session.Session) ([]byte, error) {
	bare := *s
	bare.Lease, bare.Presented, bare.Device = time.Time{}, time.Time{}, session.Device{}
	bare.Grant.Tokens.Access, bare.Grant.Tokens.Refresh, bare.Grant.Tokens.ID = "", "", ""
	var told []byte
	bare.Grant.Claims, told = untold(s.Grant.Claims, s.Grant.Tokens.ID)
	text, err := encodeBody(&bare)
	if err != nil {
		return nil, err
	}
	t := s.Grant.Tokens
	out := make([]byte, packedFixed, packedFixed+len(text)+len(t.Access)+len(t.Refresh)+len(t.ID)+16)
	out[0] = packedVersion
	copy(out[1:], s.ID[:])
	binary.BigEndian.PutUint32(out[packedFixed-4:], s.Floor)
	out = appendSized(appendSized(out, text), told)
	for _, token := range []string{t.Access, t.Refresh, t.ID} {
		out = appendSized(out, packToken(token))
	}
	return out, nil
}

// unpack is the reverse of pack.
func unpack(packed []byte) (*session.Session, error) {
	if len(packed) < packedFixed || packed[0] != packedVersion {
		return nil, errPacked
	}
	var fields [5][]byte
	rest := packed[packedFixed:]
	for i := range fields {
		var ok bool
		if fields[i], rest, ok = cutSized(rest); !ok {
			return nil, errPacked
		}
	}
	if len(rest) != 0 {
		return nil, errPacked
	}
	s, err := decodeBody(fields[0])
	if err != nil {
		return nil, err
	}
	s.ID, s.Floor = session.ID(packed[1:packedFixed-4]), binary.BigEndian.Uint32(packed[packedFixed-4:])
	t := &s.Grant.Tokens
	for i, into := range []*string{&t.Access, &t.Refresh, &t.ID} {
		var ok bool
		if *into, ok = unpackToken(fields[i+2]); !ok {
			return nil, errPacked
		}
	}
	return s, tell(s, fields[1])
}

// claimsOf returns the claims of an ID token and their names in order; none if it is no JWT. It was verified when it came.
func claimsOf(idToken string) (claims map[string]any, names []string) {
	_, rest, _ := strings.Cut(idToken, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return nil, nil
	}
	return claims, slices.Sorted(maps.Keys(claims))
}

// untold returns the claims that an ID token does not tell, and which of its own are among claims.
func untold(claims map[string]any, idToken string) (rest map[string]any, told []byte) {
	known, names := claimsOf(idToken)
	rest, told = maps.Clone(claims), make([]byte, (len(names)+7)/8)
	for i, name := range names {
		if value, ok := claims[name]; ok && reflect.DeepEqual(value, known[name]) {
			told[i/8] |= 1 << (i % 8)
			delete(rest, name)
		}
	}
	return rest, bytes.TrimRight(told, "\x00")
}

// tell puts back what untold took out.
func tell(s *session.Session, told []byte) error {
	if len(told) == 0 {
		return nil
	}
	known, names := claimsOf(s.Grant.Tokens.ID)
	if len(told) > (len(names)+7)/8 {
		return errPacked
	}
	if s.Grant.Claims == nil {
		s.Grant.Claims = make(map[string]any, len(names))
	}
	for i, name := range names {
		if i/8 < len(told) && told[i/8]&(1<<(i%8)) != 0 {
			s.Grant.Claims[name] = known[name]
		}
	}
	return nil
}

func appendSized(out, field []byte) []byte {
	return append(binary.AppendUvarint(out, uint64(len(field))), field...)
}

func cutSized(from []byte) (field, rest []byte, ok bool) {
	n, used := binary.Uvarint(from)
	if used <= 0 || n > uint64(len(from)-used) {
		return nil, nil, false
	}
	from = from[used:]
	return from[:n], from[n:], true
}

// packToken returns a token without its base64: the number of its parts, then each. 0 is a token as it stands.
func packToken(token string) []byte {
	parts := strings.Split(token, ".")
	if len(parts) == 3 || len(parts) == 5 { // JWS, JWE
		packed := []byte{byte(len(parts))}
		for _, part := range parts {
			raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
			if err != nil || strings.ContainsAny(part, "\r\n") { // which the decoder passes over
				return append([]byte{0}, token...)
			}
			packed = appendSized(packed, raw)
		}
		return packed
	}
	return append([]byte{0}, token...)
}

func unpackToken(packed []byte) (string, bool) {
	if len(packed) == 0 {
		return "", false
	}
	count, rest := int(packed[0]), packed[1:]
	if count == 0 {
		return string(rest), true
	}
	var token bytes.Buffer
	for i := range count {
		part, after, ok := cutSized(rest)
		if !ok {
			return "", false
		}
		if i > 0 {
			token.WriteByte('.')
		}
		token.Write(base64.RawURLEncoding.AppendEncode(token.AvailableBuffer(), part))
		rest = after
	}
	return token.String(), len(rest) == 0
}
