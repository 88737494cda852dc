package app

import (
	"testing"
	"time"
)

func TestAFolderThatIsWrittenToAllTheTimeIsReadAllTheSame(t *testing.T) {
	s := settling{Timer: time.NewTimer(time.Hour)}
	stop := time.After(time.Minute)
	began := time.Now()
	every := time.NewTicker(settleTime / 10)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			s.changed(time.Now())
		case <-s.C:
			if took := time.Since(began); took < settleTime {
				t.Errorf("read after %v, want %v at least: the edit is under way", took, settleTime)
			}
			return
		case <-stop:
			t.Fatal("not read in a minute")
		}
	}
}
