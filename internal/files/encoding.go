package files

import (
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// encodings are those a build may have left beside a file, the usually smallest first.
var encodings = []struct{ coding, suffix string }{
	{"br", ".br"},
	{"zstd", ".zst"},
	{"gzip", ".gz"},
}

// sibling opens the compressed form of a file that the client likes best, if it likes one at least as well as the plain file
// (RFC 9110 §12.5.3). One that is older than the file is left over from another build and is passed over.
func sibling(root *os.Root, name string, plain fs.FileInfo, r *http.Request) (coding string, f *os.File, info fs.FileInfo) {
	accept := r.Header.Values("Accept-Encoding")
	if len(accept) == 0 {
		return "", nil, nil
	}
	least := max(quality(accept, "identity"), 0) // when it is not named, any coding is liked better
	for _, e := range encodings {
		q := quality(accept, e.coding)
		if q < 0 {
			q = quality(accept, "*")
		}
		if q <= 0 || q < least || f != nil && q == least {
			continue
		}
		other, otherInfo, err := open(root, name+e.suffix)
		if err != nil {
			continue
		}
		if otherInfo.ModTime().Unix() < plain.ModTime().Unix() { // whole seconds: archives keep no more
			other.Close()
			continue
		}
		if f != nil {
			f.Close()
		}
		coding, f, info, least = e.coding, other, otherInfo, q
	}
	return coding, f, info
}

// quality returns the weight of the first item called name in the lines of an Accept header: 0 to 1, and -1 if it is not
// there. An unreadable weight counts as 0.
func quality(lines []string, name string) float64 {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			item, parameters, _ := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(item), name) {
				continue
			}
			for p := range strings.SplitSeq(parameters, ";") {
				key, value, _ := strings.Cut(p, "=")
				if strings.EqualFold(strings.TrimSpace(key), "q") {
					q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
					if err != nil || !(q >= 0 && q <= 1) {
						return 0
					}
					return q
				}
			}
			return 1
		}
	}
	return -1
}
