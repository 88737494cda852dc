// Package progress remembers what became of messages in calls of a sink that
// have not succeeded yet, so that the same batches, handed over again, cause
// only what they have not caused.
//
//	notes := progress.New(func() *note { return &note{} })
//	n := notes.Of(at)      // the same note until it is forgotten
//	notes.Forget(at)       // the call has succeeded
package progress
