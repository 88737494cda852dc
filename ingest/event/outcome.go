package event

import (
	"fmt"
	"time"
)

// Outcome says what a consumer did with the messages of the batches it was
// given. What is neither Filtered nor Dead was delivered, so the books balance
// by construction: received = delivered + filtered + dead-lettered + pending.
type Outcome struct {
	Filtered int    // messages that are not for this consumer
	Dead     []Dead // messages that this consumer can never deliver
}

// Dead is a message that goes to the dead letters.
type Dead struct {
	Batch   int // index into the batches handed over
	Message uint32
	Err     error // the cause, in words an operator can act on
}

// RetryError says "later, the same batches again": an outage of the far side,
// not a fault of a message. It is retried for ever, with backoff.
type RetryError struct {
	After time.Duration // how long the far side asked us to wait; 0 if it did not say
	Err   error
}

func (e *RetryError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("%v (retry after %v)", e.Err, e.After)
	}
	return e.Err.Error()
}

func (e *RetryError) Unwrap() error { return e.Err }

// MessageError says that one message failed in a way that may be its own
// fault: the batches are tried again a bounded number of times, after that
// this message is dead-lettered and the rest go on.
type MessageError struct {
	Batch   int // index into the batches handed over
	Message uint32
	Err     error
}

func (e *MessageError) Error() string { return fmt.Sprintf("message %d: %v", e.Message, e.Err) }

func (e *MessageError) Unwrap() error { return e.Err }
