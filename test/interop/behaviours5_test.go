package interop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

func sessionExpiry(e *env) error {
	open := func(dirty bool, seconds int) (bool, *peer, error) {
		p := e.dial()
		present, code, _, err := p.connect(options{id: e.base + "e", dirty: dirty, props: "\x11" + u32(seconds)})
		if err == nil && code != 0 {
			err = fmt.Errorf("code %#x", code)
		}
		return present, p, err
	}
	_, p, err := open(false, 3600)
	if err != nil {
		return err
	}
	if _, err := p.subscribe(e.base+"x", 1, ""); err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	present, p, err := open(true, 1)
	if err != nil || !present {
		return fmt.Errorf("at once: session present %v, %w", present, err)
	}
	if err := p.close(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(3 * time.Second) { // longer than it lives
		present, p, err = open(true, 1)
		if err != nil {
			return err
		}
		if err := p.close(); err != nil {
			return err
		}
		if !present {
			break
		}
		if time.Now().After(end) {
			return errors.New("the session does not expire")
		}
	}
	// DISCONNECT may shorten it, but not lengthen one of zero.
	_, p, err = open(false, 0)
	if err != nil {
		return err
	}
	if err := p.send(frame(0xe0, "\x00\x05\x11"+u32(10))); err != nil {
		return err
	}
	code, err := p.ended()
	if err != nil || code != 0x82 {
		return fmt.Errorf("a session of 0 s was lengthened: DISCONNECT %#x, %w", code, err)
	}
	return nil
}

func receiveMaximum(e *env) error {
	s := e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", props: "\x21\x00\x02"}); err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"rm", 2, ""); err != nil {
		return err
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	const n = 12
	for i := range n {
		if err := p.publish(message{topic: e.base + "rm", payload: fmt.Sprint(i), qos: 1 + byte(i%2), id: uint16(i + 1)}, ""); err != nil {
			return err
		}
	}
	var held []message
	seen := map[string]bool{}
	for len(seen) < n {
		m, err := s.take()
		if err != nil {
			return fmt.Errorf("after %d messages: %w", len(seen), err)
		}
		held, seen[m.payload] = append(held, m), true
		if len(held) < 2 && len(seen) < n {
			continue
		}
		if len(seen) < n {
			if err := s.silence(); err != nil {
				return fmt.Errorf("beyond the receive maximum: %w", err)
			}
		}
		// Only QoS 1 here: the handshake of QoS 2 is interleaved with new messages.
		for _, m := range held {
			if m.qos == 1 {
				err = s.send(frame(0x40, u16(int(m.id))))
			} else {
				err = s.send(frame(0x50, u16(int(m.id))+"\x80")) // refused: that ends it
			}
			if err != nil {
				return err
			}
		}
		held = nil
	}
	return nil
}

func aliases(e *env) error {
	s, p, err := e.pair(e.base+"al/#", 0, "")
	if err != nil {
		return err
	}
	for i, m := range []struct{ topic, alias string }{
		{"al/a", "\x23\x00\x01"}, {"", "\x23\x00\x01"}, {"al/b", "\x23\x00\x02"}, {"", "\x23\x00\x02"}, {"al/c", "\x23\x00\x01"}, {"", "\x23\x00\x01"},
	} {
		topic := m.topic
		if topic != "" {
			topic = e.base + topic
		}
		if err := p.publish(message{topic: topic, payload: fmt.Sprint(i), qos: 1, id: 5}, m.alias); err != nil {
			return err
		}
		want := e.base + []string{"al/a", "al/a", "al/b", "al/b", "al/c", "al/c"}[i]
		if m, err := s.next(); err != nil || m.topic != want || m.payload != fmt.Sprint(i) {
			return fmt.Errorf("message %d: %+v, want topic %s, %w", i, m, want, err)
		}
	}
	for _, bad := range []string{"\x23\x00\x00", "\x23\xff\xff", "\x23\x00\x09"} {
		q, err := e.join("bad")
		if err != nil {
			return err
		}
		if err := q.send(frame(0x30, str("")+q.p5(bad)+"x")); err != nil {
			return err
		}
		if bad == "\x23\xff\xff" {
			q.v5 = true
		}
		if _, err := q.ended(); err != nil {
			return fmt.Errorf("alias %x: %w", bad, err)
		}
	}
	return nil
}

func maximumPacketSize(e *env) error {
	s := e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", props: "\x27" + u32(100)}); err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"mp", 1, ""); err != nil {
		return err
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	for i, n := range []int{10, 200, 11} {
		if err := p.publish(message{topic: e.base + "mp", payload: strings.Repeat("x", n), qos: byte(i % 2), id: 5}, ""); err != nil {
			return err
		}
	}
	for _, n := range []int{10, 11} {
		if m, err := s.next(); err != nil || len(m.payload) != n {
			return fmt.Errorf("%+v, want %d bytes, %w", m, n, err)
		}
	}
	return s.silence()
}

func messageProperties(e *env) error {
	s, p, err := e.pair(e.base+"pr", 2, "")
	if err != nil {
		return err
	}
	props := "\x01\x01" + "\x03" + str("text/plain") + "\x08" + str("reply/here") + "\x09" + str("\x00\x01") + "\x26" + str("a") + str("1") + "\x26" + str("c") + str("2") + "\x26" + str("a") + str("3")
	for qos := byte(0); qos < 3; qos++ {
		if err := p.publish(message{topic: e.base + "pr", payload: "x", qos: qos, id: 5}, props); err != nil {
			return err
		}
		m, err := s.next()
		if err != nil {
			return err
		}
		want := map[byte][]string{1: {"1"}, 3: {"text/plain"}, 8: {"reply/here"}, 9: {"\x00\x01"}, 0x26: {"a=1", "c=2", "a=3"}}
		if fmt.Sprint(m.props) != fmt.Sprint(want) {
			return fmt.Errorf("properties %v, want %v", m.props, want)
		}
	}
	return nil
}

func identifiers(e *env) error {
	s, p, err := e.pair(e.base+"id/#", 1, "\x0b\x02")
	if err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"id/+", 1, "\x0b\x80\x01"); err != nil {
		return err
	}
	if err := p.publish(message{topic: e.base + "id/a", payload: "x", qos: 1, id: 5}, ""); err != nil {
		return err
	}
	m, err := s.next()
	if err != nil {
		return err
	}
	ids := m.props[0x0b]
	if len(ids) == 1 { // one message for each subscription is right as well
		m2, err := s.next()
		if err != nil {
			return err
		}
		ids = append(ids, m2.props[0x0b]...)
	}
	slices.Sort(ids)
	if fmt.Sprint(ids) != "[128 2]" {
		return fmt.Errorf("subscription identifiers %v, want 2 and 128", ids)
	}
	return nil
}

