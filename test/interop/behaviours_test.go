package interop

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// They mostly wait, so more may run at a time than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// env gives a behaviour connections to one broker, of one version of MQTT.
type env struct {
	t    *testing.T
	addr string
	v5   bool
	base string // topics and client ids of this run begin with it
	log  bool   // base is below a source's topic
}

func (e *env) dial() *peer {
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { nc.Close() })
	return &peer{nc: nc, v5: e.v5}
}

// join connects with a clean start.
func (e *env) join(id string) (*peer, error) {
	p := e.dial()
	_, code, _, err := p.connect(options{id: e.base + id})
	if err == nil && code != 0 {
		err = fmt.Errorf("CONNACK with code %#x", code)
	}
	return p, err
}

// pair connects a subscriber with a subscription and a publisher.
func (e *env) pair(filter string, opts byte, props string) (sub, pub *peer, err error) {
	if sub, err = e.join("sub"); err != nil {
		return
	}
	if code, err := sub.subscribe(filter, opts, props); err != nil || code >= 0x80 {
		return nil, nil, fmt.Errorf("subscribe to %q: code %#x, %v", filter, code, err)
	}
	pub, err = e.join("pub")
	return
}

// behaviour is one thing that brokers must do.
type behaviour struct {
	name     string
	only     byte // 4 or 5: a version; 0: both
	run      func(e *env) error
	alone    bool // it must not run beside others
	stockBad bool // the library underneath fails it, always or at times
}

var behaviours = []behaviour{
	{name: "publishes of every QoS arrive at the lower of the two", run: everyQoS},
	{name: "retained messages come on subscribing, until they are cleared", run: retained},
	{name: "a will comes when the connection breaks", run: will},
	{name: "no will comes after DISCONNECT", run: noWill},
	{name: "messages wait for an absent client", run: offline},
	{name: "overlapping subscriptions give the highest QoS", run: overlapping},
	{name: "a silent client is dropped and its will published", run: silent},
	{name: "what was not acknowledged comes again after a reconnect", run: redelivery},
	{name: "an empty client id is given one, or refused", run: emptyID},
	{name: "wildcards don't match topics that begin with $", run: dollar, alone: true},
	{name: "after UNSUBSCRIBE nothing comes", run: unsubscribe},
	{name: "a filter that is none is refused", run: badFilter},
	{name: "a client that connects again takes over", run: takeover},
	{name: "a second CONNECT is an error", run: secondConnect},
	{name: "a packet before CONNECT is an error", run: early},
	{name: "a QoS 2 message sent again is delivered once", run: exactlyOnce, stockBad: true},
	{name: "subscribing again replaces the QoS", run: resubscribe},
	{name: "an empty payload is a message", run: emptyPayload},
	{name: "several filters in one SUBSCRIBE are answered one by one", run: several},
	{name: "a clean start forgets the session", run: cleanStart},
	{name: "session expiry", only: 5, run: sessionExpiry},
	{name: "the client's receive maximum holds", only: 5, run: receiveMaximum, stockBad: true},
	{name: "topic aliases of a client", only: 5, run: aliases, stockBad: true},
	{name: "the client's maximum packet size holds", only: 5, run: maximumPacketSize},
	{name: "properties of a message arrive", only: 5, run: messageProperties, stockBad: true},
	{name: "subscription identifiers arrive", only: 5, run: identifiers},
	{name: "an expired message is not delivered", only: 5, run: expiry},
	{name: "a delayed will waits, and is dropped on reconnect", only: 5, run: willDelay, stockBad: true},
	{name: "no local, retain as published, retain handling", only: 5, run: subscriptionOptions},
	{name: "a shared subscription divides messages", only: 5, run: shared},
	{name: "DISCONNECT with will publishes the will", only: 5, run: disconnectWithWill, stockBad: true},
	{name: "CONNACK tells the limits", only: 5, run: connackTells, stockBad: true},
	{name: "request and response", only: 5, run: requestResponse},
	{name: "unknown packet ids are answered so", only: 5, run: unknownIDs},
}

