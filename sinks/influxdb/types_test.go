package influxdb

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"weir/ingest/event"
)

func TestWhatIsSavedStaysBelowTheBound(t *testing.T) {
	for name, pad := range map[string]string{"plain names": "field_", "names that JSON escapes": strings.Repeat("\x01<\xff\\", 20), "long names": strings.Repeat("x", 200)} {
		ty := newTypes(Default().MaxFields)
		for i := range 2 * Default().MaxFields {
			m := fmt.Sprintf("%sm%d", pad[:min(5, len(pad))], i%50)
			if f := ty.field(m, fmt.Sprintf("%s%d", pad, i)); f != nil {
				ty.learn(f, event.Uint)
				f.mark(disputed)
			}
		}
		b, _, err := ty.encode()
		if err != nil || len(b) > 1<<20 {
			t.Errorf("%s: %d bytes for %d fields, %v; want at most 1 MiB", name, len(b), ty.Len(), err)
		}
		if ty.Len() > Default().MaxFields || ty.Overflow() == 0 || name == "plain names" && ty.Len() != Default().MaxFields {
			t.Errorf("%s: learnt %d, overflow %d", name, ty.Len(), ty.Overflow())
		}
		again := newTypes(Default().MaxFields)
		if err := again.decode(b); err != nil || name == "plain names" && again.Len() != ty.Len() {
			t.Errorf("%s: read back %d of %d, %v", name, again.Len(), ty.Len(), err)
		}
	}
}

func TestTheFirstOfSeveralWritersDecidesAType(t *testing.T) {
	ty := newTypes(10)
	var wg sync.WaitGroup
	got := make([]event.Kind, 8)
	for i := range got {
		wg.Go(func() { got[i], _ = ty.learn(ty.field("m", "f"), event.Float+event.Kind(i%5)) })
	}
	wg.Wait()
	for _, k := range got {
		if k != ty.Lookup("m", "f") || k == event.Null {
			t.Fatalf("writers got the types %v, learnt is %v", got, ty.Lookup("m", "f"))
		}
	}
}

func TestAnOverriddenTypeIsDisputedOnlyIfItWasWritten(t *testing.T) {
	ty := newTypes(10)
	f := ty.field("m", "f")
	ty.learn(f, event.Float)
	ty.override("m", "f", event.String)
	if f.disputed() || f.load() != event.String {
		t.Errorf("a type that was never written: disputed %v, %v", f.disputed(), f.load())
	}
	f.mark(confirmed)
	ty.override("m", "f", event.String)
	if f.disputed() {
		t.Error("disputed by the type it has")
	}
	ty.override("m", "f", event.Float)
	if !f.disputed() || f.load() != event.Float {
		t.Errorf("a type that was written: disputed %v, %v", f.disputed(), f.load())
	}
}

func TestAForgottenTypeIsLearntAgain(t *testing.T) {
	ty := newTypes(10)
	f := ty.field("m", "f")
	ty.learn(f, event.Float)
	if !ty.Forget("m", "f") || ty.Forget("m", "f") || ty.Forget("m", "other") {
		t.Error("Forget reports the wrong thing")
	}
	f.mark(confirmed) // by a call that was under way
	if k, learnt := ty.learn(f, event.String); k != event.String || !learnt {
		t.Errorf("learnt %v, %v", k, learnt)
	}
}
