package progress_test

import (
	"sync"
	"testing"

	"weir/ingest/event"
	"weir/sinks/progress"
)

type note struct{ attempts int }

func TestANoteStaysUntilItIsForgotten(t *testing.T) {
	notes := progress.New(func() *note { return &note{attempts: 1} })
	a, b := event.Position{Seq: 7, Message: 1}, event.Position{Partition: 1, Seq: 7, Message: 1}
	notes.Of(a).attempts++
	if got := notes.Of(a).attempts; got != 2 {
		t.Errorf("attempts = %d, want 2", got)
	}
	if got := notes.Of(b).attempts; got != 1 {
		t.Errorf("attempts of the other partition's = %d, want 1", got)
	}
	notes.Forget(a)
	if got := notes.Of(a).attempts; got != 1 {
		t.Errorf("attempts once forgotten = %d, want 1", got)
	}
}

func TestCallsThatAreGivenUpDoNotFillTheMemory(t *testing.T) {
	notes := progress.New(func() *note { return &note{} })
	for seq := range uint64(250_000) {
		notes.Of(event.Position{Seq: seq})
	}
	if n := notes.Len(); n > 100_000 {
		t.Errorf("%d notes are kept", n)
	}
}

func TestPartitionsUseNotesAtOnce(t *testing.T) {
	notes := progress.New(func() *note { return &note{} })
	var wg sync.WaitGroup
	for p := range uint16(4) {
		wg.Go(func() { // ends after its messages
			for seq := range uint64(200) {
				at := event.Position{Partition: p, Seq: seq}
				notes.Of(at).attempts++
				if seq%2 == 0 {
					notes.Forget(at)
				}
			}
		})
	}
	wg.Wait()
	if n := notes.Len(); n != 400 {
		t.Errorf("%d notes are left, want 400", n)
	}
}
