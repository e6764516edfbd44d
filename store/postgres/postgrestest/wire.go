package postgrestest

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// Wire is a way to the cluster by TCP, which can be cut.
type Wire struct {
	Address string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// NewWire lays one, until the test ends.
func NewWire(t testing.TB) *Wire {
	t.Helper()
	socket := filepath.Join(Running(t).Folder, ".s.PGSQL.5432")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(conn, socket) })
		}
	})
	t.Cleanup(func() { l.Close(); w.Cut(); all.Wait() })
	return w
}

// DSN is that of a new, empty schema at the other end.
func (w *Wire) DSN() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?search_path=test_%d", w.Address, last.Add(1))
}

// Cut ends all connections, and those that are made from now on.
func (w *Wire) Cut() { w.set(true) }

// Mend undoes Cut.
func (w *Wire) Mend() { w.set(false) }

func (w *Wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
}

// hold notes a connection, if it may be.
func (w *Wire) hold(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cut {
		w.conns = append(w.conns, conn)
	}
	return !w.cut
}

func (w *Wire) carry(conn net.Conn, socket string) {
	defer conn.Close()
	if !w.hold(conn) {
		return
	}
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(server, conn)
		server.Close()
	}()
	io.Copy(conn, server)
	conn.Close()
	<-back
}
