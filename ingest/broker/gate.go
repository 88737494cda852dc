package broker

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// gate holds messages to an MQTT 5 client back when as many are
// unacknowledged as its Receive Maximum allows [MQTT-3.3.4-9], and keeps their
// order. mochi has such a quota too, but sends what it held back in random
// order, forgets it, and searches all of it at every ack; so mochi's is
// switched off, and frames are held where they are written. The same is done,
// for every client, with what mochi sends again after a reconnect.
type gate struct {
	mu     sync.Mutex          // taken before writer.mu
	open   bool                // CONNACK is out and what was queued is in order; before, all is held
	window int                 // the client's Receive Maximum; 0: any number
	flight map[uint16]struct{} // ids on the wire
	held   []byte              // whole PUBLISH frames, in order
	space  chan struct{}       // not nil: closed when held has shrunk
}

// publishID returns the packet id of a PUBLISH frame, 0 at QoS 0.
func publishID(frame []byte, head int) uint16 {
	if frame[0]>>1&3 == 0 {
		return 0
	}
	at := head + 2 + int(binary.BigEndian.Uint16(frame[head:]))
	return binary.BigEndian.Uint16(frame[at:])
}

// write passes on what may go out now and holds the rest. b is whole frames.
func (g *gate) write(w *writer, b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, from := len(b), 0
	out := b[:0:0]
	for at := 0; at < len(b); {
		head, total, err := frameLength(b[at:])
		if err != nil || total == 0 || at+total > len(b) {
			break // not frames: none of ours, let it pass
		}
		f := b[at : at+total]
		at += total
		if f[0]>>4 != typePublish>>4 {
			continue
		}
		id := publishID(f, head)
		if g.open && len(g.held) == 0 && (id == 0 || g.window == 0 || len(g.flight) < g.window) {
			g.fly(id)
			continue
		}
		out = append(out, b[from:at-total]...)
		from = at
		g.held = append(g.held, f...)
	}
	if from == 0 {
		out = b
	} else {
		out = append(out, b[from:]...)
	}
	if len(out) > 0 {
		if _, err := w.put(out); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (g *gate) fly(id uint16) {
	if id == 0 || g.window == 0 {
		return
	}
	if g.flight == nil {
		g.flight = map[uint16]struct{}{}
	}
	g.flight[id] = struct{}{}
}

// done is called when the client has finished with a message.
func (g *gate) done(w *writer, id uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.window == 0 {
		return
	}
	delete(g.flight, id)
	g.advanceLocked(w)
}

// start puts what is held into the order in which it was published, and opens
// the gate. created returns when a message was published, in unix seconds.
func (g *gate) start(w *writer, created func(id uint16) int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	type item struct {
		frame []byte
		at    int64
		id    uint16
	}
	var items []item
	for b := g.held; len(b) > 0; {
		head, total, _ := frameLength(b)
		it := item{frame: b[:total], at: math.MaxInt64, id: publishID(b, head)}
		if it.id != 0 {
			it.at = created(it.id)
		}
		items, b = append(items, it), b[total:]
	}
	// Ids are given in order, too, and start again at 1 after 65535.
	slices.SortStableFunc(items, func(a, b item) int {
		if a.at != b.at || a.id == 0 {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(int16(a.id-b.id), 0)
	})
	sorted := make([]byte, 0, len(g.held))
	for _, it := range items {
		sorted = append(sorted, it.frame...)
	}
	g.open, g.held = true, sorted
	g.advanceLocked(w)
}

// advanceLocked sends as much of what is held as the window allows.
func (g *gate) advanceLocked(w *writer) {
	at := 0
	for at < len(g.held) {
		head, total, _ := frameLength(g.held[at:])
		id := publishID(g.held[at:], head)
		if id != 0 && g.window > 0 && len(g.flight) >= g.window {
			break
		}
		g.fly(id)
		at += total
	}
	if at == 0 {
		return
	}
	_, _ = w.put(g.held[:at]) // an error of the socket shows at the reader
	if g.held = g.held[at:]; len(g.held) == 0 {
		g.held = nil
	}
	if g.space != nil {
		close(g.space)
		g.space = nil
	}
}

// full reports whether messages are held because the client has as many
// unacknowledged as it takes.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open && g.window > 0 && len(g.flight) >= g.window && len(g.held) > 0
}

// wait returns when fewer than limit bytes are held, or the connection ends.
func (g *gate) wait(c *conn, limit int) {
	for {
		g.mu.Lock()
		if len(g.held) < limit || c.closing.Load() {
			g.mu.Unlock()
			return
		}
		if g.space == nil {
			g.space = make(chan struct{})
		}
		space := g.space
		g.mu.Unlock()
		select {
		case <-space:
		case <-c.done:
			return
		}
	}
}
