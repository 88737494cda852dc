package app

import (
	"context"

	"weir/configs"
	"weir/ingest/consume"
	"weir/ingest/event"
)

func (a *App) newMQTT(*configs.Sink) (sink, error) { return sink{}, nil }

type nothing struct{}

func (nothing) Handle(context.Context, []*event.Batch) (event.Outcome, error) {
	return event.Outcome{}, nil
}

func (a *App) newActions() consume.Handler { return nothing{} }

func (a *App) writeMetrics(ctx context.Context) error { <-ctx.Done(); return nil }
