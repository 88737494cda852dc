package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// patience is how long a packet that must come is waited for; quiet is how
// long it is watched that one doesn't come.
const (
	patience = 60 * time.Second
	quiet    = 300 * time.Millisecond
)

var errEnd = errors.New("the broker closed the connection")

// peer is one raw MQTT connection.
type peer struct {
	nc net.Conn
	v5 bool
	in []byte
}

// options of a CONNECT.
type options struct {
	id        string
	dirty     bool // not a clean start
	keepAlive int
	props     string
	will      string // topic; its payload is "gone"
	willProps string
	willQoS   byte
	willKeep  bool
}

// message is a decoded PUBLISH.
type message struct {
	topic, payload string
	qos            byte
	dup, retain    bool
	id             uint16
	props          map[byte][]string // by identifier; numbers in decimal, pairs as k=v
}

func str(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
func u16(n int) string    { return string([]byte{byte(n >> 8), byte(n)}) }
func u32(n int) string    { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func varint(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }

func frame(first byte, body string) string { return string([]byte{first}) + varint(len(body)) + body }

// p5 encodes properties, and nothing before MQTT 5.
func (p *peer) p5(props string) string {
	if !p.v5 {
		return ""
	}
	return varint(len(props)) + props
}

func (p *peer) send(b string) error {
	_, err := p.nc.Write([]byte(b))
	return err
}

// recv returns the next packet within d.
func (p *peer) recv(d time.Duration) (string, error) {
	buf := make([]byte, 64<<10)
	_ = p.nc.SetReadDeadline(time.Now().Add(d))
	for {
		if len(p.in) >= 2 {
			if n, w := binary.Uvarint(p.in[1:]); w > 0 && len(p.in) >= 1+w+int(n) {
				out := string(p.in[:1+w+int(n)])
				p.in = p.in[len(out):]
				return out, nil
			}
		}
		n, err := p.nc.Read(buf)
		p.in = append(p.in, buf[:n]...)
		if n == 0 && err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				return "", fmt.Errorf("nothing came within %v", d)
			}
			return "", errEnd
		}
	}
}

// want fails unless the next packet has this type.
func (p *peer) want(typ byte) (string, error) {
	b, err := p.recv(patience)
	if err != nil {
		return "", fmt.Errorf("waiting for packet type %d: %w", typ, err)
	}
	if b[0]>>4 != typ {
		return "", fmt.Errorf("got %x, want packet type %d", b, typ)
	}
	return b, nil
}

// silence fails if a packet comes.
func (p *peer) silence() error {
	b, err := p.recv(quiet)
	if err == nil {
		return fmt.Errorf("got %x, want nothing", b)
	}
	if errors.Is(err, errEnd) {
		return err
	}
	return nil
}

// ended fails unless the broker closes the connection; it returns the code of
// a DISCONNECT before that, or 0.
func (p *peer) ended() (byte, error) {
	code := byte(0)
	for {
		b, err := p.recv(patience)
		if errors.Is(err, errEnd) {
			return code, nil
		}
		if err != nil {
			return 0, err
		}
		if b[0] == 0xe0 && len(b) > 2 {
			code = b[2]
		}
	}
}

// connect sends CONNECT and returns CONNACK's session flag, code and properties.
func (p *peer) connect(o options) (present bool, code byte, props map[byte][]string, err error) {
	flags, version, body := byte(0), "\x04", ""
	if p.v5 {
		version = "\x05"
	}
	if !o.dirty {
		flags |= 2
	}
	if o.will != "" {
		flags |= 4 | o.willQoS<<3
		if o.willKeep {
			flags |= 0x20
		}
		body = p.p5(o.willProps) + str(o.will) + str("gone")
	}
	if o.keepAlive == 0 {
		o.keepAlive = 60
	}
	if err := p.send(frame(0x10, str("MQTT")+version+string([]byte{flags})+u16(o.keepAlive)+p.p5(o.props)+str(o.id)+body)); err != nil {
		return false, 0, nil, err
	}
	b, err := p.want(2)
	if err != nil {
		return false, 0, nil, err
	}
	if p.v5 {
		_, w := binary.Uvarint([]byte(b[1:]))
		if props, _, err = properties(b[1+w+2:]); err != nil {
			return false, 0, nil, err
		}
		return b[1+w]&1 == 1, b[1+w+1], props, nil
	}
	return b[2]&1 == 1, b[3], nil, nil
}

