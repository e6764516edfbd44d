package issuer

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

func TestMetadata_Freshness(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                          MetadataLeast,
		"no-store":                  MetadataLeast,
		"max-age=0":                 MetadataLeast,
		"max-age=-1":                MetadataLeast,
		"public, max-age=3600":      time.Hour,
		`Max-Age="7200"`:            2 * time.Hour,
		"s-maxage=9000":             MetadataLeast,
		"max-age=999999999":         MetadataMost,
		"max-age=99999999999999999": MetadataMost,
	} {
		if got := Fresh(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestDocument_OneFetchForAll: a hundred ask while the first fetch is held back, and one more when it is done.
func TestDocument_OneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches, release := 0, make(chan struct{})
		d := NewDocument(time.Now, func(context.Context) (int, time.Duration, error) {
			fetches++
			<-release
			return 7, time.Hour, nil
		})
		ask := func() {
			if e, err := d.Get(context.Background()); err != nil || e.Value != 7 {
				t.Errorf("got %v, %v", e.Value, err)
			}
		}
		for range 100 {
			go ask()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		ask()
		if fetches != 1 {
			t.Errorf("%d fetches", fetches)
		}
	})
}

// TestDocument_AnIssuerThatHangs keeps one request waiting, and nobody else.
func TestDocument_AnIssuerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func() {}
		d := NewDocument(time.Now, func(context.Context) (int, time.Duration, error) {
			hang()
			return 7, time.Hour, nil
		})
		if _, err := d.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		release := make(chan struct{})
		hang = func() { <-release }
		waiting := true
		go func() {
			_, _ = d.Get(t.Context())
			waiting = false
		}()
		synctest.Wait()
		for range 100 {
			if e, err := d.Get(t.Context()); err != nil || e.Value != 7 || e.Version != 1 {
				t.Fatalf("got %+v, %v", e, err)
			}
		}
		if !waiting {
			t.Error("nobody asks")
		}
		close(release)
		synctest.Wait()
		if e, err := d.Get(t.Context()); err != nil || e.Version != 2 || waiting {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}

// TestDocument_WaitEndsWithItsRequest: whoever leaves does not wait on, and takes nothing from those who stay.
func TestDocument_WaitEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := NewDocument(time.Now, func(ctx context.Context) (int, time.Duration, error) {
			<-release
			return 7, time.Hour, ctx.Err() // the context of the one who asked first, who is gone by then
		})
		first, leave := context.WithCancel(context.Background())
		go func() { _, _ = d.Get(first) }()
		synctest.Wait()
		leave()
		second, give := context.WithCancel(context.Background())
		give()
		_, err := d.Get(second)
		if session.CodeOf(err) != session.ProviderDown {
			t.Fatalf("got %v", err)
		}
		close(release)
		_, err = d.Get(context.Background())
		if err != nil {
			t.Fatal(err)
		}
	})
}
