package consume

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"weir/ingest/event"
)

func TestSeekGivesTheLogAgainFromAPlaceAndStartsTheBooksAnew(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	b := s.put(t, "b")
	s.put(t, "c")
	var got seen
	r := s.run(t, "c", &got, nil)
	r.caughtUp(t)
	reset := 0
	if err := r.Seek(t.Context(), b, func() error { reset++; return nil }); err != nil {
		t.Fatal(err)
	}
	c := r.caughtUp(t)
	r.stop()
	if got.text() != "[a b c b c]" || c.Delivered != 2 || reset != 1 || c.Start == 0 {
		t.Errorf("handled %s, books %+v, %d resets", got.text(), c, reset)
	}
	if saved, _ := s.cursor(t, "c"); saved.Start != c.Start || saved.Imbalance() != 0 {
		t.Errorf("saved %+v, live %+v", saved, c)
	}
}

func TestASeekWhoseResetFailsChangesNothing(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	var got seen
	r := s.run(t, "c", &got, nil)
	before := r.caughtUp(t)
	if err := r.Seek(t.Context(), 1, func() error { return errors.New("no room") }); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("seek: %v", err)
	}
	s.put(t, "b")
	if c := r.caughtUp(t); got.text() != "[a b]" || c.Start != before.Start {
		t.Errorf("handled %s, books %+v", got.text(), c)
	}
}

func TestSeekMovesAConsumerAwayFromWhatItCannotDeliver(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "poison")
	var got seen
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		if _, _, ok := find(batches, "poison"); ok {
			return event.Outcome{}, errors.New("I choke on it")
		}
		return got.take(batches), nil
	}), func(c *Config) { c.RetryMin, c.RetryMax = time.Hour, time.Hour })
	until(t, "it is in trouble", func() bool { return r.Status().State == "retrying" })
	next := s.put(t, "good")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Seek(ctx, next, nil); err != nil {
		t.Fatalf("seek while it waits for an hour: %v", err)
	}
	r.caughtUp(t)
	if got.text() != "[good]" {
		t.Errorf("handled %s", got.text())
	}
}

func TestRedeliverSaysWhetherTheConsumerTookTheMessage(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "bad", "good")
	var mended atomic.Bool
	var got seen
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		n, m, ok := find(batches, "bad")
		if ok && !mended.Load() {
			return event.Outcome{Dead: []event.Dead{{Batch: n, Message: m, Err: errors.New("type conflict")}}}, nil
		}
		return got.take(batches), nil
	}), nil)
	before := r.caughtUp(t)
	d := s.letters(t)["bad"]
	decoded := 0
	decode := func(b *event.Batch) { decoded++ }
	if err := r.Redeliver(t.Context(), d.Position, d.Message(), decode); err == nil || !strings.Contains(err.Error(), "type conflict") {
		t.Errorf("redeliver before the cause was mended: %v", err)
	}
	refuse := func(b *event.Batch) {
		b.Rejects = append(b.Rejects, event.Reject{Err: errors.New("no JSON")})
	}
	if err := r.Redeliver(t.Context(), d.Position, d.Message(), refuse); err == nil || !strings.Contains(err.Error(), "no JSON") {
		t.Errorf("redeliver of what can't be decoded: %v", err)
	}
	mended.Store(true)
	if err := r.Redeliver(t.Context(), d.Position, d.Message(), decode); err != nil {
		t.Errorf("redeliver: %v", err)
	}
	if got.text() != "[bad]" || decoded != 2 {
		t.Errorf("handled %s, decoded %d times", got.text(), decoded)
	}
	if c := r.Status().Cursor; c.Dead != before.Dead || c.Imbalance() != 0 {
		t.Errorf("a redelivery changed the books: %+v, before %+v", c, before)
	}
}

func TestRequestsAreAnsweredWhileTheConsumerIsBusy(t *testing.T) {
	s := openLog(t, t.TempDir())
	var handled atomic.Int64
	r := s.run(t, "c", handle(func(context.Context, []*event.Batch) (event.Outcome, error) {
		handled.Add(1)
		return event.Outcome{}, nil
	}), func(c *Config) { c.MaxMessages = 1 })
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.put(t, "x")
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 20 {
		if err := r.Redeliver(ctx, event.Position{Seq: 1}, event.Message{}, func(*event.Batch) {}); err != nil {
			t.Errorf("redeliver under load: %v", err)
		}
	}
	close(stop)
	<-done
	r.caughtUp(t)
}

func TestARequestToAConsumerThatHangsEndsWithItsContext(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	inside := make(chan struct{}, 1)
	r := s.run(t, "c", handle(func(ctx context.Context, _ []*event.Batch) (event.Outcome, error) {
		select {
		case inside <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return event.Outcome{}, ctx.Err()
	}), nil)
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Seek(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "consumer c did not answer") {
		t.Errorf("seek: %v", err)
	}
}

func TestLagAndTroubleAreMetrics(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "b")
	r := s.run(t, "c", handle(func(context.Context, []*event.Batch) (event.Outcome, error) {
		return event.Outcome{}, errors.New("away")
	}), func(c *Config) { c.RetryMin, c.RetryMax = time.Hour, time.Hour })
	until(t, "it is in trouble", func() bool { return r.Status().State == "retrying" })
	lag := LagCollector{Runners: func() []*Runner { return []*Runner{r.Runner} }}
	reg := prometheus.NewRegistry()
	reg.MustRegister(lag)
	reg.MustRegister(NewMetrics().Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] = m.GetGauge().GetValue()
		}
	}
	if got["weir_consumer_lag_records"] < 2 || got["weir_consumer_retrying"] != 1 || got["weir_audit_imbalance_records"] != 0 {
		t.Errorf("metrics %v", got)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
