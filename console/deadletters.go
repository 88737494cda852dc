package console

import (
	"context"
	"encoding/json"
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
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	n := 0
	err = s.deps.Log.EachDead(r.Context(), r.URL.Query().Get("consumer"), func(d eventlog.DeadLetter) bool {
		n++
		return enc.Encode(d) == nil && (limit == 0 || n < limit)
	})
	if err != nil {
		enc.Encode(map[string]string{"error": err.Error()})
	}
}

func (s *Server) deadError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, eventlog.ErrNoDeadLetter) {
		status = http.StatusNotFound
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
	s.reply(w, map[string]string{"dropped": r.PathValue("id")})
}

func (s *Server) replayDead(w http.ResponseWriter, r *http.Request) {
	if s.deps.Runners == nil {
		s.notRunning(w)
		return
	}
	d, err := s.deps.Log.Dead(r.Context(), r.PathValue("id"))
	if err == nil {
		err = s.redeliver(r.Context(), d)
	}
	if err == nil {
		err = s.deps.Log.DropDead(r.Context(), d.ID)
	}
	if err != nil {
		s.deadError(w, err)
		return
	}
	s.reply(w, map[string]string{"replayed": d.ID})
}

// redeliver gives a dead letter to its consumer again. It stays a dead letter
// until that has worked.
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
		if run.Name() == d.Consumer && run.Partition() == int(d.Position.Partition) {
			return run.Redeliver(ctx, d.Position, m, s.deps.Decode)
		}
	}
	return fmt.Errorf("replay %s: no consumer %s runs: add it to the config again, or drop the dead letter", d.ID, d.Consumer)
}
