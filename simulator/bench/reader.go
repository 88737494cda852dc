package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"weir/simulator/wire"
)

// errHungUp stands in for a connection's end where the reader has no better
// word for it.
var errHungUp = errors.New("the broker closed the connection")

// maxPacket bounds what a broker can make the reader hold.
const maxPacket = 1 << 20

// read takes acknowledgements off conn until it ends, and says why it ended.
func (p *publisher) read(conn net.Conn) error {
	for {
		used, need, err := p.consume(p.in)
		p.in = p.in[:copy(p.in, p.in[used:])]
		if err != nil {
			return err
		}
		if err := p.fill(conn, need); err != nil {
			return err
		}
	}
}

// fill reads once into p.in, making room for a packet of need bytes.
func (p *publisher) fill(conn net.Conn, need int) error {
	if need > maxPacket {
		return fmt.Errorf("the broker sent a packet of %d bytes to a client that subscribed to nothing", need)
	}
	if need > cap(p.in) || cap(p.in) == len(p.in) {
		grown := make([]byte, len(p.in), max(need, 2*cap(p.in), 8<<10))
		copy(grown, p.in)
		p.in = grown
	}
	n, err := conn.Read(p.in[len(p.in):cap(p.in)])
	p.in = p.in[:len(p.in)+n]
	if n > 0 || err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errHungUp
	}
	return fmt.Errorf("read: %w", err)
}

// consume takes every whole packet of b. It then moves base, and wakes the
// writer where that has something to do; an error does not undo what came
// before it.
func (p *publisher) consume(b []byte) (used, need int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	now := p.run.clock()
	sent := p.sent.Load() // before any slot is looked at: it makes them ours
	base := p.base.Load()
	acked, wake := uint64(0), false
	for err == nil {
		var packet wire.Packet
		var n int
		packet, n, need, err = wire.Parse(b[used:])
		if n == 0 {
			break
		}
		used += n
		switch packet.Type {
		case wire.PubAck, wire.PubRec:
			if p.acknowledge(&packet, base, sent, now) {
				acked++
			}
			wake = wake || packet.Type == wire.PubRec
		case wire.PubComp:
			p.complete(packet.ID, base, sent)
		case wire.PingResp:
			p.pongs.Add(1)
			wake = true
		case wire.Disconnect:
			err = fmt.Errorf("the broker disconnected: %s", wire.ReasonText(packet.Reason))
		default:
			err = fmt.Errorf("%w: type %d, which a publisher does not expect", wire.ErrMalformed, packet.Type)
		}
		for base < sent && p.slot(base).state == finished {
			base++
		}
	}
	if p.run.Load.QoS > 0 {
		p.flushLog()
		p.acked.Add(acked)
		p.base.Store(base)
	}
	if goal := p.want.Load(); wake || goal != 0 && base >= goal {
		p.want.Store(0)
		select {
		case p.wake <- struct{}{}:
		default: // it has one coming already
		}
	}
	return used, need, err
}

// acknowledge deals with a PUBACK or PUBREC and reports whether it newly
// acknowledged a message.
func (p *publisher) acknowledge(packet *wire.Packet, base, sent uint64, now time.Duration) bool {
	c := p.r.expect
	if c < base || c >= sent || p.packetID(c) != packet.ID {
		var ok bool
		if c, ok = p.locate(packet.ID, base, sent); !ok {
			p.stats.unexpected.Add(1)
			return false
		}
	}
	if want := 3 + p.run.Load.QoS; packet.Type != want { // PUBACK for QoS 1, PUBREC for 2
		p.stats.unexpected.Add(1)
		return false
	}
	s := p.slot(c)
	if s.state != waiting {
		if s.state == received { // asked again after a reconnect
			p.release(packet.ID)
			return false
		}
		p.stats.unexpected.Add(1)
		return false
	}
	p.r.expect = c + 1
	if c+1 > p.r.highest {
		p.r.highest = c + 1
	} else {
		p.stats.outOfOrder.Add(1)
	}
	s.state = finished
	if packet.Reason >= 0x80 {
		p.stats.refused.Add(1)
		return false
	}
	if packet.Type == wire.PubRec {
		s.state = received
		p.release(packet.ID)
	}
	p.r.latency.Record(now - s.due)
	if p.run.Acked != nil {
		p.r.log = append(strconv.AppendUint(p.r.log, p.sequence(c), 10), '\n')
	}
	return true
}

// complete deals with a PUBCOMP.
func (p *publisher) complete(id uint16, base, sent uint64) {
	c, ok := p.locate(id, base, sent)
	if !ok || p.slot(c).state != received {
		p.stats.unexpected.Add(1)
		return
	}
	p.slot(c).state = finished
}

// locate finds the message in flight that has a packet identifier.
func (p *publisher) locate(id uint16, base, sent uint64) (c uint64, ok bool) {
	if id == 0 || uint64(id) > p.ids {
		return 0, false
	}
	c = base + (uint64(id)-1+p.ids-base%p.ids)%p.ids
	return c, c < sent
}

func (p *publisher) release(id uint16) {
	p.rel.Lock()
	defer p.rel.Unlock()
	p.rel.ids = append(p.rel.ids, id)
}

// flushLog hands the sequence numbers of one read to Config.Acked.
func (p *publisher) flushLog() {
	if len(p.r.log) == 0 {
		return
	}
	p.run.ackedMu.Lock()
	defer p.run.ackedMu.Unlock()
	if _, err := p.run.Acked.Write(p.r.log); err != nil {
		p.run.abort(fmt.Errorf("write acknowledged sequence numbers: %w", err))
	}
	p.r.log = p.r.log[:0]
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
