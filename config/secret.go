package config

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// secret is a text that prints as "[secret]", whatever prints it.
type secret string

func (secret) String() string               { return mask }
func (secret) GoString() string             { return mask }
func (secret) Format(s fmt.State, _ rune)   { io.WriteString(s, mask) }
func (secret) LogValue() slog.Value         { return slog.StringValue(mask) }
func (secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// maxSecret is how long a file with a secret may be.
const maxSecret = 64 << 10

// beside returns path as seen from the configuration file.
func (r *reading) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), path)
}

// readSecret reads a file that holds one secret, without the line end behind it.
func (r *reading) readSecret(path string) (string, error) {
	path = r.beside(path)
	r.private = append(r.private, path)
	text, mode, err := readSecret(path)
	if mode&0o004 != 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%s: everyone on this machine can read this secret; chmod 600 %[1]s", path))
	}
	return text, err
}

// rereading returns what reads keys anew: those in files from there, the others as they are.
func rereading(keys, files []string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) {
		texts := slices.Clone(keys)
		for i, file := range files {
			if file == "" {
				continue
			}
			text, _, err := readSecret(file)
			if err != nil {
				return nil, err
			}
			if err := seal.CheckText(text); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			texts[i] = text
		}
		return texts, nil
	}
}

func readSecret(path string) (text string, mode os.FileMode, err error) {
	// A pipe or a device could keep us waiting, or never end.
	if at, err := os.Stat(path); err != nil {
		return "", 0, reason(err)
	} else if !at.Mode().IsRegular() {
		return "", 0, fmt.Errorf("%s is not a file", path)
	} else {
		mode = at.Mode()
	}
	file, err := os.Open(path)
	if err != nil {
		return "", 0, reason(err)
	}
	defer file.Close()
	read, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	switch {
	case err != nil:
		return "", 0, reason(err)
	case len(read) > maxSecret:
		return "", 0, fmt.Errorf("%s is longer than %d KiB; that is no secret", path, maxSecret>>10)
	}
	trimmed := strings.TrimRight(string(read), "\r\n")
	if trimmed == "" {
		return "", 0, fmt.Errorf("%s is empty", path)
	}
	return trimmed, mode, nil
}

// reason leaves out the name of the system call.
func reason(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return fmt.Errorf("%s: %w", e.Path, e.Err)
	}
	return err
}
