package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"weir/console"
	"weir/ingest/event"
	"weir/test/child"
	"weir/test/process"
)

// blocks returns the files of a partition of the log, oldest first.
func blocks(t *testing.T, data string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "$G", "streams", "WEIR_LOG_0", "msgs", "*.blk"))
	if err != nil || len(files) < 3 {
		t.Fatalf("the log is in %d files, want at least 3 to damage one in the middle (%v)", len(files), err)
	}
	number := func(name string) int {
		n, err := strconv.Atoi(regexp.MustCompile(`(\d+)\.blk$`).FindStringSubmatch(name)[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return number(a) - number(b) })
	return files
}

func flip(t *testing.T, name string, part float64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[int(float64(len(b))*part)] ^= 0x10
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestDamageOfTheLogIsReportedWithItsExactRangeAndTheRestIsDelivered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, files []string)
		killed bool // and not stopped: the server's own index is old
	}{
		{"a bit is flipped in the middle", func(t *testing.T, f []string) { flip(t, f[1], 0.5) }, false},
		{"a file in the middle is cut short", func(t *testing.T, f []string) {
			info, err := os.Stat(f[1])
			if err == nil {
				err = os.Truncate(f[1], info.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a file in the middle is gone", func(t *testing.T, f []string) {
			if err := os.Remove(f[1]); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a bit is flipped in the newest file", func(t *testing.T, f []string) { flip(t, f[len(f)-1], 0.5) }, false},
		{"the newest file is cut short", func(t *testing.T, f []string) {
			if err := os.Truncate(f[len(f)-1], 100_000); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"weir is killed and the newest file cut short", func(t *testing.T, f []string) {
			if err := os.Truncate(f[len(f)-1], 100_000); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"weir is killed and a bit is flipped in the newest file", func(t *testing.T, f []string) { flip(t, f[len(f)-1], 0.5) }, true},
		{"the newest file is gone", func(t *testing.T, f []string) {
			if err := os.Remove(f[len(f)-1]); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			acked, record := filepath.Join(dir, "acked"), filepath.Join(dir, "record")
			setup := process.Setup{Log: "partitions: 1, min_free: 64MiB", Rules: map[string]string{"cold.yaml": warmRules}}
			w := process.New(t, setup)
			w.Start(t)
			process.Loaded(t, w.Load(t, "--count", "7000", "--size", "4000", "--connections", "5", "--window", "100", "--acked-file", acked), process.Patience)
			w.Settled(t)
			before := w.Everything(t)
			if tt.killed {
				w.Saved(t)
				w.Kill()
			} else {
				w.Stop(t)
				before = w.Everything(t)
			}
			tt.damage(t, blocks(t, w.Data))

			sink := process.StartSink(t, child.FreeAddr(t), record)
			setup.Sinks = fmt.Sprintf("\n  - name: lines\n    start: all\n    retry: {min: 50ms, max: 500ms}\n    influxdb: {url: %q, database: weir}\n", sink.URL)
			w.Configure(t, setup)
			w.Start(t)
			more := filepath.Join(dir, "more")
			process.Loaded(t, w.Load(t, "--count", "1000", "--seq-start", "1000000", "--connections", "5", "--acked-file", more), process.Patience)
			w.Settled(t)
			audit := w.Audit(t)
			after := w.Everything(t)
			ticks := uint64(0)
			if tt.killed {
				ticks = 30 // that came after we had looked at the log
			}
			lost := checkDamage(t, w, before, after, ticks)
			for _, e := range audit.Entries {
				switch e.Consumer {
				case "lines":
					if e.Lost < lost || e.Lost > lost+ticks {
						t.Errorf("the books of the new sink say that %d records are lost, want %d (and %d more at most)", e.Lost, lost, ticks)
					}
				default: // they had read it all before, but for what came after their cursors were saved
					if e.Lost > ticks {
						t.Errorf("the books of %s say that %d records are lost, but it had read them", e.Consumer, e.Lost)
					}
				}
			}
			w.Stop(t)
			sink.Signal(os.Interrupt)
			sink.Wait(t, process.Patience)
			var there []console.Line
			for _, l := range after {
				if l.Kind == "message" {
					there = append(there, l)
				}
			}
			inLog := process.CheckLog(t, there, process.ReadAcked(t, more))
			process.CheckRecord(t, record, inLog, process.ReadAcked(t, more))
		})
	}
}

// checkDamage compares what was in the log before it was damaged with what is
// read from it now: what is missing must be in a range that is reported, and
// nothing else, but for some ticks that came later. It returns how many records are missing.
func checkDamage(t *testing.T, w *process.Weir, before, after []console.Line, ticks uint64) uint64 {
	t.Helper()
	is := map[event.Position]string{}
	type span struct{ from, to, records uint64 }
	var spans []span
	text := regexp.MustCompile(`batches (\d+) to (\d+) \((\d+) records\) are damaged`)
	for _, l := range after {
		if l.Kind != "damage" {
			is[l.Position] = l.Kind + string(l.Payload)
			continue
		}
		m := text.FindStringSubmatch(l.Error)
		if m == nil {
			t.Fatalf("damage is reported as %q", l.Error)
		}
		var n [3]uint64
		for i := range n {
			n[i], _ = strconv.ParseUint(m[i+1], 10, 64)
		}
		spans = append(spans, span{n[0], n[1], n[2]})
		t.Logf("reported: %s", l.Error)
	}
	missing := uint64(0)
	gone := map[uint64]bool{}
	for _, l := range before {
		reported := slices.ContainsFunc(spans, func(s span) bool { return s.from <= l.Position.Seq && l.Position.Seq <= s.to })
		now, there := is[l.Position]
		switch {
		case there && now != l.Kind+string(l.Payload):
			t.Fatalf("record %v was %s and is %s", l.Position, l.Kind+string(l.Payload), now)
		case there && reported:
			t.Fatalf("record %v is reported as damaged, and is there", l.Position)
		case !there && !reported:
			t.Fatalf("record %v is missing, and nothing is reported", l.Position)
		case !there:
			missing++
			gone[l.Position.Seq] = true
		}
	}
	if missing == 0 {
		t.Fatal("nothing is missing: the test tests nothing")
	}
	batches, records := uint64(0), uint64(0)
	for _, s := range spans {
		batches, records = batches+s.to-s.from+1, records+s.records
	}
	if n := uint64(len(gone)); batches < n || batches > n+ticks || records < missing || records > missing+ticks {
		t.Errorf("%d batches with %d records are reported as damaged, %d with %d are missing", batches, records, len(gone), missing)
	}
	lines := w.Log("part of the log could not be read and is skipped")
	if len(lines) == 0 {
		t.Error("weir's log does not say that part of it is missing")
	}
	for _, l := range lines {
		t.Log(l)
	}
	return missing
}

func TestALogThatRetentionHasEmptiedGoesOn(t *testing.T) {
	w := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB, retention: {max_age: 1s}"})
	w.Start(t)
	process.Loaded(t, w.Load(t, "--count", "1000", "--connections", "2"), process.Patience)
	w.Settled(t)
	head := w.Audit(t).Partitions[0]
	w.Stop(t)
	// The server removes what has expired when it opens the log.
	process.Eventually(t, "the log is empty", func() error {
		a := w.Audit(t)
		if p := a.Partitions[0]; p.First <= p.Head {
			return fmt.Errorf("it holds batches %d to %d", p.First, p.Head)
		}
		return nil
	})
	w.Start(t)
	process.Loaded(t, w.Load(t, "--count", "1000", "--seq-start", "1000", "--connections", "2"), process.Patience)
	w.Settled(t)
	a := w.Audit(t)
	if p := a.Partitions[0]; p.Head <= head.Head || p.Records < head.Records+1000 {
		t.Errorf("the log went on at batch %d and record %d, after %d and %d", p.Head, p.Records, head.Head, head.Records)
	}
	for _, e := range a.Entries {
		if e.Lost != 0 {
			t.Errorf("%s has lost %d records that it had read", e.Consumer, e.Lost)
		}
	}
}
