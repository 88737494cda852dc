package console

import (
	"crypto/rand"
	"encoding/hex"
)

// newID returns an id that nothing else has.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
