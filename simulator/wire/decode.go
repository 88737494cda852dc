package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is returned for bytes that no MQTT broker may send.
var ErrMalformed = errors.New("malformed packet")

// Property identifiers of 5.0 that a publisher has to understand.
const (
	propSessionExpiry     = 0x11
	propAssignedClientID  = 0x12
	propServerKeepAlive   = 0x13
	propResponseInfo      = 0x1A
	propServerReference   = 0x1C
	propReasonString      = 0x1F
	propReceiveMaximum    = 0x21
	propTopicAliasMaximum = 0x22
	propMaximumQoS        = 0x24
	propRetainAvailable   = 0x25
	propUserProperty      = 0x26
	propMaximumPacketSize = 0x27
	propWildcardSub       = 0x28
	propSubscriptionID    = 0x29
	propSharedSub         = 0x2A
	propAuthMethod        = 0x15
	propAuthData          = 0x16
)

// Packet is one packet as a broker sent it.
type Packet struct {
	Type   byte
	ID     uint16 // of PUBACK, PUBREC and PUBCOMP
	Reason byte   // of PUBACK, PUBREC, PUBCOMP and DISCONNECT; 0x80 and above is a refusal
	Body   []byte // what follows the fixed header; points into Parse's src
}

// Parse decodes the first packet of src and says how many bytes it took. When
// src does not hold a whole packet, n is 0 and err is nil; need then says how
// many bytes the packet has in all, or 0 when that is not known yet.
func Parse(src []byte) (p Packet, n, need int, err error) {
	// A bare acknowledgement is nearly everything that arrives under load.
	if len(src) >= 4 && src[1] == 2 && src[0]>>4 >= PubAck && src[0]>>4 <= PubComp {
		p.Type = src[0] >> 4
		p.ID = uint16(src[2])<<8 | uint16(src[3])
		p.Body = src[2:4]
		return p, 4, 0, nil
	}
	if len(src) < 2 {
		return Packet{}, 0, 0, nil
	}
	length, width, err := parseLength(src[1:])
	if err != nil || width == 0 {
		return Packet{}, 0, 0, err
	}
	total := 1 + width + length
	if len(src) < total {
		return Packet{}, 0, total, nil
	}
	p.Type = src[0] >> 4
	p.Body = src[1+width : total]
	switch p.Type {
	case PubAck, PubRec, PubRel, PubComp:
		if len(p.Body) < 2 {
			return Packet{}, 0, 0, fmt.Errorf("%w: an acknowledgement of %d bytes", ErrMalformed, len(p.Body))
		}
		p.ID = binary.BigEndian.Uint16(p.Body)
		if len(p.Body) > 2 {
			p.Reason = p.Body[2]
		}
	case Disconnect:
		if len(p.Body) > 0 {
			p.Reason = p.Body[0]
		}
	case 0, 15:
		return Packet{}, 0, 0, fmt.Errorf("%w: type %d", ErrMalformed, p.Type)
	}
	return p, total, 0, nil
}

// ConnAckInfo is what a CONNACK packet says. Limits that the broker did not
// state have the value that the specification gives them then.
type ConnAckInfo struct {
	SessionPresent    bool
	Code              byte // 0: accepted
	ReceiveMaximum    int  // messages of QoS 1 and 2 in flight
	MaximumQoS        byte
	MaximumPacketSize int // bytes; 0: no limit
	ServerKeepAlive   int // seconds; -1: the one asked for
	Reason            string
}

// ParseConnAck decodes the body of a CONNACK packet.
func ParseConnAck(body []byte, v Version) (ConnAckInfo, error) {
	info := ConnAckInfo{ReceiveMaximum: 65535, MaximumQoS: 2, ServerKeepAlive: -1}
	if len(body) < 2 {
		return info, fmt.Errorf("%w: a CONNACK of %d bytes", ErrMalformed, len(body))
	}
	info.SessionPresent = body[0]&1 != 0
	info.Code = body[1]
	if v != V5 || len(body) == 2 {
		return info, nil
	}
	length, width, err := parseLength(body[2:])
	if err != nil {
		return info, err
	}
	props := body[2+width:]
	if width == 0 || len(props) < length {
		return info, fmt.Errorf("%w: the properties of a CONNACK are cut short", ErrMalformed)
	}
	return info, info.properties(props[:length])
}