// Every behaviour holds on the embedded broker, on source topics and on
// others; what the library underneath fails alone is said in the table.
func TestBehaviours(t *testing.T) {
	ours, _ := weir(t)
	theirs := stock(t)
	for i, b := range behaviours {
		for _, v5 := range []bool{false, true} {
			if b.only == 4 && v5 || b.only == 5 && !v5 {
				continue
			}
			t.Run(fmt.Sprintf("%s/v5=%v", b.name, v5), func(t *testing.T) {
				if !b.alone {
					t.Parallel()
				}
				for _, log := range []bool{true, false} {
					base := fmt.Sprintf("%s/%d-%v/", map[bool]string{true: "sensors", false: "other"}[log], i, v5)
					if err := b.run(&env{t: t, addr: ours, v5: v5, base: base, log: log}); err != nil {
						t.Errorf("weir, on %s: %v", base, err)
					}
				}
				if b.stockBad {
					return
				}
				if err := b.run(&env{t: t, addr: theirs, v5: v5, base: fmt.Sprintf("s/%d-%v/", i, v5)}); err != nil {
					t.Logf("the library underneath alone: %v", err) // to know where a failure of ours comes from
				}
			})
		}
	}
}

func everyQoS(e *env) error {
	for sub := byte(0); sub < 3; sub++ {
		s, p, err := e.pair(e.base+"q/+", sub, "")
		if err != nil {
			return err
		}
		for qos := byte(0); qos < 3; qos++ {
			if err := p.publish(message{topic: e.base + "q/a", payload: fmt.Sprint(qos), qos: qos, id: 5}, ""); err != nil {
				return err
			}
			m, err := s.next()
			if err != nil || m.payload != fmt.Sprint(qos) || m.qos != min(qos, sub) || m.retain || m.dup {
				return fmt.Errorf("published at %d, subscribed at %d: %+v, %w", qos, sub, m, err)
			}
		}
		if err := errors.Join(s.close(), p.close()); err != nil {
			return err
		}
	}
	return nil
}

func retained(e *env) error {
	p, err := e.join("pub")
	if err != nil {
		return err
	}
	for qos := byte(0); qos < 3; qos++ {
		if err := p.publish(message{topic: fmt.Sprintf("%sr/%d", e.base, qos), payload: "kept", qos: qos, id: 5, retain: true}, ""); err != nil {
			return err
		}
	}
	if err := p.close(); err != nil { // QoS 0 is worked off by then
		return err
	}
	s, p, err := e.pair(e.base+"r/#", 2, "")
	if err != nil {
		return err
	}
	got := map[string]byte{}
	for range 3 {
		m, err := s.next()
		if err != nil || !m.retain || m.payload != "kept" {
			return fmt.Errorf("retained message %+v, %w", m, err)
		}
		got[m.topic[len(m.topic)-1:]] = m.qos
	}
	if got["0"] != 0 || got["1"] != 1 || got["2"] != 2 || len(got) != 3 {
		return fmt.Errorf("retained messages came as %v", got)
	}
	for qos := range 3 {
		if err := p.publish(message{topic: fmt.Sprintf("%sr/%d", e.base, qos), qos: 1, id: 6, retain: true}, ""); err != nil {
			return err
		}
		if m, err := s.next(); err != nil || m.payload != "" || m.retain {
			return fmt.Errorf("the clearing message %+v, %w", m, err)
		}
	}
	again, err := e.join("again")
	if err != nil {
		return err
	}
	if _, err := again.subscribe(e.base+"r/#", 1, ""); err != nil {
		return err
	}
	return again.silence()
}

func will(e *env) error {
	s, _, err := e.pair(e.base+"will/#", 2, "")
	if err != nil {
		return err
	}
	for qos := byte(0); qos < 3; qos++ {
		w := e.dial()
		if _, code, _, err := w.connect(options{id: e.base + "w", will: e.base + "will/w", willQoS: qos}); err != nil || code != 0 {
			return fmt.Errorf("connect: %#x, %w", code, err)
		}
		w.nc.Close()
		if m, err := s.next(); err != nil || m.payload != "gone" || m.qos != qos {
			return fmt.Errorf("will %+v, %w", m, err)
		}
	}
	return nil
}

func noWill(e *env) error {
	s, _, err := e.pair(e.base+"nowill/#", 2, "")
	if err != nil {
		return err
	}
	w := e.dial()
	if _, _, _, err := w.connect(options{id: e.base + "w", will: e.base + "nowill/w"}); err != nil {
		return err
	}
	return errors.Join(w.close(), s.silence())
}

// keeps are the properties of a session that outlives its connection.
const keeps = "\x11\x00\x00\x0e\x10"

