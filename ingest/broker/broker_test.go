package broker

import (
	"fmt"
	"testing"
)

func TestPubackLeavesOnlyAfterTheCommitAndInOrder(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		for _, parts := range []int{1, 3} {
			t.Run(fmt.Sprintf("v5=%v/partitions=%d", v5, parts), func(t *testing.T) {
				r := start(t, partitions(parts))
				c := r.dial().connect("c", true, v5, "")
				for _, l := range r.logs {
					l.hold()
				}
				burst := ""
				for i := 1; i <= 300; i++ {
					burst += c.pub(fmt.Sprintf("sensors/d%d", i%7), fmt.Sprint(i), 1, i)
				}
				c.send(burst)
				c.send("\xc0\x00") // everything before PINGRESP has been worked off
				c.expect("first answer while nothing is durable", "\xd0\x00")
				for i := len(r.logs) - 1; i >= 0; i-- {
					r.logs[i].release()
				}
				for i := 1; i <= 300; i++ {
					c.expect("ack", ack(typePuback, i))
				}
				if n := len(r.messages()); n != 300 {
					t.Errorf("%d messages in the log, want 300", n)
				}
				if s := r.b.Stats(); s.Fast != 300 || s.Acked != 300 || s.Logged != 300 {
					t.Errorf("stats %+v: want 300 fast, acked and logged", s)
				}
			})
		}
	}
}

func TestEveryQoSReachesTheLogAsItWasSent(t *testing.T) {
	r := start(t)
	c := r.dial().connect("c1", true, true, "")
	c.send(c.pub("sensors/a", "zero", 0, 0) + c.pub("sensors/a", "one", 1, 1) + c.pub("sensors/a", "two", 2, 2))
	c.expect("PUBACK", ack(typePuback, 1))
	c.expect("PUBREC", ack(typePubrec, 2))
	c.send(c.pub("sensors/a", "two", 2, 2))
	c.expect("PUBREC again", ack(typePubrec, 2))
	c.send(frame(0x62, id16(2)))
	c.expect("PUBCOMP", ack(typePubcomp, 2))
	ms := r.messages()
	if len(ms) != 3 {
		t.Fatalf("%d messages in the log, want 3", len(ms))
	}
	for i, want := range []string{"zero", "one", "two"} {
		if m := ms[i]; string(m.Payload) != want || m.Topic != "sensors/a" || m.Client != "c1" || int(m.QoS) != i || m.Received == 0 {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

func TestSubscribersGetWhatIsPublished(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		for qos := range 3 {
			t.Run(fmt.Sprintf("v5=%v/qos=%d", v5, qos), func(t *testing.T) {
				r := start(t)
				s := r.dial().connect("s", true, v5, "")
				s.sub("sensors/#", qos)
				c := r.dial().connect("p", true, false, "")
				for i := 1; i <= 20; i++ {
					c.send(c.pub("sensors/x", fmt.Sprint(i), 1, i))
					c.expect("PUBACK", ack(typePuback, i))
				}
				for i := 1; i <= 20; i++ {
					q := min(qos, 1)
					want := s.pub("sensors/x", fmt.Sprint(i), q, i)
					s.expect("delivery", want)
				}
				if n := len(r.messages()); n != 20 {
					t.Errorf("%d messages in the log, want 20", n)
				}
			})
		}
	}
}
