//go:build unix

package backtest_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"weir/ingest/eventlog"
	"weir/rules/backtest"
)

// cpu returns the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// written makes a log of n events of about 90 bytes, closes it and opens it
// again, so that they are read from the disk.
func written(b *testing.B, n int) *bench {
	b.Helper()
	dir := b.TempDir()
	l := openLog(b, dir, 1)
	const size = 2000
	for at := 0; at < n; at += size {
		raw := []byte{}
		for i := at; i < min(n, at+size); i++ {
			raw = eventlog.AppendPublish(raw, epoch.UnixNano()+int64(i)*100_000, fmt.Sprintf("plant/d%d", i%1000),
				fmt.Appendf(nil, `{"ts":%d,"temperature":%.2f,"humidity":%.1f,"seq":%d,"state":"running"}`, epoch.UnixMilli()+int64(i)/10, 15+float64(i%1500)/100, 30+float64(i%90)/3, i),
				fmt.Sprintf("client-%d", i%50), 1, false)
		}
		l.put(0, raw)
	}
	l.stop()
	return openLog(b, dir, 1)
}

// BenchmarkBacktest evaluates a log of a million events, read from the disk.
// Reading and decoding run ahead of evaluation, so that more than one core is
// used: cpu-ns/event is of all of them.
func BenchmarkBacktest(b *testing.B) {
	const n = 1_000_000
	l := written(b, n)
	threshold := hot("temperature > 29.995", "")
	for _, bb := range []struct {
		name string
		req  backtest.Request
	}{
		{"rules=1", backtest.Request{Rules: threshold, Against: backtest.AgainstNone}},
		{"rules=1/against=1", backtest.Request{Rules: threshold, Old: hot("temperature > 29.98", "")}},
		{"window=1", backtest.Request{Rules: hot(`avg_over_time(temperature, '5m') > 29.995`, ""), Against: backtest.AgainstNone}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l.t = b
			used := cpu(b)
			for b.Loop() {
				if r := l.must(bb.req); r.Events != n {
					b.Fatalf("%d events, want %d", r.Events, n)
				}
			}
			b.ReportMetric(float64(cpu(b)-used)/float64(b.N)/n, "cpu-ns/event")
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