func offline(e *env) error {
	s := e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", dirty: true, props: keeps}); err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"off/#", 2, ""); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	for qos := byte(1); qos < 3; qos++ {
		if err := p.publish(message{topic: e.base + "off/a", payload: fmt.Sprint(qos), qos: qos, id: 5}, ""); err != nil {
			return err
		}
	}
	s = e.dial()
	if present, _, _, err := s.connect(options{id: e.base + "s", dirty: true, props: keeps}); err != nil || !present {
		return fmt.Errorf("session present %v, %w", present, err)
	}
	var got []string
	for range 2 {
		m, err := s.take()
		if err != nil {
			return err
		}
		got = append(got, m.payload)
	}
	slices.Sort(got)
	if strings.Join(got, "") != "12" {
		return fmt.Errorf("queued messages %v, want 1 and 2", got)
	}
	return nil
}

func overlapping(e *env) error {
	s, p, err := e.pair(e.base+"o/#", 2, "")
	if err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"o/+", 1, ""); err != nil {
		return err
	}
	if err := p.publish(message{topic: e.base + "o/a", payload: "x", qos: 2, id: 5}, ""); err != nil {
		return err
	}
	m, err := s.next()
	if err != nil {
		return err
	}
	if m.qos == 2 { // once is enough
		return s.silence()
	}
	m2, err := s.next()
	if err != nil || m.qos+m2.qos != 3 {
		return fmt.Errorf("%+v and %+v, %w", m, m2, err)
	}
	return nil
}

func silent(e *env) error {
	s, _, err := e.pair(e.base+"silent", 0, "")
	if err != nil {
		return err
	}
	w := e.dial()
	begin := time.Now()
	if _, _, _, err := w.connect(options{id: e.base + "w", will: e.base + "silent", keepAlive: 1}); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.payload != "gone" {
		return fmt.Errorf("will %+v, %w", m, err)
	}
	if d := time.Since(begin); d < time.Second {
		return fmt.Errorf("dropped after %v, keep alive is 1 s", d)
	}
	return nil
}

func redelivery(e *env) error {
	s := e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", dirty: true, props: keeps}); err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"re/#", 2, ""); err != nil {
		return err
	}
	p, err := e.join("p")
	if err != nil {
		return err
	}
	sent := map[uint16]string{}
	for qos := byte(1); qos < 3; qos++ {
		if err := p.publish(message{topic: e.base + "re/a", payload: fmt.Sprint(qos), qos: qos, id: 5}, ""); err != nil {
			return err
		}
		m, err := s.take()
		if err != nil {
			return err
		}
		sent[m.id] = m.payload
	}
	s.nc.Close()
	s = e.dial()
	if _, _, _, err := s.connect(options{id: e.base + "s", dirty: true, props: keeps}); err != nil {
		return err
	}
	for range 2 {
		m, err := s.take()
		if err != nil || !m.dup || sent[m.id] != m.payload {
			return fmt.Errorf("sent again %+v, first %v, %w", m, sent, err)
		}
		if err := s.ack(m); m.qos == 1 && err != nil {
			return err
		}
		delete(sent, m.id)
	}
	return nil
}

func emptyID(e *env) error {
	p := e.dial()
	_, code, props, err := p.connect(options{})
	if err != nil || code != 0 || e.v5 && len(props[0x12]) == 0 {
		return fmt.Errorf("clean start: code %#x, properties %v, %w", code, props, err)
	}
	if e.v5 {
		return nil
	}
	p = e.dial()
	if _, code, _, err = p.connect(options{dirty: true}); err == nil && code == 0 {
		return errors.New("an empty client id with a session to keep was accepted")
	}
	return nil
}

func dollar(e *env) error {
	s, p, err := e.pair("#", 0, "")
	if err != nil {
		return err
	}
	if _, err := s.subscribe("+/x", 0, ""); err != nil {
		return err
	}
	for drained := false; !drained; { // other tests' retained messages and traffic
		drained = s.silence() == nil
	}
	topic := "$" + strings.ReplaceAll(e.base, "/", "-") + "/x"
	if err := p.publish(message{topic: topic, payload: "x", qos: 1, id: 5}, ""); err != nil {
		return err
	}
	for {
		b, err := s.recv(quiet)
		if err != nil {
			return nil
		}
		if strings.Contains(b, topic) {
			return fmt.Errorf("a wildcard got %q", b)
		}
	}
}

