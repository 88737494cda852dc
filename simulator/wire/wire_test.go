package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// decode reads one client packet with another implementation's decoder.
func decode(t *testing.T, b []byte, v Version) packets.Packet {
	t.Helper()
	var fh packets.FixedHeader
	if err := fh.Decode(b[0]); err != nil {
		t.Fatalf("fixed header of % x: %v", b, err)
	}
	r := bytes.NewReader(b[1:])
	n, width, err := packets.DecodeLength(r)
	if err != nil || 1+width+n != len(b) {
		t.Fatalf("length of % x: %d in %d bytes, %v", b, n, width, err)
	}
	fh.Remaining = n
	pk := packets.Packet{FixedHeader: fh, ProtocolVersion: byte(v)}
	body := b[1+width:]
	switch fh.Type {
	case Connect:
		err = pk.ConnectDecode(body)
	case Publish:
		err = pk.PublishDecode(body)
	case PubRel:
		err = pk.PubrelDecode(body)
	}
	if err != nil {
		t.Fatalf("decode % x: %v", b, err)
	}
	return pk
}

func TestConnectIsReadAsItWasMeant(t *testing.T) {
	for _, o := range []ConnectOptions{
		{Version: V311, ClientID: "a", Clean: true, KeepAlive: 60},
		{Version: V311, ClientID: "b", Username: "user", Password: "secret"},
		{Version: V5, ClientID: "c", Clean: true},
		{Version: V5, ClientID: "d", Username: "user", SessionExpiry: 3600, KeepAlive: 65535},
		{Version: V5, ClientID: "e-" + string(bytes.Repeat([]byte("x"), 300)), Clean: true},
	} {
		pk := decode(t, AppendConnect(nil, o), o.Version)
		c := pk.Connect
		if pk.ProtocolVersion != byte(o.Version) || c.ClientIdentifier != o.ClientID || c.Clean != o.Clean || c.Keepalive != o.KeepAlive ||
			string(c.Username) != o.Username || string(c.Password) != o.Password || pk.Properties.SessionExpiryInterval != o.SessionExpiry {
			t.Errorf("%+v was read as %+v, session expiry %d", o, c, pk.Properties.SessionExpiryInterval)
		}
		if code := pk.ConnectValidate(); code != packets.CodeSuccess {
			t.Errorf("%+v is not valid: %v", o, code)
		}
	}
}

func TestPublishIsReadAsItWasMeant(t *testing.T) {
	for _, v := range []Version{V311, V5} {
		for _, o := range []PublishOptions{
			{Topic: []byte("a/b"), QoS: 0},
			{Topic: []byte("a/b"), QoS: 1, ID: 1},
			{Topic: []byte("sensors/d1/telemetry"), QoS: 2, ID: 65535, Dup: true, Retain: true},
		} {
			for _, size := range []int{0, 1, 90, 100, 127, 128, 16383, 16384, 1 << 20} {
				o.Version = v
				payload := bytes.Repeat([]byte("p"), size)
				pk := decode(t, AppendPublish(nil, &o, payload), v)
				if pk.TopicName != string(o.Topic) || pk.FixedHeader.Qos != o.QoS || pk.PacketID != o.ID || pk.FixedHeader.Dup != o.Dup ||
					pk.FixedHeader.Retain != o.Retain || !bytes.Equal(pk.Payload, payload) {
					t.Errorf("%+v with %d bytes was read as %+v with %d", o, size, pk.FixedHeader, len(pk.Payload))
				}
			}
		}
	}
}

