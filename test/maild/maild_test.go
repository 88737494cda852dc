package maild

import "testing"

func TestAServerThatWasJustStartedStops(t *testing.T) {
	s := Start(t)
	for range 200 {
		s.Stop()
		s.Restart(t) // fails if it still listens
	}
}
