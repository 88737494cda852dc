// Package port gives tests addresses of their own for servers that go away and
// come back. They are below the ports that the kernel gives out by itself, and no
// two tests get the same, not even in test binaries that run side by side.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

const (
	first  = 20_000
	blocks = 120
	size   = 100 // ports of a block
)

var mu sync.Mutex // guards what follows
var (
	held []net.Listener // on the first port of each block that is this process's
	base int
	next = size // none is left
)

// Free returns an address that nothing listens on.
func Free(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range 2 * blocks * size {
		if next == size && !take() {
			break
		}
		next++
		addr := fmt.Sprintf("127.0.0.1:%d", base+next-1)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("found no free port")
	return ""
}

// take takes a block, by listening on its first port for as long as the process lives.
func take() bool {
	for _, i := range rand.Perm(blocks) {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i*size)); err == nil {
			held, base, next = append(held, l), first+i*size, 1
			return true
		}
	}
	return false
}
