package broker

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/ingest/broker/access"
	"weir/test/child"
)

// lines is a log that a test reads.
type lines struct{ child.Output }

func (l *lines) option() option {
	return func(_ *Config, d *Deps) { d.Log = slog.New(slog.NewTextHandler(l, nil)) }
}

func TestAtMostOneLineASecondForACause(t *testing.T) {
	var n notices
	now := time.Unix(1000, 0)
	if s, ok := n.allow("a", now); !ok || s != 0 {
		t.Errorf("first: %d, %v", s, ok)
	}
	for range 5 {
		if _, ok := n.allow("a", now.Add(time.Second/2)); ok {
			t.Error("a second line within the second")
		}
	}
	if _, ok := n.allow("b", now); !ok {
		t.Error("another cause is held back")
	}
	if s, ok := n.allow("a", now.Add(time.Second)); !ok || s != 5 {
		t.Errorf("a second later: %d suppressed, %v; want 5", s, ok)
	}
}

func TestRefusalsAreLoggedAndAnsweredByTheirCause(t *testing.T) {
	hash, err := access.HashPassword([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(file, []byte("users:\n  - name: u\n    password: "+hash+"\n    client_id: own\n    acl:\n      - {allow: all, topic: \"mine/#\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log lines
	r := start(t, log.option(), func(c *Config, _ *Deps) { c.Anonymous, c.UsersFile = false, file })
	login := func(id, user, password, will string, v5 bool) string {
		flags, level, props, rest := byte(0xC2), "\x04", "", str(id)
		if v5 {
			level, props = "\x05", "\x00"
		}
		if will != "" {
			flags |= 4
			rest += props + str(will) + str("gone")
		}
		return frame(0x10, str("MQTT")+level+string([]byte{flags})+id16(60)+props+rest+str(user)+str(password))
	}
	for _, c := range []struct {
		name, packet string
		code         byte
		line         string
	}{
		{"a wrong password", login("own", "u", "guess", "", true), 0x86, "cause=credentials client=own user=u"},
		{"an unknown user", login("own", "v", "guess", "", true), 0x86, ""},
		{"another client id", login("other", "u", "secret", "", true), 0x87, "cause=client_id client=other user=u"},
		{"a will that is not allowed", login("own", "u", "secret", "theirs/x", true), 0x87, "cause=will client=own user=u"},
		{"another client id, MQTT 3.1.1", login("other", "u", "secret", "", false), 0x05, ""},
	} {
		k := r.dial()
		k.send(c.packet)
		if p := k.recv(); len(p) < 4 || p[0] != typeConnack || p[3] != c.code {
			t.Errorf("%s: CONNACK %x, want reason %x", c.name, p, c.code)
		}
		if !strings.Contains(log.String(), c.line) {
			t.Errorf("%s: no line with %q in\n%s", c.name, c.line, log.String())
		}
	}
	k := r.dial()
	k.v5 = true
	k.send(login("own", "u", "secret", "", true))
	k.recv()
	k.send(k.pub("theirs/x", "1", 1, 1))
	k.expect("refusal", "\x40\x03\x00\x01\x87")
	k.send(frame(0x82, id16(2)+"\x00"+str("theirs/#")+"\x00"))
	k.expect("refusal", "\x90\x04\x00\x02\x00\x87")
	for _, line := range []string{"cause=publish client=own user=u", "cause=subscribe client=own user=u"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("no line with %q in\n%s", line, log.String())
		}
	}
	if s := log.String(); strings.Contains(s, "guess") || strings.Contains(s, "secret") {
		t.Errorf("a password is logged:\n%s", s)
	}
}

func TestConnectsThatAreNotSpokenHereAreAnswered(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ name, packet, answer string }{
		{"an empty client id with a session to keep", frame(0x10, str("MQTT")+"\x04\x00"+id16(60)+str("")), "\x20\x02\x00\x02"},
		{"MQTT 3.1", frame(0x10, str("MQIsdp")+"\x03\x02"+id16(60)+str("x")), "\x20\x02\x00\x01"},
		{"a level below", frame(0x10, str("MQTT")+"\x03\x02"+id16(60)+str("x")), "\x20\x02\x00\x01"},
		{"a level above", frame(0x10, str("MQTT")+"\x06\x02"+id16(60)+"\x00"+str("x")), "\x20\x03\x00\x84\x00"},
	} {
		k := r.dial()
		k.send(c.packet)
		if p := k.recv(); p != c.answer {
			t.Errorf("%s: answered %x, want %x", c.name, p, c.answer)
		}
		k.gone(c.name)
	}
}

func TestAConnectionTooManyIsLogged(t *testing.T) {
	var log lines
	r := start(t, log.option(), func(c *Config, _ *Deps) { c.Limits.Connections = 1 })
	r.dial().connect("a", true, true, "")
	k := r.dial()
	k.send(connectPacket("b", true, true, ""))
	if p := k.recv(); len(p) < 4 || p[3] != 0x89 {
		t.Errorf("CONNACK %x, want reason 0x89", p)
	}
	if s := log.String(); !strings.Contains(s, "cause=max_connections client=b") || r.b.Stats().Refused["busy"] != 1 {
		t.Errorf("refused %v, log:\n%s", r.b.Stats().Refused, s)
	}
}

func TestADelayedWillDoesNotExpireUnlessItSaysSo(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, true, "")
	s.sub("wills/#", 0)
	for _, c := range []struct{ id, props, want string }{
		{"plain", "\x18\x00\x00\x00\x01", "\x00gone"},                             // delay 1 s
		{"short", "\x18\x00\x00\x00\x01\x02\x00\x00\x0e\x10", "\x05\x02\x00\x00"}, // and expiry 3600 s
	} {
		k := r.dial()
		session := "\x11\x00\x00\x00\x3c" // kept for 60 s, else the will is not delayed
		k.send(frame(0x10, str("MQTT")+"\x05\x06"+id16(60)+string([]byte{byte(len(session))})+session+str(c.id)+
			string([]byte{byte(len(c.props))})+c.props+str("wills/"+c.id)+str("gone")))
		k.recv()
		k.nc.Close()
		m := s.recv()
		_, topic, _ := strings.Cut(m, "wills/"+c.id)
		if !strings.HasPrefix(topic, c.want) {
			t.Errorf("%s: the will came as %q, want properties and payload %q", c.id, topic, c.want)
		}
	}
}

func TestDrainDoesNotWaitForThePublishRate(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.PublishRate = 8 })
	c := r.dial().connect("c", true, false, "")
	var burst strings.Builder
	for i := 1; i <= 2000; i++ { // minutes at this rate
		burst.WriteString(c.pub("sensors/a", "x", 1, i))
	}
	c.send(burst.String())
	for i := 1; i <= 9; i++ { // it is read in pieces: not all at once, and not in one long wait
		c.expect("ack", ack(typePuback, i))
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil // for the cleanup
	if n := len(r.messages()); n > 100 {
		t.Errorf("%d messages at 8 a second were taken", n)
	}
}

