package backtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
	"weir/rules/backtest"
)

// epoch is when the logs of the tests begin.
var epoch = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func at(s float64) int64 { return epoch.Add(time.Duration(s * float64(time.Second))).UnixNano() }

func clock(s float64) string { return time.Unix(0, at(s)).UTC().Format(time.RFC3339Nano) }

// bench is a log that a test fills.
type bench struct {
	*eventlog.Log
	t     testing.TB
	rings []*ring.Ring
	marks []*eventlog.Committer
	stop  func()
}

func openLog(t testing.TB, dir string, partitions int) *bench {
	t.Helper()
	set, err := decode.Compile([]decode.Source{{Name: "plant", Topic: "plant/{device}", Format: "json", Measurement: "telemetry"}})
	if err != nil {
		t.Fatal(err)
	}
	pool := sync.Pool{New: func() any { return set.NewDecoder() }}
	decodeBatch := func(b *event.Batch) {
		d := pool.Get().(*decode.Decoder)
		d.Decode(b)
		pool.Put(d)
	}
	l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, Partitions: partitions, Decode: decodeBatch})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Log: l, t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range l.Partitions() {
		r := ring.New(4 << 20)
		c := l.Partition(i).NewCommitter(r)
		c.Quiet(true) // a tick would be of now, and not of the test's time
		b.rings, b.marks = append(b.rings, r), append(b.marks, c)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := c.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("committer: %v", err)
			}
		}()
	}
	b.stop = sync.OnceFunc(func() {
		for _, r := range b.rings {
			r.Close()
		}
		wg.Wait()
		cancel()
		l.Close()
	})
	t.Cleanup(b.stop)
	return b
}

// put appends records to a partition, as one batch, and returns when they are durable.
func (b *bench) put(partition int, records ...[]byte) {
	b.t.Helper()
	var all []byte
	for _, r := range records {
		all = append(all, r...)
	}
	pos, err := b.rings[partition].Append(b.t.Context(), all, len(records))
	if err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); b.marks[partition].Durable() < pos; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("the log did not become durable within a minute")
		}
	}
}

// reading is a publish of a device, s seconds after epoch.
func reading(s float64, device string, temperature float64) []byte {
	return eventlog.AppendPublish(nil, at(s), "plant/"+device, fmt.Appendf(nil, `{"temperature":%v}`, temperature), "c", 1, false)
}

func tick(s float64) []byte {
	return eventlog.AppendRecord(nil, &event.Message{Record: event.Tick, Received: at(s)})
}

func started(s float64) []byte {
	return eventlog.AppendRecord(nil, &event.Message{Record: event.Started, Received: at(s)})
}

func ruleSet(s float64, set *rules.Set) []byte {
	return eventlog.AppendRecord(nil, &event.Message{Record: event.RuleSet, Received: at(s), Payload: set.Marshal()})
}

// hot returns a rule file with one rule, Hot, and what more is said of it.
func hot(expr, more string) []backtest.Text {
	return []backtest.Text{{Name: "hot.yaml", Text: fmt.Sprintf("groups:\n  - name: g\n    rules:\n      - {alert: Hot, expr: %q%s}\n", expr, more)}}
}

func setOf(t testing.TB, texts []backtest.Text) *rules.Set {
	t.Helper()
	var files []rules.File
	for _, x := range texts {
		files = append(files, rules.File{Name: x.Name, Data: []byte(x.Text)})
	}
	set, err := rules.Load(files, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (b *bench) run(req backtest.Request, change ...func(*backtest.Deps)) (*backtest.Report, error) {
	d := backtest.Deps{Log: b.Log, Consumer: "rules", Now: func() time.Time { return epoch.Add(time.Hour) }}
	for _, f := range change {
		f(&d)
	}
	return backtest.Run(b.t.Context(), d, req, nil)
}

func (b *bench) must(req backtest.Request, change ...func(*backtest.Deps)) *backtest.Report {
	b.t.Helper()
	r, err := b.run(req, change...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// span tells when an incident was, in seconds after epoch.
func span(in backtest.Incident) string {
	end := "open"
	if in.EndsAt != nil {
		end = fmt.Sprintf("%.0f", in.EndsAt.Sub(epoch).Seconds())
	}
	return fmt.Sprintf("%s %s %.0f-%s", in.Rule, in.Key, in.StartsAt.Sub(epoch).Seconds(), end)
}

func spans(all []backtest.Incident) []string {
	out := []string{}
	for _, in := range all {
		out = append(out, span(in))
	}
	return out
}

func moves(all []backtest.Move) []string {
	out := []string{}
	for _, m := range all {
		out = append(out, fmt.Sprintf("%s -> %s (%v %v %s)", span(m.Old), span(m.New), m.Starts, m.Ends, m.OpenIn))
	}
	return out
}

func expect(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, g, w)
	}
}
