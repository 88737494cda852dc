package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQueuesGiveBackWhatTheyTookToTheBit(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		steps := []int64{1, 1e3, 1e6, 1e9, 3600e9, 1 << 56}
		step := func() int64 { return r.Int64N(steps[r.IntN(len(steps))]) }
		if seed%3 > 0 {
			largest := steps[r.IntN(5)]
			step = func() int64 { return largest }
		}
		kinds := r.IntN(6) + 1
		number := func() float64 {
			switch r.IntN(kinds) {
			case 0, 1:
				return float64(r.IntN(2000)-1000) / 10
			case 2:
				return float64(r.IntN(1e9)-5e8) / 1e6
			case 3:
				return float64(r.IntN(1 << 32))
			case 4:
				return math.Float64frombits(r.Uint64N(infBits) | r.Uint64()<<63)
			}
			return math.Float64frombits(textBits | uint64(r.IntN(9)))
		}
		var q queue
		var want []sample
		now := r.Int64() - r.Int64()
		for i := range 600 {
			switch at := r.IntN(len(want) + 1); {
			case r.IntN(300) == 0:
				q.clear()
				want = nil
			case len(want) > 0 && r.IntN(5) < 2+i/300:
				q.popFront()
				want = want[1:]
			case r.IntN(10) == 0 && len(want) > 0: // late
				s := sample{want[max(at-1, 0)].t, math.Float64bits(number() + 0)}
				if at == 0 && s.t > math.MinInt64+1e15 {
					s.t -= r.Int64N(1e15)
				}
				q.insert(at, s)
				want = slices.Insert(slices.Clone(want), at, s)
			default:
				d := step()
				if now > math.MaxInt64-d {
					continue
				}
				now += d
				s := sample{now, math.Float64bits(number() + 0)}
				q.insert(q.len(), s)
				want = append(want, s)
			}
			var got []sample
			for i := range q.len() {
				if s := q.at(i); s.t != q.time(i) {
					t.Fatalf("seed %d: sample %d is of %d or %d", seed, i, s.t, q.time(i))
				}
				got = append(got, q.at(i))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: %v, want %v", seed, i, got, want)
			}
		}
	}
}

func TestQueuesTakeLittle(t *testing.T) {
	for _, tt := range []struct {
		what   string
		step   int64
		number float64
		want   int // bytes a sample
	}{
		{"tenths over minutes", 10e9, 0.1, 7}, {"tenths within a second", 1e6, 0.1, 6}, {"tenths over hours", 100e9, 0.1, 8},
		{"thousands over minutes", 10e9, 1000, 9},
		{"any number over minutes", 10e9, 1.0 / 3, 13}, {"any number over a century", 86400e9 * 365, 1.0 / 3, 16},
		{"positions", 10e9, 1e-6, 9},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var q queue
			now := int64(1.7e18)
			for i := range 300 {
				now += tt.step
				x := float64(i)*tt.number - 7
				if tt.number < 1e-3 {
					x = float64(52520008+i) / 1e6
				} else if tt.number == 0.1 {
					x = float64(i) / 10
				}
				q.insert(q.len(), sample{now, math.Float64bits(x)})
				if q.len() > 50 {
					q.popFront()
				}
			}
			if got := int(q.stride); got != tt.want || int(q.room) > 70 {
				t.Errorf("%d bytes a sample, want %d; room for %d, 50 held", got, tt.want, q.room)
			}
		})
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, number := range []float64{0.1, 1.0 / 3} {
		b.Run(fmt.Sprintf("%.3f", number), func(b *testing.B) {
			var q queue
			for i := range int64(30) {
				q.insert(q.len(), sample{i * 1e10, math.Float64bits(float64(i) * number)})
			}
			i := int64(30)
			for b.Loop() {
				q.insert(q.len(), sample{i * 1e10, math.Float64bits(float64(i%100) / 10 * number * 10)})
				q.popFront()
				i++
			}
		})
	}
}
