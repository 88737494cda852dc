package wire

import "encoding/binary"

// Version is the protocol level byte of a CONNECT packet.
type Version byte

// The protocol versions that this package speaks.
const (
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// Packet types, as in the upper four bits of a packet's first byte.
const (
	Connect    byte = 1
	ConnAck    byte = 2
	Publish    byte = 3
	PubAck     byte = 4
	PubRec     byte = 5
	PubRel     byte = 6
	PubComp    byte = 7
	PingReq    byte = 12
	PingResp   byte = 13
	Disconnect byte = 14
)

// MaxString is the longest string, in bytes, that MQTT can carry: a client
// id, a topic, a user name or a password.
const MaxString = 65535

// ConnectOptions is what a CONNECT packet says. Strings longer than MaxString
// are cut.
type ConnectOptions struct {
	Version       Version
	ClientID      string
	Username      string // empty: no user name and no password are sent
	Password      string // empty: none is sent
	Clean         bool   // ask for a fresh session
	KeepAlive     uint16 // seconds; 0: none
	SessionExpiry uint32 // seconds that a 5.0 session outlives its connection
}

// AppendConnect appends a CONNECT packet to dst.
func AppendConnect(dst []byte, o ConnectOptions) []byte {
	var flags byte
	if o.Clean {
		flags |= 0x02
	}
	body := make([]byte, 0, 64+len(o.ClientID)+len(o.Username)+len(o.Password))
	body = appendString(body, "MQTT")
	if o.Username != "" {
		flags |= 0x80
	}
	if o.Username != "" && o.Password != "" {
		flags |= 0x40
	}
	body = append(body, byte(o.Version), flags)
	body = binary.BigEndian.AppendUint16(body, o.KeepAlive)
	if o.Version == V5 {
		if o.SessionExpiry > 0 {
			body = append(body, 5, propSessionExpiry)
			body = binary.BigEndian.AppendUint32(body, o.SessionExpiry)
		} else {
			body = append(body, 0)
		}
	}
	body = appendString(body, o.ClientID)
	if o.Username != "" {
		body = appendString(body, o.Username)
		if o.Password != "" {
			body = appendString(body, o.Password)
		}
	}
	dst = append(dst, Connect<<4)
	dst = appendLength(dst, len(body))
	return append(dst, body...)
}

// PublishOptions is what a PUBLISH packet says beside its payload.
type PublishOptions struct {
	Version Version
	Topic   []byte
	QoS     byte   // 0, 1 or 2
	ID      uint16 // packet identifier, not 0 unless QoS is 0
	Dup     bool   // sent before
	Retain  bool
}

// AppendPublish appends a PUBLISH packet to dst. It allocates only to grow dst.
func AppendPublish(dst []byte, o *PublishOptions, payload []byte) []byte {
	first := Publish<<4 | o.QoS<<1
	if o.Dup {
		first |= 0x08
	}
	if o.Retain {
		first |= 0x01
	}
	n := 2 + len(o.Topic) + len(payload)
	if o.QoS > 0 {
		n += 2
	}
	if o.Version == V5 {
		n++
	}
	dst = append(dst, first)
	dst = appendLength(dst, n)
	dst = append(dst, byte(len(o.Topic)>>8), byte(len(o.Topic)))
	dst = append(dst, o.Topic...)
	if o.QoS > 0 {
		dst = append(dst, byte(o.ID>>8), byte(o.ID))
	}
	if o.Version == V5 {
		dst = append(dst, 0) // no properties
	}
	return append(dst, payload...)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP packet that says
// success.
func AppendAck(dst []byte, typ byte, id uint16) []byte {
	first := typ << 4
	if typ == PubRel {
		first |= 0x02 // the specification reserves these bits as 0010
	}
	return append(dst, first, 2, byte(id>>8), byte(id))
}

// AppendPingReq appends a PINGREQ packet.
func AppendPingReq(dst []byte) []byte { return append(dst, PingReq<<4, 0) }

// AppendDisconnect appends a DISCONNECT packet that says all is well.
func AppendDisconnect(dst []byte) []byte { return append(dst, Disconnect<<4, 0) }

func appendString(dst []byte, s string) []byte {
	if len(s) > MaxString {
		s = s[:MaxString]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// appendLength appends n as a variable byte integer.
func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}
