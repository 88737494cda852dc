package broker

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
)

// memStore is a Store that can be made to fail.
type memStore struct {
	mu   sync.Mutex
	m    map[string][]byte
	fail bool
}

func (s *memStore) Save(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return errors.New("disk full")
	}
	s.m[key] = bytes.Clone(value)
	return nil
}

func (s *memStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return errors.New("disk full")
	}
	delete(s.m, key)
	return nil
}

func (s *memStore) Load(_ context.Context, each func(string, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.m {
		if err := each(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) len() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.m) }

func TestRetainedMessagesAndSessionsSurviveARestart(t *testing.T) {
	st := &memStore{m: map[string][]byte{"retained/broken": []byte("{"), "session/broken": []byte("no")}}
	with := func(_ *Config, d *Deps) { d.Store = st }
	r := start(t, with)
	c := r.dial().connect("stays", false, false, "")
	c.sub("out/#", 1)
	v5 := r.dial().connect("stays5", true, true, "\x11\x00\x00\x0e\x10") // session expiry 1 h
	v5.sub("sensors/#", 1)
	gone := r.dial().connect("goes", true, false, "")
	gone.sub("out/#", 1)
	p := r.dial().connect("p", true, true, "")
	p.send(frame(0x33, str("state/a")+id16(1)+"\x0e\x03"+str("text")+"\x26"+str("k")+str("v")+"kept"))
	p.expect("ack", ack(typePuback, 1))
	p.send(frame(0x33, str("state/b")+id16(2)+"\x00removed"))
	p.expect("ack", ack(typePuback, 2))
	p.send(frame(0x33, str("state/b")+id16(3)+"\x00"))
	p.expect("ack", ack(typePuback, 3))
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	if n := st.len(); n != 5 { // two broken, two sessions, one message
		t.Fatalf("%d values in the store, want 5: %v", n, st.m)
	}

	r = start(t, with)
	if s := r.b.Stats(); s.Sessions != 2 || s.Subscriptions != 2 {
		t.Errorf("after the restart: %d sessions, %d subscriptions, want 2 and 2", s.Sessions, s.Subscriptions)
	}
	if err := r.b.Publish(t.Context(), "out/x", []byte("queued"), 1, false); err != nil {
		t.Fatal(err)
	}
	c = r.dial()
	c.send(connectPacket("stays", false, false, ""))
	c.expect("CONNACK with the session", "\x20\x02\x01\x00")
	if p := c.recv(); len(p) < 9 || p[4:9] != "out/x" {
		t.Errorf("received %q, want what was published meanwhile", p)
	}
	s := r.dial().connect("s", true, true, "")
	s.sub("state/#", 1)
	if p := s.recv(); !bytes.Contains([]byte(p), []byte("\x0e\x03"+str("text")+"\x26"+str("k")+str("v")+"kept")) {
		t.Errorf("retained message %q has lost its properties", p)
	}
	s.send("\xc0\x00")
	s.expect("nothing else is retained", "\xd0\x00")
	// A clean start ends the old session for good.
	r.dial().connect("stays", true, false, "")
	eventually(t, "its stored form is gone", func() bool { return st.len() == 4 })
}

func TestAStoreThatFailsIsTriedAgain(t *testing.T) {
	st := &memStore{m: map[string][]byte{}, fail: true}
	r := start(t, func(_ *Config, d *Deps) { d.Store = st })
	if err := r.b.Publish(t.Context(), "state/a", []byte("x"), 1, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the error is counted", func() bool { return r.b.Stats().StoreErrors > 0 })
	st.mu.Lock()
	st.fail = false
	st.mu.Unlock()
	eventually(t, "it is stored in the end", func() bool { return st.len() == 1 })
}

func TestPendingValuesAreBoundedAndTheLastWins(t *testing.T) {
	p := newPending()
	p.put("a", []byte("1"))
	p.put("b", []byte("2"))
	k, v, _ := p.take()
	if k != "a" || string(v) != "1" {
		t.Fatalf("took %s=%s", k, v)
	}
	p.put("a", []byte("3"))
	if k, _, _ = p.take(); k != "b" {
		t.Errorf("took %s while a is being written, want b", k)
	}
	if _, _, ok := p.take(); ok {
		t.Error("took a key that is being written")
	}
	p.done("a", []byte("1"), true) // it failed, but there is a newer one
	if k, v, _ = p.take(); k != "a" || string(v) != "3" {
		t.Errorf("took %s=%s, want a=3", k, v)
	}
	p = newPending()
	for i := range maxPending {
		p.put(string(rune(i))+"x"+string(rune(i>>8)), nil)
	}
	if len(p.todo) == maxPending && p.put("one more", nil) {
		t.Error("the bound does not hold")
	}
}
