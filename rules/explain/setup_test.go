package explain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
	"weir/rules/backtest"
	"weir/rules/explain"
)

// epoch is when the logs of the tests begin.
var epoch = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func at(s float64) int64 { return epoch.Add(time.Duration(s * float64(time.Second))).UnixNano() }

func clock(s float64) string { return time.Unix(0, at(s)).UTC().Format(time.RFC3339Nano) }

// plant is a log with a weir beside it that evaluates rules and writes what they
// derive, as a running one does.
type plant struct {
	t      testing.TB
	log    *eventlog.Log
	ring   *ring.Ring
	mark   *eventlog.Committer
	engine *rules.Engine
	reader *eventlog.Reader
	facts  []event.Alert
}

func open(t testing.TB) *plant {
	t.Helper()
	set, err := decode.Compile([]decode.Source{{Name: "plant", Topic: "plant/{device}", Format: "json", Measurement: "telemetry", Time: decode.TimeSpec{Fields: []string{"ts"}, Unit: "ns"}}})
	if err != nil {
		t.Fatal(err)
	}
	pool := sync.Pool{New: func() any { return set.NewDecoder() }}
	l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: t.TempDir(), Partitions: 1, Decode: func(b *event.Batch) {
		d := pool.Get().(*decode.Decoder)
		d.Decode(b)
		pool.Put(d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{t: t, log: l, ring: ring.New(4 << 20), engine: rules.NewEngine(0)}
	p.mark = l.Partition(0).NewCommitter(p.ring)
	p.mark.Quiet(true) // a tick would be of now, and not of the test's time
	p.reader = l.Partition(0).NewReader(0, 0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.mark.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("committer: %v", err)
		}
	}()
	t.Cleanup(func() {
		p.reader.Close()
		p.ring.Close()
		<-done
		cancel()
		l.Close()
	})
	return p
}

// put appends a record and lets the rules evaluate it.
func (p *plant) put(records ...[]byte) {
	p.t.Helper()
	for _, r := range records {
		p.append(r)
		for more := true; more; {
			more = p.evaluate()
		}
	}
}

func (p *plant) append(record []byte) {
	pos, err := p.ring.Append(p.t.Context(), record, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); p.mark.Durable() < pos; time.Sleep(20 * time.Microsecond) {
		if time.Now().After(deadline) {
			p.t.Fatal("the log did not become durable within a minute")
		}
	}
}

func (p *plant) evaluate() bool {
	b, err := p.reader.TryNext(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if b == nil {
		return false
	}
	var out []rules.Derived
	p.engine.Process(b, func(d rules.Derived) { out = append(out, d) })
	b.Release()
	for _, d := range out {
		if d.Alert != nil {
			p.facts = append(p.facts, *d.Alert)
		}
		p.append(eventlog.AppendRecord(nil, &event.Message{Record: d.Record, ID: d.ID, Topic: d.Topic, Payload: d.Payload, Received: d.Time}))
	}
	return true
}

// reading is a publish of a device, s seconds after epoch.
func reading(s float64, device, fields string) []byte {
	return eventlog.AppendPublish(nil, at(s), "plant/"+device, []byte(fields), "c", 1, false)
}

func temp(s float64, device string, t float64) []byte {
	return reading(s, device, fmt.Sprintf(`{"temperature":%v}`, t))
}

func tick(s float64) []byte {
	return eventlog.AppendRecord(nil, &event.Message{Record: event.Tick, Received: at(s)})
}

func ruleSet(t testing.TB, s float64, text string) []byte {
	t.Helper()
	set, err := rules.Load([]rules.File{{Name: "g.yaml", Data: []byte(text)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return eventlog.AppendRecord(nil, &event.Message{Record: event.RuleSet, Received: at(s), Payload: set.Marshal()})
}

func (p *plant) ask(req explain.Request) (*explain.Report, string) {
	p.t.Helper()
	r, err := explain.Run(p.t.Context(), explain.Deps{Deps: backtest.Deps{Log: p.log, Now: func() time.Time { return epoch.Add(24 * time.Hour) }}}, req)
	if err != nil {
		p.t.Fatal(err)
	}
	var b strings.Builder
	if err := explain.WriteText(&b, r); err != nil {
		p.t.Fatal(err)
	}
	return r, b.String()
}

// mentions checks that a text has all parts, in their order.
func mentions(t testing.TB, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Fatalf("the text does not say, or not in this order: %s\n%s", p, text)
		}
		rest = rest[i+len(p):]
	}
}
