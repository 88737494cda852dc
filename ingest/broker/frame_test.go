package broker

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Whatever parse calls plain, mochi decodes to the same values and finds valid.
func FuzzPlainFramesAreWhatMochiReads(f *testing.F) {
	for _, v5 := range []bool{false, true} {
		c := client{v5: v5}
		f.Add([]byte(c.pub("sensors/a", "x", 0, 0)), v5)
		f.Add([]byte(c.pub("sensors/a", "x", 1, 7)), v5)
	}
	for _, props := range []string{"\x03\x23\x00\x01", "\x07\x26\x00\x01k\x00\x01v", "\x80\x00", "\x85\x00\x26\x00\x00\x00\x00", "\x04\x23\x00\x01", "\x06\x23\x00\x01\x23\x00\x02", "\x02\x01\x01"} {
		f.Add([]byte(frame(0x32, str("a")+id16(1)+props+"payload")), true)
		f.Add([]byte(frame(0x30, str("")+props+"payload")), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, v5 bool) {
		head, total, err := frameLength(b)
		n, bu, merr := 0, 0, error(nil)
		if len(b) > 1 {
			n, bu, merr = packets.DecodeLength(bytes.NewBuffer(b[1:]))
		}
		if err == nil && total > 0 && (merr != nil || head != bu+1 || total != n+head) {
			t.Fatalf("frameLength(%x) = %d, %d; mochi says %d bytes, length %d, %v", b, head, total, bu, n, merr)
		}
		if err != nil || total == 0 || total > len(b) || !isPlain(b[0]) {
			return
		}
		body := b[head:total]
		var p plain
		if !p.parse(b[0], body, v5) {
			return
		}
		pk := packets.Packet{ProtocolVersion: 4}
		if v5 {
			pk.ProtocolVersion = 5
		}
		if err := pk.FixedHeader.Decode(b[0]); err != nil {
			t.Fatalf("plain, but mochi refuses the first byte %x: %v", b[0], err)
		}
		if err := pk.PublishDecode(bytes.Clone(body)); err != nil {
			if validText(p.topic) {
				t.Fatalf("plain, but mochi can't decode %x: %v", b, err)
			}
			return // the topic's text is looked at later
		}
		if pk.TopicName != string(p.topic) || !bytes.Equal(pk.Payload, p.payload) || pk.PacketID != p.id || pk.FixedHeader.Qos != p.qos || pk.Properties.TopicAlias != p.alias || (len(pk.Properties.User) > 0) != p.props {
			t.Fatalf("%x: plain %+v, mochi %+v", b, p, pk)
		}
		if validText(p.topic) && !bytes.ContainsAny(p.topic, "+#") {
			if code := pk.PublishValidate(65535); code != packets.CodeSuccess {
				t.Fatalf("plain, but mochi finds %x invalid: %v", b, code)
			}
		}
	})
}

func TestFrameLength(t *testing.T) {
	for _, tt := range []struct {
		name, in    string
		head, total int
		bad         bool
	}{
		{"nothing", "", 0, 0, false},
		{"one byte", "\x30", 0, 0, false},
		{"an empty packet", "\xc0\x00", 2, 2, false},
		{"the longest in one byte", "\x30\x7f", 2, 129, false},
		{"the shortest in two bytes", "\x30\x80\x01", 3, 131, false},
		{"two bytes, the second missing", "\x30\x80", 0, 0, false},
		{"the longest there is", "\x30\xff\xff\xff\x7f", 5, 268435460, false},
		{"a fifth byte", "\x30\xff\xff\xff\xff\x01", 0, 0, true},
	} {
		head, total, err := frameLength([]byte(tt.in))
		if head != tt.head || total != tt.total || (err != nil) != tt.bad {
			t.Errorf("%s: %d, %d, %v", tt.name, head, total, err)
		}
	}
}
