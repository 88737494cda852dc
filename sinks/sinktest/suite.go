package sinktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
)

// Sink is what the suite tests: what a consumer of the log calls.
type Sink interface {
	Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error)
}

// Target is a sink and the far side that it delivers to.
type Target struct {
	Sink   Sink
	Events bool   // it delivers events
	Alerts bool   // it delivers alerts
	Name   string // which the alerts' send actions name; "" if it takes alerts without
	// Effects returns how many distinct effects the far side has seen: an
	// event or a transition that came twice counts once.
	Effects func() int
	// Outage takes the far side away, and gives it back with what it had.
	Outage func(down bool)
	// Hang makes the far side take requests and never answer, until the test
	// ends. Nil if it can't.
	Hang func()
}

// patience is how long anything that should happen at once may take.
const patience = 30 * time.Second

// Run runs the suite. open makes a new sink with a far side of its own; it
// cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) *Target) {
	tests := []struct {
		name string
		run  func(*testing.T, *Target)
	}{
		{"the same batches twice count once", twice},
		{"what is not for the sink is filtered, and needs no far side", filtered},
		{"an outage is a RetryError and nothing is lost", outage},
		{"a context that ends ends the call", canceled},
		{"the outcome adds up, and an unreadable alert harms only itself", addsUp},
		{"batches are not used after return", notKept},
		{"partitions may share the sink", shared},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

// useful adds n messages that the sink delivers: n effects.
func (g *Target) useful(t *testing.T, b *Builder, from, n int) *Builder {
	for i := from; i < from+n; i++ {
		if g.Events && (!g.Alerts || i%2 == 0) {
			b.Reading(fmt.Sprintf("d%d", i), "v", event.FloatValue(float64(i)))
			continue
		}
		b.Alert(t, g.alert(i))
	}
	return b
}

func (g *Target) alert(i int) event.Alert {
	if g.Name == "" {
		return Alert(i)
	}
	return Alert(i, g.Name)
}

// useless adds messages that the sink filters, and returns how many.
func (g *Target) useless(t *testing.T, b *Builder) int {
	b.Tick().RuleSet().Reject().Empty()
	n := 4
	if !g.Alerts {
		b.Alert(t, Alert(1000))
		n++
	}
	if !g.Events {
		b.Reading("d1000", "v", event.FloatValue(1))
		n++
	}
	if g.Alerts && g.Name != "" {
		b.Alert(t, Alert(1001)).Alert(t, Alert(1002, g.Name+"-other"))
		n += 2
	}
	return n
}

func (g *Target) handle(t *testing.T, batches ...*event.Batch) event.Outcome {
	t.Helper()
	out, err := g.Sink.Handle(t.Context(), batches)
	if err != nil {
		t.Fatalf("Handle: %v", err)
	}
	return out
}

// expect waits until the far side has seen n effects. What Handle has reported
// as delivered may take a moment to be counted there, but must not be less.
func (g *Target) expect(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for g.Effects() < n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if got := g.Effects(); got != n {
		t.Errorf("distinct effects at the far side = %d, want %d", got, n)
	}
}

func twice(t *testing.T, g *Target) {
	start := Start()
	one := g.useful(t, NewBatch(1, start), 0, 20).Batch()
	two := g.useful(t, NewBatch(2, start.Add(time.Second)), 20, 20).Batch()
	g.handle(t, one)
	g.handle(t, one, two)
	g.handle(t, one, two)
	g.expect(t, 40)
}

func filtered(t *testing.T, g *Target) {
	g.Outage(true)
	b := NewBatch(1, Start())
	n := g.useless(t, b)
	if out := g.handle(t, b.Batch()); out.Filtered != n || len(out.Dead) != 0 {
		t.Errorf("outcome = %+v, want %d filtered and none dead", out, n)
	}
	if out := g.handle(t); out.Filtered != 0 || len(out.Dead) != 0 {
		t.Errorf("outcome of no batches = %+v", out)
	}
	g.Outage(false)
	g.expect(t, 0)
}

func outage(t *testing.T, g *Target) {
	start := Start()
	total := 0
	for i := range 4 {
		b := g.useful(t, NewBatch(uint64(i+1), start.Add(time.Duration(i)*time.Second)), total, 10).Batch()
		total += 10
		if i%2 == 1 {
			g.Outage(true)
			_, err := g.Sink.Handle(t.Context(), []*event.Batch{b})
			var re *event.RetryError
			if !errors.As(err, &re) {
				t.Fatalf("Handle in an outage: error %v, want a *event.RetryError", err)
			}
			g.Outage(false)
		}
		g.retry(t, b)
	}
	g.expect(t, total)
}

// retry calls Handle until there is no outage any more.
func (g *Target) retry(t *testing.T, b *event.Batch) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		_, err := g.Sink.Handle(t.Context(), []*event.Batch{b})
		if err == nil {
			return
		}
		var re *event.RetryError
		if !errors.As(err, &re) || time.Now().After(deadline) {
			t.Fatalf("Handle after the outage: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func canceled(t *testing.T, g *Target) {
	b := g.useful(t, NewBatch(1, Start()), 0, 3).Batch()
	ctx, cancel := context.WithCancel(t.Context())
	if g.Hang != nil {
		g.Hang()
		time.AfterFunc(50*time.Millisecond, cancel) // before or during the call: both must end it
	} else {
		cancel()
	}
	done := make(chan error, 1)
	go func() {
		_, err := g.Sink.Handle(ctx, []*event.Batch{b})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Handle with a context that ended: no error, so the messages would count as delivered")
		}
	case <-time.After(patience):
		t.Fatalf("Handle did not return within %v after its context ended", patience)
	}
	cancel()
}

func addsUp(t *testing.T, g *Target) {
	b := g.useful(t, NewBatch(1, Start()), 0, 4)
	n := g.useless(t, b)
	bad := -1
	if g.Alerts {
		bad = len(b.Batch().Messages)
		b.Raw(event.AlertFact, []byte(`{"id": 5`))
	} else {
		b.Tick()
		n++
	}
	g.useful(t, b, 4, 4)
	out := g.handle(t, b.Batch())
	if out.Filtered != n {
		t.Errorf("filtered = %d, want %d", out.Filtered, n)
	}
	switch {
	case bad < 0 && len(out.Dead) != 0:
		t.Errorf("dead = %v, want none", out.Dead)
	case bad >= 0 && (len(out.Dead) != 1 || out.Dead[0].Batch != 0 || out.Dead[0].Message != uint32(bad) || out.Dead[0].Err == nil):
		t.Errorf("dead = %v, want message %d with a cause", out.Dead, bad)
	}
	g.expect(t, 8)
}

func notKept(t *testing.T, g *Target) {
	start := Start()
	total := 0
	for i := range 3 {
		b := g.useful(t, NewBatch(uint64(i+1), start.Add(time.Duration(i)*time.Second)), total, 10).Batch()
		total += 10
		g.handle(t, b)
		for j := range b.Messages { // the race detector sees who still reads
			clear(b.Messages[j].Payload)
		}
		b.Reset()
	}
	g.expect(t, total)
}

func shared(t *testing.T, g *Target) {
	const partitions, each = 4, 10
	start := Start()
	var wg sync.WaitGroup
	for p := range partitions {
		b := g.useful(t, NewBatch(1, start), p*each, each).Batch()
		b.Partition = p
		wg.Go(func() {
			if out, err := g.Sink.Handle(t.Context(), []*event.Batch{b}); err != nil || len(out.Dead) != 0 {
				t.Errorf("partition %d: %+v, %v", p, out, err)
			}
		})
	}
	wg.Wait()
	g.expect(t, partitions*each)
}