func unsubscribe(e *env) error {
	s, p, err := e.pair(e.base+"u", 1, "")
	if err != nil {
		return err
	}
	for i, want := range []byte{0, 0x11} {
		if err := s.send(frame(0xa2, u16(88+i)+s.p5("")+str(e.base+"u"))); err != nil {
			return err
		}
		b, err := s.want(11)
		if err != nil || b[2:4] != u16(88+i) || e.v5 && b[len(b)-1] != want {
			return fmt.Errorf("UNSUBACK %x, %w", b, err)
		}
	}
	if err := p.publish(message{topic: e.base + "u", payload: "x", qos: 1, id: 5}, ""); err != nil {
		return err
	}
	return s.silence()
}

func badFilter(e *env) error {
	s, err := e.join("s")
	if err != nil {
		return err
	}
	code, err := s.subscribe("a/#/b", 1, "")
	if errors.Is(err, errEnd) {
		return nil
	}
	if err != nil || code < 0x80 {
		return fmt.Errorf("code %#x, %w", code, err)
	}
	return nil
}

func takeover(e *env) error {
	old, err := e.join("same")
	if err != nil {
		return err
	}
	if _, err := e.join("same"); err != nil {
		return err
	}
	code, err := old.ended()
	if err != nil || e.v5 && code != 0x8e {
		return fmt.Errorf("DISCONNECT %#x, %w", code, err)
	}
	return nil
}

func secondConnect(e *env) error {
	p, err := e.join("twice")
	if err != nil {
		return err
	}
	if err := p.send(frame(0x10, str("MQTT")+map[bool]string{false: "\x04", true: "\x05"}[e.v5]+"\x02"+u16(60)+p.p5("")+str("twice"))); err != nil {
		return err
	}
	_, err = p.ended()
	return err
}

func early(e *env) error {
	p := e.dial()
	if err := p.send("\xc0\x00"); err != nil {
		return err
	}
	_, err := p.ended()
	return err
}

func exactlyOnce(e *env) error {
	s, p, err := e.pair(e.base+"once", 2, "")
	if err != nil {
		return err
	}
	b := frame(0x34, str(e.base+"once")+u16(9)+p.p5("")+"x")
	for i, first := range []byte{0x34, 0x3c, 0x3c} {
		if err := p.send(string([]byte{first}) + b[1:]); err != nil {
			return err
		}
		a, err := p.want(5)
		if err != nil || e.v5 && len(a) > 4 && a[4] >= 0x80 {
			return fmt.Errorf("PUBREC %d %x, %w", i, a, err)
		}
	}
	if err := p.send(frame(0x62, u16(9))); err != nil {
		return err
	}
	if _, err := p.want(7); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.payload != "x" {
		return fmt.Errorf("%+v, %w", m, err)
	}
	return s.silence()
}

func resubscribe(e *env) error {
	s, p, err := e.pair(e.base+"again", 2, "")
	if err != nil {
		return err
	}
	if _, err := s.subscribe(e.base+"again", 0, ""); err != nil {
		return err
	}
	if err := p.publish(message{topic: e.base + "again", payload: "x", qos: 2, id: 5}, ""); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.qos != 0 {
		return fmt.Errorf("%+v, %w", m, err)
	}
	return s.silence()
}

func emptyPayload(e *env) error {
	s, p, err := e.pair(e.base+"empty", 1, "")
	if err != nil {
		return err
	}
	if err := p.publish(message{topic: e.base + "empty", qos: 1, id: 5}, ""); err != nil {
		return err
	}
	if m, err := s.next(); err != nil || m.payload != "" || m.topic != e.base+"empty" {
		return fmt.Errorf("%+v, %w", m, err)
	}
	return nil
}

func several(e *env) error {
	s, err := e.join("s")
	if err != nil {
		return err
	}
	if err := s.send(frame(0x82, u16(3)+s.p5("")+str(e.base+"a")+"\x00"+str(e.base+"#/b")+"\x01"+str(e.base+"c")+"\x02")); err != nil {
		return err
	}
	b, err := s.want(9)
	if err != nil {
		return err
	}
	if got := b[len(b)-3:]; got[0] != 0 || got[1] < 0x80 || got[2] != 2 {
		return fmt.Errorf("SUBACK %x", b)
	}
	return nil
}

func cleanStart(e *env) error {
	for i, want := range []bool{false, true, false} {
		p := e.dial()
		present, code, _, err := p.connect(options{id: e.base + "c", dirty: i < 2, props: keeps})
		if err != nil || code != 0 || present != want {
			return fmt.Errorf("connection %d: session present %v, code %#x, %w", i, present, code, err)
		}
		if err := p.close(); err != nil {
			return err
		}
	}
	return nil
}