// properties takes the ones that concern a publisher and steps over the rest.
func (c *ConnAckInfo) properties(b []byte) error {
	for len(b) > 0 {
		id := b[0]
		b = b[1:]
		size, err := propertySize(id, b)
		if err != nil {
			return err
		}
		value := b[:size]
		b = b[size:]
		switch id {
		case propReceiveMaximum:
			c.ReceiveMaximum = int(binary.BigEndian.Uint16(value))
		case propMaximumQoS:
			c.MaximumQoS = value[0]
		case propMaximumPacketSize:
			c.MaximumPacketSize = int(binary.BigEndian.Uint32(value))
		case propServerKeepAlive:
			c.ServerKeepAlive = int(binary.BigEndian.Uint16(value))
		case propReasonString:
			c.Reason = string(value[2:])
		}
	}
	return nil
}

// propertySize is the number of bytes that the value of a property takes.
func propertySize(id byte, b []byte) (int, error) {
	size := 0
	switch id {
	case propMaximumQoS, propRetainAvailable, propWildcardSub, propSubscriptionID, propSharedSub:
		size = 1
	case propReceiveMaximum, propTopicAliasMaximum, propServerKeepAlive:
		size = 2
	case propSessionExpiry, propMaximumPacketSize:
		size = 4
	case propAssignedClientID, propReasonString, propResponseInfo, propServerReference, propAuthMethod, propAuthData:
		size = stringSize(b)
	case propUserProperty:
		if size = stringSize(b); size <= len(b) {
			size += stringSize(b[size:])
		}
	default:
		return 0, fmt.Errorf("%w: property 0x%02x in a CONNACK", ErrMalformed, id)
	}
	if size > len(b) {
		return 0, fmt.Errorf("%w: property 0x%02x is cut short", ErrMalformed, id)
	}
	return size, nil
}

// stringSize is the number of bytes that the string at the start of b takes,
// which may be more than b has.
func stringSize(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	return 2 + int(binary.BigEndian.Uint16(b))
}

// parseLength decodes a variable byte integer; width is 0 when b ends before it.
func parseLength(b []byte) (n, width int, err error) {
	for i := 0; i < 4; i++ {
		if i == len(b) {
			return 0, 0, nil
		}
		n |= int(b[i]&0x7F) << (7 * i)
		if b[i]&0x80 == 0 {
			return n, i + 1, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: a length of more than four bytes", ErrMalformed)
}

// ReasonText names a reason code of 5.0 or, for a CONNACK of 3.1.1, a return
// code.
func ReasonText(code byte) string {
	switch code {
	case 0x00:
		return "success"
	case 0x01:
		return "unacceptable protocol version"
	case 0x02:
		return "client identifier rejected"
	case 0x03, 0x88:
		return "server unavailable"
	case 0x04, 0x86:
		return "bad user name or password"
	case 0x05, 0x87:
		return "not authorized"
	case 0x10:
		return "no matching subscribers"
	case 0x80:
		return "unspecified error"
	case 0x81:
		return "malformed packet"
	case 0x82:
		return "protocol error"
	case 0x83:
		return "implementation specific error"
	case 0x84:
		return "unsupported protocol version"
	case 0x85:
		return "client identifier not valid"
	case 0x89:
		return "server busy"
	case 0x8A:
		return "banned"
	case 0x8B:
		return "server shutting down"
	case 0x8D:
		return "keep alive timeout"
	case 0x8E:
		return "session taken over"
	case 0x90:
		return "topic name invalid"
	case 0x91:
		return "packet identifier in use"
	case 0x92:
		return "packet identifier not found"
	case 0x93:
		return "receive maximum exceeded"
	case 0x95:
		return "packet too large"
	case 0x96:
		return "message rate too high"
	case 0x97:
		return "quota exceeded"
	case 0x99:
		return "payload format invalid"
	case 0x9B:
		return "QoS not supported"
	case 0x9F:
		return "connection rate exceeded"
	}
	return fmt.Sprintf("reason 0x%02x", code)
}
