package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/devices"
	"weir/ingest/consume"
	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
)

// until waits for something that is to happen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 60 s in vain until %s", what)
		}
	}
}

// bench is a log with a consumer "sink" and the registry, and the API of it.
type bench struct {
	t        *testing.T
	log      *eventlog.Log
	rings    []*ring.Ring
	marks    []*eventlog.Committer
	registry *devices.Registry
	runners  []*consume.Runner
	deps     Deps

	mu  sync.Mutex
	err error // what the consumer "sink" answers to payloads with "bad" in them
}

func newBench(t *testing.T) *bench {
	t.Helper()
	set, err := decode.Compile([]decode.Source{{Name: "plant", Topic: "plant/{device}", Format: "json", Measurement: "telemetry"}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, registry: devices.NewRegistry(devices.Config{Partitions: 2})}
	decodeBatch := func(x *event.Batch) { set.NewDecoder().Decode(x) }
	if b.log, err = eventlog.Open(t.Context(), eventlog.Config{Dir: t.TempDir(), Partitions: 2, Decode: decodeBatch}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	spawn := func(f func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		}()
	}
	for i := range b.log.Partitions() {
		r := ring.New(1 << 20)
		c := b.log.Partition(i).NewCommitter(r)
		c.Quiet(true) // the log holds what a test puts there, however long it takes
		b.rings, b.marks = append(b.rings, r), append(b.marks, c)
		spawn(func() error { return c.Run(ctx) })
		for name, h := range map[string]consume.Handler{"sink": b, "devices": b.registry.Partition(i)} {
			run := consume.New(consume.Config{Name: name, Log: b.log, Partition: b.log.Partition(i), Handler: h, RetryMin: time.Millisecond, RetryMax: time.Millisecond})
			b.runners = append(b.runners, run)
			spawn(func() error { return run.Run(ctx) })
		}
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		b.log.Close()
	})
	b.deps = Deps{
		Log: b.log, Devices: b.registry, Runners: func() []*consume.Runner { return b.runners },
		Alerts: func() []rules.Status { return []rules.Status{} }, Sources: func() []string { return []string{"plant", "none"} }, Rules: func() []Rule { return []Rule{{Info: rules.Info{Rule: "g/r"}, Errors: 3, LastError: "no field t"}} },
		Decode: decodeBatch, Gatherer: prometheus.NewRegistry(),
		Reinsert: func(ctx context.Context, m *event.Message) error { b.append(0, *m); return nil },
	}
	return b
}

// Handle is the consumer "sink".
func (b *bench) Handle(_ context.Context, batches []*event.Batch) (out event.Outcome, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, x := range batches {
		for i := range x.Messages {
			switch {
			case len(x.EventsOf(i)) == 0:
				out.Filtered++
			case b.err != nil && strings.Contains(string(x.Messages[i].Payload), "bad"):
				var away *event.RetryError
				if errors.As(b.err, &away) {
					return event.Outcome{}, b.err
				}
				out.Dead = append(out.Dead, event.Dead{Batch: n, Message: uint32(i), Err: b.err})
			}
		}
	}
	return out, nil
}

func (b *bench) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// append puts one message into a partition and returns when it is durable.
func (b *bench) append(partition int, m event.Message) {
	b.t.Helper()
	b.put(partition, eventlog.AppendRecord(nil, &m))
}

// put appends a record and waits until it is durable.
func (b *bench) put(partition int, record []byte) {
	b.t.Helper()
	pos, err := b.rings[partition].Append(b.t.Context(), record, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	until(b.t, "it is durable", func() bool { return b.marks[partition].Durable() >= pos })
}

func (b *bench) publish(partition int, topic, payload string) {
	b.t.Helper()
	b.put(partition, eventlog.AppendPublish(nil, time.Now().UnixNano(), topic, []byte(payload), "c", 1, false))
}

// settled waits until every consumer is done with what the log holds now.
func (b *bench) settled() {
	b.t.Helper()
	for _, r := range b.runners {
		head := b.log.Partition(r.Partition()).Head().Seq
		until(b.t, r.Name()+" is done", func() bool { return r.Status().Cursor.Seq >= head })
	}
}

// offline is the API of the same log with nothing running.
func (b *bench) offline() *Server {
	return New(Deps{Log: b.log, Devices: b.registry, Decode: b.deps.Decode})
}

func (b *bench) online() *Server { return New(b.deps) }

// do returns status and body of an answer.
func do(t testing.TB, h http.Handler, method, target string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// lines decodes newline-delimited JSON.
func lines(t testing.TB, body string) (all []map[string]any) {
	t.Helper()
	for _, text := range strings.Split(strings.TrimSpace(body), "\n") {
		if text == "" {
			continue
		}
		var l map[string]any
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		all = append(all, l)
	}
	return all
}

// column returns one key of every line.
func column(all []map[string]any, key string) string {
	var out []string
	for _, l := range all {
		out = append(out, fmt.Sprint(l[key]))
	}
	return strings.Join(out, " ")
}

func deadLetter(p event.Position, m event.Message) eventlog.DeadLetter {
	return eventlog.DeadLetter{Consumer: DecodeConsumer, Position: p, Cause: "no JSON", Topic: m.Topic, Payload: m.Payload, Received: time.Unix(0, m.Received)}
}
