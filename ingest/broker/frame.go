package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

var (
	errMalformedLength = errors.New("malformed remaining length")
	errTooLarge        = errors.New("packet larger than the limit")
)

// Packet types, as they stand in the first byte of a frame.
const (
	typeConnect    = 0x10
	typeConnack    = 0x20
	typePublish    = 0x30
	typePuback     = 0x40
	typePubrec     = 0x50
	typePubcomp    = 0x70
	typeDisconnect = 0xE0
)

// frameLength reads the fixed header at the start of b. It returns the length
// of the header and of the whole frame, or zero for both while the header is
// not complete.
func frameLength(b []byte) (header, total int, err error) {
	if len(b) < 2 {
		return 0, 0, nil
	}
	if b[1] < 0x80 {
		return 2, 2 + int(b[1]), nil
	}
	rem := int(b[1] & 0x7f)
	for i := 2; i < 5; i++ {
		if i == len(b) {
			return 0, 0, nil
		}
		rem |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return i + 1, i + 1 + rem, nil
		}
	}
	return 0, 0, errMalformedLength
}

// plain is a PUBLISH that the read path takes itself. Its slices point into
// the read buffer.
type plain struct {
	topic   []byte // empty when alias stands for it
	payload []byte
	id      uint16
	alias   uint16 // 0: none
	qos     byte
	props   bool // it has user properties
}

// isPlain reports whether the first byte of a frame is that of a PUBLISH with
// QoS 0 or 1, neither DUP nor RETAIN.
func isPlain(first byte) bool { return first&^2 == typePublish }

// parse reads the body of a frame for which isPlain holds. It returns false for
// whatever is not plain, faulty packets among them: mochi is to judge those.
// The topic's text is not checked here, but once for each topic.
func (f *plain) parse(first byte, body []byte, v5 bool) bool {
	if len(body) < 2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(body))
	at := 2 + n
	f.qos, f.id, f.alias, f.props = first>>1&1, 0, 0, false
	if f.qos > 0 {
		if len(body) < at+2 {
			return false
		}
		f.id = binary.BigEndian.Uint16(body[at:])
		if f.id == 0 {
			return false
		}
		at += 2
	}
	if v5 {
		if len(body) <= at {
			return false
		}
		if body[at] == 0 {
			at++
		} else if at = f.properties(body, at); at == 0 {
			return false
		}
	}
	if len(body) < at || n == 0 && f.alias == 0 {
		return false
	}
	f.topic, f.payload = body[2:2+n], body[at:]
	return true
}

// properties reads properties that are at most a topic alias and user
// properties, and returns where they end; 0 if there are others or they are faulty.
func (f *plain) properties(body []byte, at int) int {
	n := int(body[at])
	at++
	if n >= 0x80 {
		if len(body) <= at || body[at] >= 0x80 {
			return 0 // more than 16 KiB of properties is not plain
		}
		n = n&0x7f | int(body[at])<<7
		at++
	}
	end := at + n
	if end > len(body) {
		return 0
	}
	seen := false
	for at < end {
		switch body[at] {
		case 0x23: // topic alias
			if seen || end-at < 3 {
				return 0
			}
			seen = true
			f.alias = binary.BigEndian.Uint16(body[at+1:])
			if f.alias == 0 {
				return 0
			}
			at += 3
		case 0x26: // user property
			f.props = true
			at++
			for range 2 {
				if end-at < 2 {
					return 0
				}
				m := int(binary.BigEndian.Uint16(body[at:]))
				at += 2
				if end-at < m || !validText(body[at:at+m]) {
					return 0
				}
				at += m
			}
		default:
			return 0
		}
	}
	return end
}

// validText reports whether b is UTF-8 without U+0000, as MQTT wants every string.
func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// refuseLevel returns the CONNACK that refuses a CONNECT, given without its
// fixed header, whose protocol level is not spoken here; nil if it is.
func refuseLevel(body []byte) []byte {
	name := []byte("\x00\x04MQTT")
	if old := []byte("\x00\x06MQIsdp"); bytes.HasPrefix(body, old) {
		return []byte{typeConnack, 2, 0, 0x01}
	}
	if !bytes.HasPrefix(body, name) || len(body) == len(name) {
		return nil // mochi refuses it
	}
	switch level := body[len(name)]; {
	case level < 4:
		return []byte{typeConnack, 2, 0, 0x01}
	case level > 5:
		return []byte{typeConnack, 3, 0, 0x84, 0}
	}
	return nil
}
