package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// DecodeConsumer is the consumer whose dead letters are messages that no
// source could decode. Replaying one puts the message into the log again.
const DecodeConsumer = "decode"

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	limit, err := queryInt(r, "limit", 0)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	out := s.newStream(w)
	consumer := r.URL.Query().Get("consumer")
	err = s.deps.Log.EachDead(r.Context(), consumer, func(d eventlog.DeadLetter) bool {
		return out.line(d) == nil && (limit == 0 || out.n < limit)
	})
	if err == nil && out.n == 0 { // one that is not in the config any more may have some
		if err := s.checkConsumer(consumer); err != nil {
			s.fail(w, http.StatusBadRequest, err)
			return
		}
	}
	out.end(err)
}

func (s *Server) deadError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, eventlog.ErrNoDeadLetter):
		status = http.StatusNotFound
	case errors.Is(err, errNotRunning), errors.Is(err, errAway):
		status = http.StatusServiceUnavailable
	}
	s.fail(w, status, err)
}

func (s *Server) showDead(w http.ResponseWriter, r *http.Request) {
	d, err := s.deps.Log.Dead(r.Context(), r.PathValue("id"))
	if err != nil {
		s.deadError(w, err)
		return
	}
	s.reply(w, d)
}

func (s *Server) dropDead(w http.ResponseWriter, r *http.Request) {
	if err := s.deps.Log.DropDead(r.Context(), r.PathValue("id")); err != nil {
		s.deadError(w, err)
		return
	}
	s.reply(w, DeadDone{ID: r.PathValue("id"), Done: true})
}

func (s *Server) replayDead(w http.ResponseWriter, r *http.Request) {
	if err := s.replayOne(r.Context(), r.PathValue("id")); err != nil {
		s.deadError(w, err)
		return
	}
	s.reply(w, DeadDone{ID: r.PathValue("id"), Done: true})
}

// DeadDone says what became of one dead letter that was to be replayed or dropped.
type DeadDone struct {
	ID    string `json:"id"`
	Done  bool   `json:"done"`            // it is a dead letter no more
	Error string `json:"error,omitempty"` // why not
}

func (s *Server) replayManyDead(w http.ResponseWriter, r *http.Request) {
	if s.deps.Runners == nil {
		s.notRunning(w)
		return
	}
	s.manyDead(w, r, s.replayOne)
}

func (s *Server) dropManyDead(w http.ResponseWriter, r *http.Request) {
	s.manyDead(w, r, s.deps.Log.DropDead)
}

// manyDead does something to the dead letters that a request names, one after
// the other, and answers with a DeadDone for each as it goes. It stops where
// going on would only fail in the same way.
func (s *Server) manyDead(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, id string) error) {
	q := r.URL.Query()
	all, err := queryBool(r, "all")
	if err == nil && all == (len(q["id"]) > 0) {
		err = errors.New("say which dead letters: id=... once or more, or all=true, with consumer=... for those of one consumer")
	}
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	ids := q["id"]
	out := s.newStream(w)
	if all {
		// Those of now: what is put aside again meanwhile has another id.
		if err := s.deps.Log.EachDead(r.Context(), q.Get("consumer"), func(d eventlog.DeadLetter) bool {
			ids = append(ids, d.ID)
			return true
		}); err != nil {
			out.end(err)
			return
		}
		if len(ids) == 0 {
			if err := s.checkConsumer(q.Get("consumer")); err != nil {
				s.fail(w, http.StatusBadRequest, err)
				return
			}
		}
	}
	for i, id := range ids {
		d := DeadDone{ID: id, Done: true}
		if err := do(r.Context(), id); err != nil {
			d.Done, d.Error = false, err.Error()
			if errors.Is(err, errAway) {
				out.end(fmt.Errorf("%d of %d were not tried: %w", len(ids)-i, len(ids), err))
				return
			}
		}
		if r.Context().Err() != nil || out.line(d) != nil {
			return
		}
		out.flush()
	}
}

// errAway is wrapped by the error of a replay that failed for no fault of the message.
var errAway = errors.New("replay when that works again")

// replayOne gives a dead letter to its consumer again. It stays a dead letter
// until that has worked.
func (s *Server) replayOne(ctx context.Context, id string) error {
	if s.deps.Runners == nil {
		return errNotRunning
	}
	d, err := s.deps.Log.Dead(ctx, id)
	if err != nil {
		return err
	}
	if err := s.redeliver(ctx, d); err != nil {
		return err
	}
	return s.deps.Log.DropDead(ctx, d.ID)
}

func (s *Server) redeliver(ctx context.Context, d eventlog.DeadLetter) error {
	m := d.Message()
	if d.Consumer == DecodeConsumer {
		b := event.NewBatch(nil)
		b.Messages = append(b.Messages, m)
		s.deps.Decode(b)
		for _, rej := range b.Rejects {
			return fmt.Errorf("replay %s: it still can't be decoded: %w", d.ID, rej.Err)
		}
		return s.deps.Reinsert(ctx, &m)
	}
	for _, run := range s.deps.Runners() {
		if run.Name() != d.Consumer || run.Partition() != int(d.Position.Partition) {
			continue
		}
		if st := run.Status(); st.State == "retrying" {
			return fmt.Errorf("replay %s: consumer %s has trouble itself (%s): %w", d.ID, d.Consumer, st.Error, errAway)
		}
		err := run.Redeliver(ctx, d.Position, m, s.deps.Decode)
		var away *event.RetryError
		if errors.As(err, &away) {
			return fmt.Errorf("%w: %w", err, errAway)
		}
		return err
	}
	return fmt.Errorf("replay %s: no consumer %s runs: add it to the config again, or drop the dead letter", d.ID, d.Consumer)
}
