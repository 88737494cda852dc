package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/console"
	"weir/ingest/consume"
	"weir/ingest/event"
	"weir/rules"
	"weir/test/child"
)

// Audit returns the books as weir audit prints them, and fails the test unless
// they balance.
func (w *Weir) Audit(t testing.TB) console.Audit {
	t.Helper()
	var a console.Audit
	var out, talk string
	var status int
	Eventually(t, "weir audit --json prints the books", func() error { // a cluster may be electing its leaders
		out, talk, status = w.CLI(t, "audit", "--json")
		a = console.Audit{}
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			return fmt.Errorf("status %d: %w\n%s%s", status, err, out, talk)
		}
		return nil
	})
	if status != 0 || !a.Balanced {
		t.Errorf("weir audit: status %d, the books do not balance:\n%s%s", status, out, talk)
	}
	for _, e := range a.Entries {
		if e.Received != e.Delivered+e.Filtered+e.Dead+e.Lost+e.Pending {
			t.Errorf("the books of %s/%d do not balance: %+v", e.Consumer, e.Partition, e)
		}
	}
	return a
}

// Settled waits until the consumers named, or all if none is, are done with what
// the log holds. If none is named, it goes on until they are done with what the
// rules have derived from it, too, and with what they derived from that: nobody
// may publish meanwhile.
func (w *Weir) Settled(t testing.TB, consumers ...string) {
	t.Helper()
	var a console.Audit
	Eventually(t, "weir tells its books", func() error { return w.Get("/api/v1/audit", &a) })
	EventuallyWithin(t, 2*Patience, "consumers have come to the head of the log", func() error {
		if err := w.passed(a, consumers); err != nil || len(consumers) > 0 {
			return err
		}
		// What was derived until now is in the ring at least, and then in the log.
		if used, err := w.Metric("weir_ring_used_bytes"); err != nil || used > 0 {
			return fmt.Errorf("%v bytes are on their way into the log (%v)", used, err)
		}
		next, err := w.more(a)
		if err != nil || next == nil {
			return err
		}
		a = *next
		return errors.New("the log has grown by more than ticks")
	})
}

// passed returns an error unless the consumers named, or all, are done with what
// the log held when a was made.
func (w *Weir) passed(a console.Audit, consumers []string) error {
	list, err := w.consumers()
	for _, c := range list {
		if len(consumers) > 0 && !slices.Contains(consumers, c.Consumer) {
			continue
		}
		if head := a.Partitions[c.Partition].Records; c.State == "starting" || c.Cursor.Records < head {
			return fmt.Errorf("%s/%d is %s and has done %d of %d records", c.Consumer, c.Partition, c.State, c.Cursor.Records, head)
		}
	}
	return err
}

// consumers returns what all consumers are doing.
func (w *Weir) consumers() ([]consume.Status, error) {
	var v struct{ Consumers []consume.Status }
	err := w.Get("/api/v1/consumers", &v)
	return v.Consumers, err
}

// more returns the books as they are now if the log has grown by more than ticks
// since a was made, else nil.
func (w *Weir) more(a console.Audit) (*console.Audit, error) {
	var now console.Audit
	if err := w.Get("/api/v1/audit", &now); err != nil {
		return nil, err
	}
	for i, p := range a.Partitions {
		if now.Partitions[i].Head == p.Head {
			continue
		}
		b, err := w.body(fmt.Sprintf("/api/v1/events?from=%d/%d&raw=true&limit=1", p.Partition, p.Head+1))
		if err != nil {
			return nil, err
		}
		if len(b) > 0 {
			return &now, nil
		}
	}
	return nil, nil
}

// Elapse waits until a time has passed in every partition of the log.
func (w *Weir) Elapse(t testing.TB, d time.Duration) {
	t.Helper()
	until := time.Now().Add(d)
	EventuallyWithin(t, d+Patience, fmt.Sprintf("%v have passed in the log", d), func() error {
		var a console.Audit
		if err := w.Get("/api/v1/audit", &a); err != nil {
			return err
		}
		for _, p := range a.Partitions {
			b, err := w.body(fmt.Sprintf("/api/v1/events?from=%d/%d&raw=true&ticks=true&limit=1", p.Partition, p.Head))
			if err != nil {
				return err
			}
			var l console.Line
			if err := json.Unmarshal(b, &l); err != nil {
				return fmt.Errorf("the newest record of partition %d is %q: %w", p.Partition, b, err)
			}
			if l.Kind != "tick" || l.Received.Before(until) {
				return fmt.Errorf("partition %d is at %v, a %s", p.Partition, l.Received, l.Kind)
			}
		}
		return nil
	})
}

// Saved waits until every consumer has saved a cursor that is as far as it is now.
func (w *Weir) Saved(t testing.TB) {
	t.Helper()
	then := time.Now()
	Eventually(t, "the cursors are saved", func() error {
		now, err := w.consumers()
		if err != nil {
			return err
		}
		for _, s := range now {
			if !s.Cursor.Saved.After(then) {
				return fmt.Errorf("%s/%d was saved at %v", s.Consumer, s.Partition, s.Cursor.Saved)
			}
		}
		return nil
	})
}

