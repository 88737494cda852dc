package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"weir/test/process"
)

// Beside the log there is what is derived from it, and could be derived again.
func TestDamageBesideTheLogStopsNothing(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (again: WEIR_SEED=%d)", seed, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	good := startLines(t)
	setup := process.Setup{Log: "partitions: 2, min_free: 64MiB", Rules: map[string]string{"cold.yaml": warmRules}, Sinks: influxSink("good", good.URL)}
	w := process.New(t, setup)
	w.Start(t)
	const count = 20_000
	process.Loaded(t, w.Load(t, "--count", fmt.Sprint(count), "--connections", "10"), process.Patience)
	w.Settled(t)
	w.Stop(t)
	before := len(w.Events(t))
	for i, store := range []string{"KV_weir_cursors", "OBJ_weir_state", "KV_weir_meta", "KV_weir_types", "KV_weir_mqtt"} {
		for j, damage := range []func(name string) error{
			os.Remove,
			func(name string) error { return os.Truncate(name, size(t, name)/2) },
			func(name string) error { flip(t, name, rnd.Float64()); return nil },
		} {
			t.Run(fmt.Sprintf("%s/%s", store, []string{"gone", "cut short", "flipped"}[j]), func(t *testing.T) {
				copied := setup
				copied.Dir = filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(copied.Dir, os.DirFS(w.Data)); err != nil {
					t.Fatal(err)
				}
				files, err := filepath.Glob(filepath.Join(copied.Dir, "log", "jetstream", "$G", "streams", store, "msgs", "*.blk"))
				if err != nil || len(files) == 0 {
					t.Fatalf("store %s has no files (%v)", store, err)
				}
				f := files[len(files)-1]
				if size(t, f) == 0 {
					t.Skip("the store is empty")
				}
				if err := damage(f); err != nil {
					t.Fatal(err)
				}
				w := process.New(t, copied)
				w.Start(t)
				process.Loaded(t, w.Load(t, "--count", "500", "--connections", "10", "--seq-start", fmt.Sprint(1_000_000*(3*i+j+1))), process.Patience)
				w.Settled(t)
				w.Audit(t)
				seen := map[string]bool{}
				lines := w.Events(t)
				for _, a := range process.AlertFacts(t, lines) {
					if seen[a.ID+a.State] {
						t.Errorf("alert %s of %s is %s twice", a.ID, a.Key, a.State)
					}
					seen[a.ID+a.State] = true
				}
				if len(lines) < before+500 {
					t.Errorf("the log holds %d records, want %d at least", len(lines), before+500)
				}
			})
		}
	}
	if n := good.with("telemetry,"); n < count {
		t.Errorf("the sink has %d points, want %d at least", n, count)
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