func expiry(e *env) error {
	s := e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", props: keeps}); err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"ex", 1, ""); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	for _, m := range []struct {
		payload string
		seconds int
	}{{"short", 1}, {"long", 60}} {
		if err := p.publish(message{topic: e.base + "ex", payload: m.payload, qos: 1, id: 5}, "\x02"+u32(m.seconds)); err != nil {
			return err
		}
	}
	time.Sleep(4 * time.Second) // the first expires, and is looked for once a second
	s = e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", dirty: true, props: keeps}); err != nil {
		return err
	}
	m, err := s.next()
	if err != nil || m.payload != "long" {
		return fmt.Errorf("%+v, want the one that has not expired, %w", m, err)
	}
	if left := m.props[2]; len(left) != 1 || left[0] == "60" {
		return fmt.Errorf("%v s of its life are left, want fewer than 60", left)
	}
	return s.silence()
}

func willDelay(e *env) error {
	s, _, err := e.pair(e.base+"wd", 1, "")
	if err != nil {
		return err
	}
	lose := func() error {
		w := e.dial()
		_, code, _, err := w.connect(options{id: e.base + "w", dirty: true, props: keeps, will: e.base + "wd", willProps: "\x18" + u32(2)})
		if err == nil && code != 0 {
			err = fmt.Errorf("code %#x", code)
		}
		w.nc.Close()
		return err
	}
	begin := time.Now()
	if err := lose(); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.payload != "gone" || time.Since(begin) < 1500*time.Millisecond {
		return fmt.Errorf("will %+v after %v, %w", m, time.Since(begin), err)
	}
	for {
		begin := time.Now()
		if err := lose(); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // well within the delay
		w := e.dial()
		if _, _, _, err := w.connect(options{id: e.base + "w", dirty: true, props: keeps}); err != nil {
			return err
		}
		if time.Since(begin) < 2*time.Second {
			break
		}
		for drained := false; !drained; { // this machine was too slow, and the will is right
			drained = s.silence() == nil
		}
	}
	if b, err := s.recv(4 * time.Second); err == nil {
		return fmt.Errorf("the will of a client that came back: %x", b)
	}
	return nil
}