func TestAcknowledgementsComeThroughInAnyPieces(t *testing.T) {
	stream := AppendAck(nil, PubAck, 7)
	stream = append(stream, PubAck<<4, 3, 0, 8, 0x97)    // with a reason
	stream = append(stream, PubRec<<4, 4, 0, 9, 0x10, 0) // with a reason and no properties
	stream = append(stream, PingResp<<4, 0)
	stream = AppendAck(stream, PubComp, 65535)
	want := []Packet{{Type: PubAck, ID: 7}, {Type: PubAck, ID: 8, Reason: 0x97}, {Type: PubRec, ID: 9, Reason: 0x10}, {Type: PingResp}, {Type: PubComp, ID: 65535}}
	for piece := 1; piece <= len(stream); piece++ {
		var got []Packet
		var pending []byte
		for from := 0; from < len(stream); from += piece {
			pending = append(pending, stream[from:min(from+piece, len(stream))]...)
			for {
				p, n, _, err := Parse(pending)
				if err != nil {
					t.Fatalf("in pieces of %d: %v", piece, err)
				}
				if n == 0 {
					break
				}
				pending = pending[n:]
				p.Body = nil
				got = append(got, p)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("in pieces of %d: %d packets, want %d", piece, len(got), len(want))
		}
		for i := range want {
			if got[i].Type != want[i].Type || got[i].ID != want[i].ID || got[i].Reason != want[i].Reason {
				t.Errorf("in pieces of %d, packet %d = %+v, want %+v", piece, i, got[i], want[i])
			}
		}
	}
}

func TestMalformedPacketsAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"a length of five bytes":         {PubAck << 4, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},
		"an acknowledgement of one byte": {PubAck << 4, 1, 0},
		"type 0":                         {0, 0},
		"type 15":                        {15 << 4, 0},
	} {
		if _, _, _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestConnAckIsReadAsItWasMeant(t *testing.T) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connack}, ProtocolVersion: 5, SessionPresent: true, ReasonCode: 0x87,
		Properties: packets.Properties{
			ReceiveMaximum: 20, MaximumQosFlag: true, MaximumQos: 1, MaximumPacketSize: 1000, ServerKeepAlive: 33, ServerKeepAliveFlag: true,
			ReasonString: "no", AssignedClientID: "abc", TopicAliasMaximum: 4, User: []packets.UserProperty{{Key: "k", Val: "v"}},
		},
	}
	var buf bytes.Buffer
	if err := pk.ConnackEncode(&buf); err != nil {
		t.Fatal(err)
	}
	p, n, _, err := Parse(buf.Bytes())
	if err != nil || n != buf.Len() || p.Type != ConnAck {
		t.Fatalf("Parse = %+v, %d, %v", p, n, err)
	}
	got, err := ParseConnAck(p.Body, V5)
	want := ConnAckInfo{SessionPresent: true, Code: 0x87, ReceiveMaximum: 20, MaximumQoS: 1, MaximumPacketSize: 1000, ServerKeepAlive: 33, Reason: "no"}
	if err != nil || got != want {
		t.Errorf("ParseConnAck = %+v, %v; want %+v", got, err, want)
	}
	got, err = ParseConnAck([]byte{0, 5}, V311)
	want = ConnAckInfo{Code: 5, ReceiveMaximum: 65535, MaximumQoS: 2, ServerKeepAlive: -1}
	if err != nil || got != want {
		t.Errorf("ParseConnAck of 3.1.1 = %+v, %v; want %+v", got, err, want)
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	for code := range 256 {
		if ReasonText(byte(code)) == "" {
			t.Errorf("reason %d has no text", code)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendAck(AppendAck(nil, PubAck, 1), PubRec, 2))
	f.Add([]byte{PubAck << 4, 3, 0, 8, 0x97})
	f.Add([]byte{ConnAck << 4, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, need, err := Parse(b)
		switch {
		case err != nil:
			if n != 0 {
				t.Fatalf("an error and %d bytes taken", n)
			}
		case n == 0:
			if need != 0 && need <= len(b) {
				t.Fatalf("%d bytes are needed, and there are %d", need, len(b))
			}
		case n > len(b) || len(p.Body) > n:
			t.Fatalf("took %d of %d bytes, body %d", n, len(b), len(p.Body))
		default: // what follows makes no difference
			again, m, _, err := Parse(append(bytes.Clone(b[:n]), 0xFF, 0xFF))
			if err != nil || m != n || again.Type != p.Type || again.ID != p.ID || again.Reason != p.Reason || !bytes.Equal(again.Body, p.Body) {
				t.Fatalf("Parse = %+v %d, and with more behind it %+v %d %v", p, n, again, m, err)
			}
		}
	})
}

func FuzzParseConnAck(f *testing.F) {
	f.Add([]byte{0, 0}, true)
	f.Add([]byte{1, 0, 3, propReceiveMaximum, 0, 20}, true)
	f.Add([]byte{0, 0, 5, propUserProperty, 0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, body []byte, five bool) {
		v := V311
		if five {
			v = V5
		}
		info, err := ParseConnAck(body, v)
		if err == nil && (info.Code != body[1] || info.ReceiveMaximum > 65535 || info.ServerKeepAlive > 65535) {
			t.Fatalf("ParseConnAck(% x) = %+v", body, info)
		}
	})
}

func TestPublishingAndParsingAllocateNothing(t *testing.T) {
	o := PublishOptions{Version: V311, Topic: []byte("sensors/d1/telemetry"), QoS: 1, ID: 9}
	payload := make([]byte, 90)
	buf := make([]byte, 0, 1024)
	ack := AppendAck(nil, PubAck, 9)
	if n := testing.AllocsPerRun(1000, func() {
		buf = AppendPublish(buf[:0], &o, payload)
		Parse(ack)
	}); n != 0 {
		t.Errorf("allocations per publish and acknowledgement = %v, want 0", n)
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	o := PublishOptions{Version: V311, Topic: []byte("sensors/d1/telemetry"), QoS: 1, ID: 9}
	payload := make([]byte, 90)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPublish(buf[:0], &o, payload)
	}
}

func BenchmarkParse(b *testing.B) {
	ack := AppendAck(nil, PubAck, 9)
	b.ReportAllocs()
	for b.Loop() {
		Parse(ack)
	}
}
