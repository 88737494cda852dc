package consume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/ingest/eventlog"
)

// Incremental is a Stateful whose state is too large to be written between two
// batches. Its snapshots are taken piece by piece while it goes on handling.
type Incremental interface {
	Stateful
	// BeginSnapshot begins a snapshot of the state as it is now, and gives up
	// one that was begun before.
	BeginSnapshot() error
	// NextSnapshot appends the next piece to b, of about size bytes, and reports
	// whether it was the last. After an error the snapshot is given up.
	NextSnapshot(b []byte, size int) (_ []byte, done bool, err error)
}

const (
	pieceSize = 128 << 10            // bytes
	slice     = 5 * time.Millisecond // for which handling waits at a time
	// saveShare is the part of the time for which a consumer is at most busy
	// saving its state, as 1/saveShare.
	saveShare = 20
	// saveWait is how long a consumer that stops may take to save its state.
	saveWait = 20 * time.Second
)

// saving is a snapshot on its way to the log. Pieces go to a goroutine, which
// ends when the state is saved or the snapshot is given up.
type saving struct {
	cursor eventlog.Cursor // at its begin
	began  time.Time
	piece  []byte // that the goroutine has not taken yet
	last   bool   // piece is the last

	pieces chan []byte
	free   chan []byte
	done   chan error
	stop   context.CancelCauseFunc
}

var errGivenUp = errors.New("the snapshot was given up")

// beginSaving fixes the state and the cursor that it belongs to.
func (r *Runner) beginSaving(ctx context.Context) error {
	if err := r.sync(ctx); err != nil {
		return err
	}
	if err := r.incremental.BeginSnapshot(); err != nil {
		return fmt.Errorf("begin a snapshot: %w", err)
	}
	c := r.cursor
	c.Saved = time.Now().UTC()
	sctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	s := &saving{
		cursor: c, began: time.Now(), stop: stop,
		pieces: make(chan []byte, 4), free: make(chan []byte, 6), done: make(chan error, 1),
	}
	r.saving, r.dirty = s, false
	go func() { // waited for by endSaving, which all paths out of Run come through
		s.done <- r.cfg.Log.SaveStateFrom(sctx, s.cursor, &pieceReader{ctx: sctx, s: s})
	}()
	return nil
}

// pieceReader reads the pieces until they end, or the snapshot is given up.
type pieceReader struct {
	ctx  context.Context
	s    *saving
	cur  []byte
	left []byte
}

// Read implements io.Reader.
func (p *pieceReader) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		if p.cur != nil {
			select {
			case p.s.free <- p.cur[:0]:
			default:
			}
			p.cur = nil
		}
		select {
		case piece, ok := <-p.s.pieces:
			if !ok {
				return 0, io.EOF
			}
			p.cur, p.left = piece, piece
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// continueSaving takes the next pieces of a snapshot, for the time of a slice at
// most, and reports whether there is more to do at once.
func (r *Runner) continueSaving() bool {
	s := r.saving
	if s == nil {
		return false
	}
	select {
	case err := <-s.done:
		r.saving = nil
		s.stop(errGivenUp)
		r.savedState(s, err)
		return false
	default:
	}
	for begin := time.Now(); time.Since(begin) < slice; {
		if s.piece == nil {
			if s.last { // all is with the goroutine
				return false
			}
			var b []byte
			select {
			case b = <-s.free:
			default:
				b = make([]byte, 0, pieceSize+pieceSize/4)
			}
			var err error
			if s.piece, s.last, err = r.incremental.NextSnapshot(b, pieceSize); err != nil {
				r.giveUpSaving(err)
				r.saved = time.Time{} // the next one is begun at once, and if that fails it is said
				return false
			}
		}
		select {
		case s.pieces <- s.piece:
			if s.piece = nil; s.last {
				close(s.pieces)
			}
		default: // the log is slower
			return false
		}
	}
	return true
}

// savedState books the end of a snapshot.
func (r *Runner) savedState(s *saving, err error) {
	if err != nil {
		r.dirty = true
		r.notSaved(err)
		return
	}
	r.cursor.Saved = s.cursor.Saved
	took := time.Since(s.began)
	r.every = max(r.cfg.SaveEvery, saveShare*took)
	r.saved = time.Now()
	r.savedAgain()
}

// giveUpSaving ends a snapshot that is not complete. The one before stays.
func (r *Runner) giveUpSaving(cause error) {
	s := r.saving
	if s == nil {
		return
	}
	s.stop(cause)
	err := <-s.done
	r.saving = nil
	if err == nil { // it was complete after all
		r.savedState(s, nil)
		return
	}
	r.dirty = true
}

// saveWhole saves the state with the cursor as they are now, in one go.
func (r *Runner) saveWhole(ctx context.Context) error {
	r.giveUpSaving(errGivenUp)
	if err := r.beginSaving(ctx); err != nil {
		return err
	}
	s := r.saving
	defer context.AfterFunc(ctx, func() { s.stop(context.Cause(ctx)) })()
	for r.saving != nil {
		if r.continueSaving() {
			continue
		}
		if r.saving == nil {
			break
		}
		select {
		case err := <-s.done:
			s.done <- err // for continueSaving
		case <-time.After(time.Millisecond):
		}
	}
	if r.dirty {
		return fmt.Errorf("save the state: %w", errGivenUp)
	}
	return nil
}