func subscriptionOptions(e *env) error {
	s, err := e.join("s")
	if err != nil {
		return err
	}
	const noLocal, asPublished = 4, 8
	if _, err := s.subscribe(e.base+"nl", 1|noLocal, ""); err != nil {
		return err
	}
	if err := s.publish(message{topic: e.base + "nl", payload: "own", qos: 1, id: 5}, ""); err != nil {
		return err
	}
	if err := s.silence(); err != nil {
		return fmt.Errorf("no local: %w", err)
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"rap", 1|asPublished, ""); err != nil {
		return err
	}
	if err := p.publish(message{topic: e.base + "rap", payload: "x", qos: 1, id: 5, retain: true}, ""); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || !m.retain {
		return fmt.Errorf("retain as published: %+v, %w", m, err)
	}
	for _, tt := range []struct {
		handling byte
		want     bool
	}{{2 << 4, false}, {1 << 4, false}, {0, true}} { // the subscription exists, so 1 sends nothing either
		if _, err := s.subscribe(e.base+"rap", 1|tt.handling, ""); err != nil {
			return err
		}
		if !tt.want {
			if err := s.silence(); err != nil {
				return fmt.Errorf("retain handling %d: %w", tt.handling>>4, err)
			}
			continue
		}
		if m, err := s.next(); err != nil || !m.retain {
			return fmt.Errorf("retain handling %d: %+v, %w", tt.handling>>4, m, err)
		}
	}
	return p.publish(message{topic: e.base + "rap", qos: 1, id: 6, retain: true}, "")
}

func shared(e *env) error {
	var members []*peer
	for _, id := range []string{"a", "b"} {
		m, err := e.join(id)
		if err != nil {
			return err
		}
		if code, err := m.subscribe("$share/g/"+e.base+"sh/#", 1, ""); err != nil || code != 1 {
			return fmt.Errorf("code %#x, %w", code, err)
		}
		members = append(members, m)
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	const n = 20
	for i := range n {
		if err := p.publish(message{topic: e.base + "sh/x", payload: fmt.Sprint(i), qos: 1, id: uint16(i + 1)}, ""); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	end := time.Now().Add(patience)
	for came := true; came || len(seen) < n && time.Now().Before(end); { // all, and then nothing
		came = false
		for _, m := range members {
			b, err := m.recv(quiet)
			if err != nil {
				continue
			}
			came = true
			m.in = append([]byte(b), m.in...)
			msg, err := m.next()
			if err != nil {
				return err
			}
			if seen[msg.payload] {
				return fmt.Errorf("message %s came twice", msg.payload)
			}
			seen[msg.payload] = true
		}
	}
	if len(seen) != n {
		return fmt.Errorf("%d of %d messages came", len(seen), n)
	}
	return nil
}

func disconnectWithWill(e *env) error {
	s, _, err := e.pair(e.base+"dw", 1, "")
	if err != nil {
		return err
	}
	w := e.dial()
	if _, _, _, err := w.connect(options{id: e.base + "w", will: e.base + "dw", willQoS: 1}); err != nil {
		return err
	}
	if err := w.send(frame(0xe0, "\x04")); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.payload != "gone" {
		return fmt.Errorf("will %+v, %w", m, err)
	}
	return nil
}

func connackTells(e *env) error {
	_, code, props, err := e.dial().connect(options{id: e.base + "c"})
	if err != nil || code != 0 {
		return fmt.Errorf("code %#x, %w", code, err)
	}
	for _, id := range []byte{0x21, 0x22, 0x27} { // receive maximum, topic alias maximum, maximum packet size
		if len(props[id]) != 1 {
			return fmt.Errorf("properties %v lack %#x", props, id)
		}
	}
	return nil
}

func requestResponse(e *env) error {
	server, client, err := e.pair(e.base+"request", 1, "")
	if err != nil {
		return err
	}
	if _, err := client.subscribe(e.base+"reply", 1, ""); err != nil {
		return err
	}
	if err := client.publish(message{topic: e.base + "request", payload: "ask", qos: 1, id: 5}, "\x08"+str(e.base+"reply")+"\x09"+str("7")); err != nil {
		return err
	}
	m, err := server.next()
	if err != nil || len(m.props[8]) != 1 || len(m.props[9]) != 1 {
		return fmt.Errorf("request %+v, %w", m, err)
	}
	if err := server.publish(message{topic: m.props[8][0], payload: "answer", qos: 1, id: 5}, "\x09"+str(m.props[9][0])); err != nil {
		return err
	}
	if m, err = client.next(); err != nil || m.payload != "answer" || m.props[9][0] != "7" {
		return fmt.Errorf("answer %+v, %w", m, err)
	}
	return nil
}

func unknownIDs(e *env) error {
	p, err := e.join("p")
	if err != nil {
		return err
	}
	if err := p.send(frame(0x62, u16(4711))); err != nil {
		return err
	}
	if b, err := p.want(7); err != nil || len(b) < 5 || b[4] != 0x92 {
		return fmt.Errorf("PUBCOMP %x, %w", b, err)
	}
	if err := p.send(frame(0x50, u16(4711))); err != nil {
		return err
	}
	if b, err := p.want(6); err != nil || len(b) < 5 || b[4] != 0x92 {
		return fmt.Errorf("PUBREL %x, %w", b, err)
	}
	return nil
}
