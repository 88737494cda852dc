package backtest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/rules/backtest"
)

// TestADamagedRangeIsReportedAndEvaluationGoesOn flips a bit of the batch in
// which one device becomes hot.
func TestADamagedRangeIsReportedAndEvaluationGoesOn(t *testing.T) {
	dir := t.TempDir()
	b := openLog(t, dir, 1)
	for s := range 40 {
		temp := 20.0
		switch {
		case s == 20:
			temp = 77.7
		case s > 30:
			temp = 50
		}
		b.put(0, reading(float64(s), "a", temp))
	}
	if r := b.must(backtest.Request{Rules: hot("temperature > 30", ""), Against: backtest.AgainstNone}); r.Total.Added != 2 || len(r.Damage) != 0 {
		t.Fatalf("before: %d incidents, damage %v", r.Total.Added, r.Damage)
	}
	b.stop()
	files, err := filepath.Glob(filepath.Join(dir, "log", "jetstream", "*", "streams", "WEIR_LOG_0", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte("77.7"))
	if at < 0 {
		t.Fatal("the reading is not in the file")
	}
	raw[at] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openLog(t, dir, 1)
	for _, gentle := range []bool{false, true} {
		r := b.must(backtest.Request{Rules: hot("temperature > 30", ""), Against: backtest.AgainstNone}, func(d *backtest.Deps) { d.Gentle = gentle })
		expect(t, "added", spans(r.Added), []string{"g/Hot a 31-open"})
		if len(r.Damage) != 1 || r.Damage[0].From != 21 || r.Damage[0].To != 21 || r.Damage[0].Partition != 0 {
			t.Errorf("damage %+v, want batch 21 of partition 0", r.Damage)
		}
		var text strings.Builder
		if err := backtest.WriteText(&text, r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), "not read: partition 0: batches 21 to 21") {
			t.Errorf("the text does not say it:\n%s", text.String())
		}
	}
}

func TestABacktestEndsWithItsContext(t *testing.T) {
	b := day(t, 2)
	for _, gentle := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := backtest.Run(ctx, backtest.Deps{Log: b.Log, Gentle: gentle}, backtest.Request{Rules: hot("temperature > 30", "")}, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for { // whenever it is ended, it says so or has ended by itself
		_, err := backtest.Run(ctx, backtest.Deps{Log: b.Log}, backtest.Request{Rules: hot("temperature > 30", "")}, nil)
		if err == nil {
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that its time was over", err)
		}
		break
	}
}
