package devices_test

import (
	"fmt"
	"runtime"
	"testing"

	"weir/devices"
	"weir/ingest/event"
)

// fleetBatches returns batches of the given number of events, one a message,
// that go round a fleet: each has the four fields and the tag of the simulator.
func fleetBatches(fleet, events, size, run int) []*event.Batch {
	var batches []*event.Batch
	for i := 0; i < events; {
		m := newBuilder()
		for range size {
			id := fmt.Sprintf("freezer-%06d", i/run%fleet)
			m.publish(0, // one time for all: a batch that is handled again is not late
				reading(id, "temperature", -18.5, "humidity", 41.0, "battery", 0.93, "door", "closed"))
			i++
		}
		batches = append(batches, m.b)
	}
	return batches
}

// BenchmarkHandle measures an event of a known device. In a batch, each device
// has run events in a row (a connection that publishes with a window).
func BenchmarkHandle(b *testing.B) {
	for _, c := range []struct{ fleet, run int }{{50, 1}, {1000, 1}, {1000, 10}, {100_000, 1}} {
		b.Run(fmt.Sprintf("fleet=%d/run=%d", c.fleet, c.run), func(b *testing.B) {
			events := max(c.fleet*c.run, 1000)
			batches := fleetBatches(c.fleet, events, 500, c.run)
			p := devices.NewRegistry(devices.Config{}).Partition(0)
			handle(b, p, batches...)
			next := 0
			b.ReportAllocs()
			for b.Loop() {
				handle(b, p, batches[next])
				next = (next + 1) % len(batches)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	p := devices.NewRegistry(devices.Config{}).Partition(0)
	handle(b, p, fleetBatches(100_000, 100_000, 1000, 1)...)
	s := snapshot(b, p)
	b.Run("take/devices=100000", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			s = snapshot(b, p)
		}
	})
	b.Run("restore/devices=100000", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			if err := p.Restore(s); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory reports the bytes of heap that a device takes.
func BenchmarkMemory(b *testing.B) {
	const fleet = 200_000
	for b.Loop() {
		r := devices.NewRegistry(devices.Config{})
		p := r.Partition(0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := newBuilder()
		for i := range fleet {
			m.b.Reset()
			handle(b, p, m.publish(0, reading(fmt.Sprintf("freezer-%06d", i), "temperature", -18.5, "humidity", 41.0, "battery", 0.93, "door", "closed")).b)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/fleet, "B/device")
		runtime.KeepAlive(r)
	}
}

func BenchmarkRead(b *testing.B) {
	r := devices.NewRegistry(devices.Config{})
	handle(b, r.Partition(0), fleetBatches(100_000, 100_000, 1000, 1)...)
	r.List(devices.Query{}) // sorts
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if _, ok := r.Get("freezer-050000"); !ok {
				b.Fatal("not there")
			}
		}
	})
	b.Run("list/limit=100", func(b *testing.B) {
		for b.Loop() {
			r.List(devices.Query{After: "freezer-050000"})
		}
	})
	b.Run("counts/devices=100000", func(b *testing.B) {
		for b.Loop() {
			r.Counts()
		}
	})
}
