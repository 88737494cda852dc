package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"weir/configs/strict"
	"weir/rules/backtest"
)

// Backtest runs a backtest; see backtest.Run.
type Backtest func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error)

// BacktestLine is a line of the answer to a backtest: one of them is set. The
// last line has the report, or an error and nothing else.
type BacktestLine struct {
	Progress *backtest.Progress `json:"progress,omitempty"`
	Report   *backtest.Report   `json:"report,omitempty"`
}

// MaxBacktest bounds the body of a request for a backtest, in bytes. It has the
// tables of devices as text: three attributes of a million devices take about
// half of it.
const MaxBacktest = 64 << 20

var (
	errBacktesting = errors.New("another backtest is running: weir runs one at a time; try again when it is done")
	errStoppedTest = errors.New("the backtest was stopped: weir is stopping")
)

func (s *Server) backtest(w http.ResponseWriter, r *http.Request) {
	if s.deps.Backtest == nil {
		s.notRunning(w)
		return
	}
	if !s.testing.TryLock() {
		s.fail(w, http.StatusConflict, errBacktesting)
		return
	}
	defer s.testing.Unlock()
	req := backtest.Request{Limit: backtest.DefaultLimit}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBacktest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			s.fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the rules and their tables of devices are larger than %d bytes", big.Limit))
			return
		}
		s.fail(w, http.StatusBadRequest, fmt.Errorf("the request is not as it should be, see operations.md: %w", err))
		return
	}
	out := s.newStream(w)
	report, err := s.deps.Backtest(r.Context(), req, func(p backtest.Progress) {
		_ = out.line(BacktestLine{Progress: &p}) // if the client went away, the context says so
		out.flush()
	})
	switch {
	case err == nil:
		_ = out.line(BacktestLine{Report: report}) // the same
	case r.Context().Err() != nil:
		out.end(errStoppedTest) // or nobody reads it
	default:
		s.failBacktest(out, err)
	}
}

// failBacktest says what was wrong. Progress may have been told already.
func (s *Server) failBacktest(out *stream, err error) {
	var input *backtest.InputError
	var list strict.Errors
	if out.n > 0 || !errors.As(err, &input) && !errors.As(err, &list) {
		out.end(err)
		return
	}
	s.fail(out.w, http.StatusBadRequest, err)
}
