package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go/jetstream"
)

// big returns a state of some parts, and of a few bytes more.
func big(parts int, fillWith string) []byte {
	return bytes.Repeat([]byte(fillWith), (parts*statePart+9)/len(fillWith))
}

// objects returns the names of what is in the state store.
func objects(t *testing.T, l *running) string {
	t.Helper()
	infos, err := l.state.List(t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		t.Fatal(err)
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestALargeStateSwitchesSides(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	for i, tt := range []struct {
		state   []byte
		objects string
	}{
		{[]byte("small"), "c.0"},
		{big(2, "two"), "c.0 c.0.a.0 c.0.a.1 c.0.a.2"},
		{big(1, "one"), "c.0 c.0.b.0 c.0.b.1"},
		{bytes.Repeat([]byte("x"), statePart), "c.0 c.0.a.0"},
		{[]byte("small again"), "c.0"},
		{big(1, "more"), "c.0 c.0.a.0 c.0.a.1"},
	} {
		c := Cursor{Consumer: "c", Seq: uint64(i + 1)}
		if err := l.SaveStateFrom(t.Context(), c, iotest.HalfReader(bytes.NewReader(tt.state))); err != nil {
			t.Fatal(err)
		}
		got, state, err := l.LoadState(t.Context(), "c", 0)
		if err != nil || got.Seq != c.Seq || !bytes.Equal(state, tt.state) {
			t.Fatalf("state %d: loaded %+v with %d bytes, want %d bytes: %v", i, got, len(state), len(tt.state), err)
		}
		if have := objects(t, l); have != tt.objects {
			t.Errorf("state %d is in %s, want %s", i, have, tt.objects)
		}
	}
	if err := l.ForgetConsumer(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if have := objects(t, l); have != "" {
		t.Errorf("after the consumer was forgotten there is %s", have)
	}
}

func TestAStateThatIsNotSavedToItsEndLeavesTheOneBefore(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir()})
	want := big(2, "good")
	if err := l.SaveState(t.Context(), Cursor{Consumer: "c", Seq: 1}, want); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("given up")
	for _, after := range []int{0, 10, statePart, 3*statePart + 5} {
		err := l.SaveStateFrom(t.Context(), Cursor{Consumer: "c", Seq: 2}, io.MultiReader(bytes.NewReader(make([]byte, after)), iotest.ErrReader(gone)))
		if !errors.Is(err, gone) {
			t.Errorf("saving a state that ends after %d bytes gives %v, want %v", after, err, gone)
		}
		c, state, err := l.LoadState(t.Context(), "c", 0)
		if err != nil || c.Seq != 1 || !bytes.Equal(state, want) {
			t.Fatalf("after that %+v with %d bytes is there, and %v", c, len(state), err)
		}
	}
	if err := l.SaveState(t.Context(), Cursor{Consumer: "c", Seq: 3}, big(1, "next")); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveState(t.Context(), Cursor{Consumer: "c", Seq: 4}, big(1, "last")); err != nil {
		t.Fatal(err)
	}
	if have := objects(t, l); have != "c.0 c.0.a.0 c.0.a.1" {
		t.Errorf("what was given up is still there: %s", have)
	}
}

func TestALargeStateWithADamagedPartIsDamaged(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir()})
	for _, spoil := range []func() error{
		func() error { _, err := l.state.PutBytes(t.Context(), "c.0.a.1", []byte("other")); return err },
		func() error { return l.state.Delete(t.Context(), "c.0.a.2") },
	} {
		if err := l.ForgetConsumer(t.Context(), "c", 0); err != nil && !errors.Is(err, ErrNoCursor) {
			t.Fatal(err)
		}
		if err := l.SaveState(t.Context(), Cursor{Consumer: "c", Seq: 1}, big(2, "good")); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.LoadState(t.Context(), "c", 0); !errors.Is(err, ErrDamagedState) {
			t.Errorf("a damaged part gives %v, want %v", err, ErrDamagedState)
		}
	}
}

func BenchmarkSaveState(b *testing.B) {
	const size = 64 << 20
	l := open(b, Config{Dir: b.TempDir()})
	state := make([]byte, size)
	for i := range state {
		state[i] = byte(i * i >> 3)
	}
	for _, op := range []string{"save", "load"} {
		b.Run(fmt.Sprintf("%s/MiB=%d", op, size>>20), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				var err error
				if op == "save" {
					err = l.SaveState(b.Context(), Cursor{Consumer: "c"}, state)
				} else {
					_, _, err = l.LoadState(b.Context(), "c", 0)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
