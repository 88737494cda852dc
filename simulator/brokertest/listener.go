package brokertest

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// gate is a listener that can close its connections and wait for their ends.
// The library's own way of doing that deadlocks when a client leaves in the
// meantime: it takes a read lock twice, with a writer waiting in between.
type gate struct {
	listener net.Listener
	serving  sync.WaitGroup // connections

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[net.Conn]bool
}

func newGate(address string) (*gate, error) {
	listener, err := net.Listen("tcp", address)
	// The port may be that of somebody's outgoing connection for a while; even of
	// a client's that tried to reach the broker and found itself.
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		listener, err = net.Listen("tcp", address)
	}
	if err != nil {
		return nil, err
	}
	return &gate{listener: listener, conns: make(map[net.Conn]bool)}, nil
}

func (g *gate) Init(*slog.Logger) error { return nil }
func (g *gate) ID() string              { return "tcp" }
func (g *gate) Protocol() string        { return "tcp" }
func (g *gate) Address() string         { return g.listener.Addr().String() }

// Serve accepts connections until the gate is shut.
func (g *gate) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		if !g.add(conn) {
			conn.Close()
			return
		}
		go func() {
			defer g.serving.Done()
			establish(g.ID(), conn) // its error is the client's
			conn.Close()
			g.mu.Lock()
			defer g.mu.Unlock()
			delete(g.conns, conn)
		}()
	}
}

func (g *gate) add(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.conns[conn] = true
	g.serving.Add(1)
	return true
}

// cut closes every connection.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
}

// shut closes the port and every connection, and waits until the broker has
// done with them.
func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.listener.Close()
	g.cut()
	g.serving.Wait()
}

// Close is what the broker calls; shut comes before it.
func (g *gate) Close(listeners.CloseFn) {}
