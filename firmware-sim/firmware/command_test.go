package firmware

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/simulator/brokertest"
)

func TestCommandsAreAnsweredOrRefused(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := quick(t, broker)
	d, _, _ := boot(t, cfg)
	replyTo := func(id, command string) reply {
		t.Helper()
		var r reply
		broker.Publish("plant/s1/d1/command", command)
		waitFor(t, "a reply to "+command, func() bool {
			for _, m := range broker.Messages() {
				if m.Topic == "plant/s1/d1/command/reply" && json.Unmarshal([]byte(m.Payload), &r) == nil && r.ID == id {
					return true
				}
			}
			return false
		})
		return r
	}
	waitFor(t, "the device to be online", func() bool { return d.Stats().Delivered > 0 })
	if r := replyTo("a", `{"id":"a","name":"set_interval","args":{"seconds":0.5}}`); !r.OK || r.Error != "" {
		t.Errorf("set_interval: %+v, want ok", r)
	}
	if got := d.interval(); got != 500*time.Millisecond {
		t.Errorf("interval = %v, want 500ms", got)
	}
	for id, tt := range map[string]struct{ command, want string }{
		"b": {`{"id":"b","name":"self_destruct"}`, `unknown command "self_destruct"`},
		"c": {`{"id":"c","name":"set_interval","args":{"seconds":0}}`, "not between"},
		"d": {`{"id":"d","name":"set_interval","args":{"minutes":1}}`, `{"seconds": NUMBER}`},
		"e": {`{"id":"e","name":"set_interval"}`, `{"seconds": NUMBER}`},
	} {
		if r := replyTo(id, tt.command); r.OK || !strings.Contains(r.Error, tt.want) {
			t.Errorf("%s: %+v, want it refused with %q", tt.command, r, tt.want)
		}
	}
	if got := d.interval(); got != 500*time.Millisecond {
		t.Errorf("after refused commands the interval = %v", got)
	}
}

func TestACommandThatArrivesTwiceIsDoneOnce(t *testing.T) {
	d, _, _ := boot(t, quick(t, brokertest.Start(t)))
	first := `{"id":"x","name":"set_interval","args":{"seconds":1}}`
	second := `{"id":"y","name":"set_interval","args":{"seconds":2}}`
	for _, c := range []string{first, second, first} {
		if r, ok := d.execute([]byte(c)); !ok || !r.OK {
			t.Fatalf("%s: %+v %v", c, r, ok)
		}
	}
	if got := d.interval(); got != 2*time.Second {
		t.Errorf("interval = %v, want the 2s of the last new command", got)
	}
}

func TestRepliesAreRememberedWithinABound(t *testing.T) {
	var a answers
	for i := range 3 * remembered {
		a.add(reply{ID: fmt.Sprint(i)})
	}
	if len(a.byID) != remembered || len(a.order) != remembered {
		t.Errorf("%d and %d replies are kept, want %d", len(a.byID), len(a.order), remembered)
	}
	if _, ok := a.byID[fmt.Sprint(3*remembered-1)]; !ok {
		t.Error("the latest reply is not among them")
	}
}

func TestWhatIsNoCommandGetsNoReply(t *testing.T) {
	d, _, _ := boot(t, quick(t, brokertest.Start(t)))
	for _, payload := range []string{"", "reboot", "[]", `{"name":"set_interval","args":{"seconds":1}}`, `{"id":7}`} {
		if r, ok := d.execute([]byte(payload)); ok {
			t.Errorf("%q was answered: %+v", payload, r)
		}
	}
}

func FuzzExecute(f *testing.F) {
	for _, seed := range []string{`{"id":"a","name":"set_interval","args":{"seconds":0.5}}`, `{"id":"a"}`, `{}`, `{"id":"a","name":"set_interval","args":{"seconds":1e300}}`} {
		f.Add([]byte(seed))
	}
	cfg := Default()
	cfg.DataDir, cfg.Sync = f.TempDir(), false
	d := New(cfg)
	if err := d.Open(); err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, ok := d.execute(payload)
		if i := d.interval(); i < minInterval || i > maxInterval {
			t.Fatalf("%q made the interval %v", payload, i)
		}
		if ok && r.OK != (r.Error == "") {
			t.Fatalf("%q was answered %+v", payload, r)
		}
		if again, ok2 := d.execute(payload); ok2 != ok || again != r {
			t.Fatalf("%q was answered %+v, then %+v", payload, r, again)
		}
	})
}
