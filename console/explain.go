package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"weir/rules/explain"
)

// Explain says why an alert fired or did not; see explain.Run.
type Explain func(ctx context.Context, r explain.Request) (*explain.Report, error)

var errExplaining = errors.New("another explanation is being made: weir makes one at a time; try again when it is done")

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	if s.deps.Explain == nil {
		s.notRunning(w)
		return
	}
	q := r.URL.Query()
	for name := range q {
		switch name {
		case "alert", "rule", "key", "at", "until":
		default:
			s.fail(w, http.StatusBadRequest, fmt.Errorf("unknown parameter %q: there are alert, or rule, key, at and until", name))
			return
		}
	}
	if !s.explaining.TryLock() {
		s.fail(w, http.StatusConflict, errExplaining)
		return
	}
	defer s.explaining.Unlock()
	report, err := s.deps.Explain(r.Context(), explain.Request{Alert: q.Get("alert"), Rule: q.Get("rule"), Key: q.Get("key"), At: q.Get("at"), Until: q.Get("until")})
	var input *explain.InputError
	s.answer(w, report, err, errors.As(err, &input))
}
