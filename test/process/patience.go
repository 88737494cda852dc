package process

import (
	"testing"
	"time"
)

// Patience is how long anything may take before a test gives up on it. It
// decides nothing but how long a broken build hangs.
const Patience = 60 * time.Second

// Eventually polls until f says that it is so. It fails the test, with what f
// says last, when that takes longer than Patience.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	EventuallyWithin(t, Patience, what, f)
}

// EventuallyWithin is Eventually with another patience.
func EventuallyWithin(t testing.TB, patience time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %v: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
