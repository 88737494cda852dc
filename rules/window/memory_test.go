package window

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"weir/ingest/event"
)

// heapOf returns the bytes that each of n windows takes, as the runtime counts them.
func heapOf(n int, s *Spec, fill func(*Window)) (perWindow float64, size int) {
	windows := make([]*Window, n)
	measure := func() uint64 {
		runtime.GC()
		runtime.GC() // what pools held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	for i := range windows {
		windows[i] = New(s)
		fill(windows[i])
	}
	after := measure()
	size = windows[0].Size()
	runtime.KeepAlive(windows)
	return float64(after-before) / float64(n), size
}

func TestSizeIsCloseToWhatTheHeapSays(t *testing.T) {
	for _, tt := range []struct {
		name    string
		f       Func
		samples int
		windows int
	}{
		{"avg of nothing", Avg, 0, 50_000}, {"avg of 1", Avg, 1, 20_000}, {"avg of 10", Avg, 10, 20_000}, {"avg of 1000", Avg, 1000, 500},
		{"max of 10", Max, 10, 20_000}, {"rate of 10", Rate, 10, 20_000}, {"quantile of 200", Quantile, 200, 2000},
		{"quantile of 10000", Quantile, 10_000, 100}, {"stddev of 10", Stddev, 10, 20_000}, {"deriv of 10", Deriv, 10, 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Spec{Mode: Counted, N: max(1, tt.samples), Needs: NeedsOf(tt.f)}
			heap, size := heapOf(tt.windows, s, func(w *Window) {
				for i := range int64(tt.samples) {
					w.Add(i*1e9, event.FloatValue(float64(20+i%13)/7))
				}
			})
			t.Logf("%.0f bytes on the heap, Size says %d", heap, size)
			if heap > 2.2*float64(size) || heap < 0.5*float64(size) {
				t.Errorf("%.0f bytes on the heap, Size says %d", heap, size)
			}
		})
	}
}

func TestEmptyWindowsAreSmall(t *testing.T) {
	if n := unsafe.Sizeof(Window{}); n > 32 {
		t.Errorf("an empty window takes %d bytes", n)
	}
	w := New(&Spec{Mode: Sliding, Width: 10, Needs: allNeeds()})
	empty := w.Size()
	for i := range int64(1000) {
		w.Add(i, event.StringValue(strings.Repeat("x", int(i))))
	}
	if n := w.Size(); n < 1000*16+1000*999/2 {
		t.Errorf("Size with half a megabyte of texts = %d", n)
	}
	w.Advance(5000)
	if w.state != nil || w.Size() != empty {
		t.Errorf("Size after all samples have left = %d, want %d", w.Size(), empty)
	}
}

func TestWindowsGiveBackWhatABurstTook(t *testing.T) {
	w := New(&Spec{Mode: Sliding, Width: 1000, Needs: allNeeds()})
	for i := range int64(10_000) {
		w.Add(i, event.IntValue(-i))
		w.Advance(i)
	}
	for i := int64(10_000); i < 20_000; i += 100 {
		w.Add(i, event.IntValue(-i))
		w.Advance(i)
	}
	if got := w.state.samples.room; w.Len() != 10 || got > 64 {
		t.Errorf("%d samples in a buffer for %d", w.Len(), got)
	}
	if got := len(w.state.max.seqs.buf); got > 64 {
		t.Errorf("the queue of %d samples has room for %d", w.Len(), got)
	}
}

func TestTextsDoNotKeepTheirMessage(t *testing.T) {
	message := strings.Repeat("fault ", 100)
	w := New(&Spec{Mode: Counted, N: 5})
	w.Add(1, event.StringValue(message[6:11]))
	if got := w.Value(Last, 0, 0).Text(); got != "fault" || unsafe.StringData(got) == unsafe.StringData(message[6:]) {
		t.Errorf("last = %q, within the message", got)
	}
}

func TestSessionsKeepTheTextsAtTheirEndsOnly(t *testing.T) {
	w := New(&Spec{Mode: Whole, Needs: allNeeds()})
	for i := range int64(1000) {
		w.Add(i, event.StringValue(fmt.Sprint("state ", i)))
		w.Add(i-500, event.StringValue(fmt.Sprint("late ", i)))
	}
	if n := len(w.state.texts.numbers); n != 2 {
		t.Errorf("%d texts are kept, want the first and the last", n)
	}
	if first, last := w.Value(First, 0, 0).Text(), w.Value(Last, 0, 0).Text(); first != "late 0" || last != "state 999" {
		t.Errorf("first %q, last %q", first, last)
	}
}
