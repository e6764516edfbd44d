package recent

import (
	"testing"
	"time"
)

func TestMap_ForgetsTheLongestUnused(t *testing.T) {
	now := time.Now()
	m := New[int, string](40, 0)
	m.Put(1, "used", 10, now)
	for n := 2; n < 100; n++ {
		m.Put(n, "filler", 10, now)
		if v, ok := m.Get(1, now); !ok || v != "used" {
			t.Fatalf("after %d: what is used is gone", n)
		}
		if held := m.Weight(); held > 40 {
			t.Fatalf("after %d: it holds %d bytes", n, held)
		}
	}
	if _, ok := m.Get(2, now); ok {
		t.Error("what nobody used is there yet")
	}
	m.Put(1, "newer", 10, now)
	m.Put(1, "newest", 10, now)
	if v, _ := m.Get(1, now); v != "newest" {
		t.Errorf("it is %q", v)
	}
	if m.Weight() <= 0 || m.Weight() > 40 {
		t.Errorf("it weighs %d", m.Weight())
	}
}

func TestMap_Take(t *testing.T) {
	now := time.Now()
	m := New[string, int](100, 0)
	m.Put("a", 1, 40, now)
	m.Put("b", 2, 40, now) // a is in the old half now
	for key, want := range map[string]int{"a": 1, "b": 2} {
		if v, ok := m.Take(key); !ok || v != want {
			t.Errorf("%s: %d %v", key, v, ok)
		}
		if _, ok := m.Get(key, now); ok {
			t.Errorf("%s was taken and is there", key)
		}
	}
	if _, ok := m.Take("a"); ok || m.Weight() != 0 {
		t.Errorf("weight %d", m.Weight())
	}
}

func TestMap_ForgetsWithTime(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	m := New[string, int](1000, time.Minute)
	m.Put("left", 1, 10, at(0))
	m.Put("used", 2, 10, at(0))
	for d := time.Duration(0); d <= 3*time.Minute; d += 20 * time.Second {
		if _, ok := m.Get("used", at(d)); !ok {
			t.Fatalf("after %s: what is used is gone", d)
		}
	}
	if _, ok := m.Get("left", at(3*time.Minute)); ok {
		t.Error("what nobody used is there after three minutes")
	}
	if _, ok := m.Get("used", at(time.Hour)); ok {
		t.Error("what nobody used for an hour is there")
	}
}