func TestWhatIsQueuedAtShutdownIsReported(t *testing.T) {
	var log lines
	r := start(t, log.option())
	s := r.dial().connect("s", false, false, "")
	s.sub("out/#", 1)
	s.send("\xe0\x00")
	s.gone("DISCONNECT")
	for range 3 {
		if err := r.b.Publish(t.Context(), "out/a", []byte("x"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil // for the cleanup
	if s := log.String(); !strings.Contains(s, "are lost") || !strings.Contains(s, "messages=3 sessions=1") {
		t.Errorf("log:\n%s", s)
	}
}

func TestTheBrokersOwnRetainedMessagesDoNotCountAgainstTheLimit(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.RetainedMessages = 2 })
	for _, topic := range []string{"alerts/a", "alerts/b", "alerts/c"} {
		if err := r.b.Publish(t.Context(), topic, []byte("x"), 0, true); err != nil {
			t.Fatal(err)
		}
	}
	c := r.dial().connect("c", true, true, "")
	retained := func(topic string, id int) string {
		return "\x33" + c.pub(topic, "x", 1, id)[1:]
	}
	for i, topic := range []string{"state/a", "state/b", "sensors/kept"} { // the last goes into the log
		c.send(retained(topic, i+1))
		c.expect("ack of "+topic, ack(typePuback, i+1))
	}
	c.send(retained("state/c", 4))
	c.expect("refusal", "\x40\x03\x00\x04\x97")
	c.send(retained("state/a", 5)) // in place of the one that is there
	c.expect("ack", ack(typePuback, 5))
	if n := r.b.Stats().Refused["retained"]; n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
}

func TestNobodyTakesTheBrokersOwnClientId(t *testing.T) {
	r := start(t)
	for _, v5 := range []bool{false, true} {
		c := r.dial()
		c.send(connectPacket("inline", true, v5, ""))
		if p := c.recv(); len(p) < 4 || p[3] != map[bool]byte{false: 0x02, true: 0x85}[v5] {
			t.Errorf("v5 %v: CONNACK %x", v5, p)
		}
	}
}