// Events returns every record of the log but ticks, undecoded, as
// weir events tail --raw prints them.
func (w *Weir) Events(t testing.TB) []console.Line {
	t.Helper()
	return w.lines(t, "--raw")
}

// Everything is Events with ticks.
func (w *Weir) Everything(t testing.TB) []console.Line {
	t.Helper()
	return w.lines(t, "--raw", "--ticks")
}

// Decoded returns the log as events.
func (w *Weir) Decoded(t testing.TB) []console.Line {
	t.Helper()
	return w.lines(t)
}

func (w *Weir) lines(t testing.TB, args ...string) []console.Line {
	t.Helper()
	out := w.MustCLI(t, append([]string{"events", "tail", "--from", "all", "--no-follow", "--json"}, args...)...)
	var lines []console.Line
	sc := bufio.NewScanner(strings.NewReader(out))
	sc.Buffer(nil, 8<<20)
	for sc.Scan() {
		var l console.Line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatalf("weir events tail printed %q: %v", sc.Text(), err)
		}
		lines = append(lines, l)
	}
	return lines
}

// AlertFacts returns the transitions among records of the log, in log order.
func AlertFacts(t testing.TB, lines []console.Line) []event.Alert {
	t.Helper()
	var out []event.Alert
	for _, l := range lines {
		if l.Kind != "alert" {
			continue
		}
		var a event.Alert
		if err := json.Unmarshal(l.Payload, &a); err != nil {
			t.Fatalf("alert at %v: %v", l.Position, err)
		}
		out = append(out, a)
	}
	return out
}

// Alerts returns the pending and firing alerts.
func (w *Weir) Alerts(t testing.TB) []rules.Status {
	t.Helper()
	var v struct{ Alerts []rules.Status }
	if err := w.Get("/api/v1/alerts", &v); err != nil {
		t.Fatalf("weir's alerts: %v", err)
	}
	return v.Alerts
}

// Bench is the result of simulator bench.
type Bench struct {
	Sent       uint64 `json:"sent"`
	Acked      uint64 `json:"acked"`
	Resent     uint64 `json:"resent"`
	Reconnects uint64 `json:"reconnects"`
	OutOfOrder uint64 `json:"out_of_order_acks"`
	PerSecond  float64
}

// Load starts simulator bench against weir with further flags.
func (w *Weir) Load(t testing.TB, args ...string) *child.Proc {
	t.Helper()
	full := append([]string{"bench", "--broker", "tcp://" + w.MQTT, "--json", "--quiet", "--timeout", "90s"}, args...)
	return child.Spawn(t, "simulator bench", w.bin.simulator, full...)
}

// Loaded waits for the end of a load. Whatever it published must be acknowledged.
func Loaded(t testing.TB, p *child.Proc, patience time.Duration) Bench {
	t.Helper()
	status := p.Wait(t, patience)
	var b Bench
	if err := json.Unmarshal([]byte(p.Out.String()), &b); err != nil {
		t.Fatalf("simulator bench: status %d: %v\n%s%s", status, err, p.Out, p.Err)
	}
	if status != 0 {
		t.Fatalf("simulator bench: status %d\n%s%s", status, p.Out, p.Err)
	}
	return b
}

// SinkProc is a running simulator sink.
type SinkProc struct {
	*child.Proc
	URL    string
	record string
}

// StartSink starts simulator sink at an address, recording what it takes.
func StartSink(t testing.TB, addr, record string, args ...string) *SinkProc {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	p := child.Spawn(t, "simulator sink", bin.simulator, append([]string{"sink", "--listen", addr, "--distinct", "--record", record}, args...)...)
	Eventually(t, "the sink listens", func() error {
		if !p.Alive() {
			t.Fatalf("the sink has ended:\n%s", p.Err)
		}
		resp, err := client.Get("http://" + addr + "/ping")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return &SinkProc{p, "http://" + addr, record}
}

// SinkStats is what a sink has counted.
type SinkStats struct {
	Lines     uint64 `json:"lines"`
	Distinct  uint64 `json:"distinct_points"`
	Malformed uint64 `json:"malformed_lines"`
	Untimed   uint64 `json:"untimed_lines"`
	Rejected  uint64 `json:"rejected_writes"`
}

// Stats returns what the sink has counted.
func (s *SinkProc) Stats(t testing.TB) SinkStats {
	t.Helper()
	resp, err := client.Get(s.URL + "/stats")
	if err != nil {
		t.Fatalf("sink: %v", err)
	}
	defer resp.Body.Close()
	var st SinkStats
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		t.Fatalf("sink: %v", err)
	}
	return st
}

// Seq returns the number behind "seq": or seq= in a payload or a line.
func Seq(text []byte) (uint64, bool) {
	for _, name := range []string{`"seq":`, `seq=`} {
		i := bytes.Index(text, []byte(name))
		if i < 0 {
			continue
		}
		var n uint64
		digits := 0
		for _, c := range text[i+len(name):] {
			if c < '0' || c > '9' {
				break
			}
			n, digits = 10*n+uint64(c-'0'), digits+1
		}
		return n, digits > 0
	}
	return 0, false
}
