package port

import (
	"net"
	"testing"
)

func TestNoAddressIsGivenTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 3 * size { // nobody listens meanwhile
		addr := Free(t)
		if seen[addr] {
			t.Fatalf("%s is given twice", addr)
		}
		seen[addr] = true
	}
	for _, l := range held {
		if _, err := net.Listen("tcp", l.Addr().String()); err == nil {
			t.Errorf("the block at %v is not held", l.Addr())
		}
		if seen[l.Addr().String()] {
			t.Errorf("%v, which holds a block, is given away", l.Addr())
		}
	}
}

func TestAPortThatIsTakenIsNotGiven(t *testing.T) {
	addr := Free(t)
	mu.Lock()
	l, err := net.Listen("tcp", addr)
	next-- // as if it were the next
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if again := Free(t); again == addr {
		t.Errorf("%s is given, and somebody listens there", again)
	}
}
