package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
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

// secret reads a text that is never shown: written down, or {file: PATH}.
func (f *form) secret(into *secret, key, meaning string, rules ...rule) {
	if v, ok := f.option(entry{key, "secret", "", meaning}, false); ok {
		f.open(into, key, v, rules)
	}
}

// secrets reads a list of them, and the files that they were in: "" for one that was not.
func (f *form) secrets(into *[]secret, files *[]string, key, meaning string, rules ...rule) {
	v, ok := f.option(entry{key, "list of secrets", "", meaning}, true)
	switch {
	case !ok:
	case v.kind != list:
		f.wrong(v.at, "%s%s: a list is wanted; write [{file: PATH}]", f.path, key)
	case len(v.items) == 0:
		f.wrong(v.at, "%s%s: the list is empty", f.path, key)
	default:
		for _, item := range v.items {
			var s secret
			file := f.open(&s, key, item, rules)
			if s != "" && slices.Contains(*into, s) {
				f.wrong(item.at, "%s%s: this one is there twice", f.path, key)
			}
			*into, *files = append(*into, s), append(*files, file)
		}
	}
}

// database reads where one is. There may be a password in it, so that it is as secret as one, or {file: PATH}.
func (f *form) database(into *string, key, standard, meaning string, rules ...rule) {
	*into = standard
	v, ok := f.option(entry{key, "text or `{file: PATH}`", standard, meaning}, false)
	if !ok {
		return
	}
	var dsn secret
	inline := f.inline
	f.open(&dsn, key, v, rules)
	f.inline = inline || f.inline && hasPassword(string(dsn))
	if dsn != "" {
		*into = string(dsn)
	}
}

func hasPassword(dsn string) bool {
	u, err := url.Parse(dsn)
	if err != nil {
		return true
	}
	_, there := u.User.Password()
	return there || u.Query().Has("password")
}

// howToWrite says how a file comes about that is not there yet.
func (f *form) howToWrite(key, name string, missing error) string {
	switch {
	case !errors.Is(missing, fs.ErrNotExist):
		return ""
	case key == "keys":
		return "; make one: (umask 077; cloakroom keys new > " + f.beside(name) + ")"
	}
	return "; write it there: (umask 077; cat > " + f.beside(name) + "), paste it, Enter, Ctrl-D"
}

// open reads a secret, and returns the file that it was in.
func (f *form) open(into *secret, key string, v value, rules []rule) (file string) {
	at, from := v.at, ""
	if v.kind == mapping {
		if len(v.pairs) != 1 || v.pairs[0].key != "file" {
			f.wrong(at, "%s%s: a secret is a text or {file: PATH}", f.path, key)
			return ""
		}
		v = v.pairs[0].value
		if err := f.one(v); err != nil || v.bad {
			if err != nil {
				f.wrong(v.at, "%s%s.file: %s", f.path, key, err)
			}
			return ""
		}
		name := v.text
		text, err := f.readSecret(name)
		if err != nil {
			f.wrong(v.at, "%s%s: %s%s", f.path, key, err, f.howToWrite(key, name, err))
			return ""
		}
		v.text, v.raw = text, ""
		file = f.beside(name)
		from = file + ": "
	} else if err := f.one(v); err != nil || v.bad {
		if err != nil {
			f.wrong(at, "%s%s: %s", f.path, key, err)
		}
		return ""
	}
	for _, r := range rules {
		if err := r(v); err != nil {
			f.wrong(at, "%s%s: %s%s", f.path, key, from, err)
			return ""
		}
	}
	f.inline = f.inline || v.at.env == "" && v.text == v.raw
	*into = secret(v.text)
	return file
}
