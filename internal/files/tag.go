package files

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const maxSummed = 1 << 20 // bytes of a file that is read for its tag

// tagOf returns the strong entity tag of f, and leaves f at its beginning.
//
// It is made from the content, each time anew: reproducible builds set the same time on every file, an index.html that names
// another hash has the same size, and file systems give a new file the number of the old. Where the name holds a hash already,
// or reading would take long, size and time have to do; coding then keeps the encodings of a file apart.
func tagOf(f *os.File, info fs.FileInfo, name, coding string) (string, error) {
	if info.Size() > maxSummed || isHashed(name) {
		return fmt.Sprintf(`"%x-%x%s"`, info.ModTime().UnixNano(), info.Size(), coding), nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, maxSummed)); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16]) + coding + `"`, nil
}