// properties decodes properties and returns what follows them.
func properties(b string) (map[byte][]string, string, error) {
	n, w := binary.Uvarint([]byte(b))
	if w <= 0 || int(n) > len(b)-w {
		return nil, "", fmt.Errorf("malformed properties %x", b)
	}
	props, in, rest := map[byte][]string{}, b[w:w+int(n)], b[w+int(n):]
	text := func() string {
		k := int(binary.BigEndian.Uint16([]byte(in)))
		s := in[2 : 2+k]
		in = in[2+k:]
		return s
	}
	for in != "" {
		k, v := in[0], ""
		in = in[1:]
		switch k {
		case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A:
			v, in = fmt.Sprint(in[0]), in[1:]
		case 0x13, 0x21, 0x22, 0x23:
			v, in = fmt.Sprint(binary.BigEndian.Uint16([]byte(in))), in[2:]
		case 0x02, 0x11, 0x18, 0x27:
			v, in = fmt.Sprint(binary.BigEndian.Uint32([]byte(in))), in[4:]
		case 0x0B:
			n, w := binary.Uvarint([]byte(in))
			v, in = fmt.Sprint(n), in[w:]
		case 0x26:
			v = text() + "=" + text()
		default:
			v = text()
		}
		props[k] = append(props[k], v)
	}
	return props, rest, nil
}

// next returns the next message and acknowledges it.
func (p *peer) next() (message, error) {
	m, err := p.take()
	if err != nil {
		return m, err
	}
	return m, p.ack(m)
}

// take returns the next message without acknowledging it.
func (p *peer) take() (m message, err error) {
	b, err := p.want(3)
	if err != nil {
		return m, err
	}
	m.dup, m.qos, m.retain = b[0]&8 > 0, b[0]>>1&3, b[0]&1 > 0
	_, w := binary.Uvarint([]byte(b[1:]))
	b = b[1+w:]
	n := int(binary.BigEndian.Uint16([]byte(b)))
	m.topic, b = b[2:2+n], b[2+n:]
	if m.qos > 0 {
		m.id, b = binary.BigEndian.Uint16([]byte(b)), b[2:]
	}
	if p.v5 {
		if m.props, b, err = properties(b); err != nil {
			return m, err
		}
	}
	m.payload = b
	return m, nil
}

func (p *peer) ack(m message) error {
	switch m.qos {
	case 1:
		return p.send(frame(0x40, u16(int(m.id))))
	case 2:
		if err := p.send(frame(0x50, u16(int(m.id)))); err != nil {
			return err
		}
		var others []byte // other messages may come first
		for {
			b, err := p.recv(patience)
			if err != nil {
				return fmt.Errorf("waiting for PUBREL: %w", err)
			}
			if b[0]>>4 == 6 {
				break
			}
			others = append(others, b...)
		}
		p.in = append(others, p.in...)
		return p.send(frame(0x70, u16(int(m.id))))
	}
	return nil
}

// publish sends a message and finishes its handshake.
func (p *peer) publish(m message, props string) error {
	first := 0x30 | m.qos<<1
	if m.retain {
		first |= 1
	}
	body := str(m.topic)
	if m.qos > 0 {
		body += u16(int(m.id))
	}
	if err := p.send(frame(first, body+p.p5(props)+m.payload)); err != nil {
		return err
	}
	switch m.qos {
	case 1:
		_, err := p.want(4)
		return err
	case 2:
		if _, err := p.want(5); err != nil {
			return err
		}
		if err := p.send(frame(0x62, u16(int(m.id)))); err != nil {
			return err
		}
		_, err := p.want(7)
		return err
	}
	return nil
}

// subscribe subscribes to one filter and returns the code of SUBACK. opts are
// the subscription options: QoS and, in MQTT 5, what else they hold.
func (p *peer) subscribe(filter string, opts byte, props string) (byte, error) {
	if err := p.send(frame(0x82, u16(77)+p.p5(props)+str(filter)+string([]byte{opts}))); err != nil {
		return 0, err
	}
	b, err := p.want(9)
	if err != nil {
		return 0, err
	}
	return b[len(b)-1], nil
}

// close ends the connection with DISCONNECT.
func (p *peer) close() error {
	if err := p.send("\xe0\x00"); err != nil {
		return err
	}
	_, err := p.ended()
	return err
}
