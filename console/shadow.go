package console

import (
	"context"
	"errors"
	"net/http"

	"weir/rules/backtest"
)

// Shadow compares shadow rules with those that they are to replace; see
// backtest.Shadow.
type Shadow func(ctx context.Context, r backtest.ShadowRequest) (*backtest.ShadowReport, error)

func (s *Server) shadow(w http.ResponseWriter, r *http.Request) {
	if s.deps.Shadow == nil {
		s.notRunning(w)
		return
	}
	limit, err := queryInt(r, "limit", backtest.DefaultLimit)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	report, err := s.deps.Shadow(r.Context(), backtest.ShadowRequest{Since: r.URL.Query().Get("since"), Limit: limit})
	var input *backtest.InputError
	s.answer(w, report, err, errors.As(err, &input))
}
