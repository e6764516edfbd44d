package storage

// Options are what the session cookie obeys.
type Options struct {
	SameSite   string // "strict" (default) or "lax"
	CacheBytes int64  // memory for opened sessions; default 64 MiB
}
