package issuer

import (
	"net/http"
	"testing"
	"time"
)

// TestCalls_CB10_OwnRules: whatever client is passed, the limits are ours.
func TestCalls_CB10_OwnRules(t *testing.T) {
	for _, client := range []*http.Client{nil, {}, {Timeout: time.Hour}} {
		c := NewCalls(client).client
		if c.Timeout != CallLimit || c.Jar != nil || c.CheckRedirect(nil, nil) != http.ErrUseLastResponse {
			t.Errorf("timeout %v", c.Timeout)
		}
		if tls := c.Transport.(*http.Transport).TLSClientConfig; tls.MinVersion < 0x0303 || tls.InsecureSkipVerify {
			t.Errorf("TLS from %x", tls.MinVersion)
		}
	}
	if http.DefaultTransport.(*http.Transport).MaxConnsPerHost != 0 {
		t.Error("the default transport was changed for everyone")
	}
}
