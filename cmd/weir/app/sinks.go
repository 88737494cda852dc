package app

import (
	"context"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/consume"
	"weir/ingest/eventlog"
	"weir/sinks/influxdb"
	"weir/sinks/mqtt"
	"weir/sinks/webhook"
)

// sink is a configured sink and what the app needs of it.
type sink struct {
	cfg     *configs.Sink
	handler consume.Handler
	open    func(context.Context, *App) error
	close   func() error
	influx  *influxdb.Sink // if it is one
	metrics bool           // it takes weir's own metrics
}

// newSinks makes the sinks of the config. They do nothing yet.
func (a *App) newSinks() ([]sink, error) {
	var out []sink
	var bad strict.Errors
	for i := range a.cfg.Sinks {
		c := &a.cfg.Sinks[i]
		s, err := a.newSink(c)
		if err != nil {
			bad.Addf(a.cfg.File, c.Pos, "", "sink %q: %v", c.Name.Value, err)
			continue
		}
		out = append(out, s)
	}
	return out, bad.Err()
}

func (a *App) newSink(c *configs.Sink) (sink, error) {
	switch {
	case c.InfluxDB != nil:
		return a.newInflux(c)
	case c.Webhook != nil:
		return newWebhook(c)
	}
	return newMQTT(c)
}

func (a *App) newInflux(c *configs.Sink) (sink, error) {
	i := c.InfluxDB
	cfg := influxdb.Default()
	cfg.URL, cfg.Org, cfg.Bucket, cfg.Token = i.URL.Reveal(), i.Org.Value, i.Bucket.Value, i.Token.Reveal()
	cfg.Database, cfg.RetentionPolicy = i.Database.Value, i.RetentionPolicy.Value
	cfg.Username, cfg.Password = i.Username.Value, i.Password.Reveal()
	cfg.Precision, cfg.Gzip, cfg.Timeout = i.Precision.Value, i.Gzip, i.Timeout
	cfg.MaxLines, cfg.MaxBytes, cfg.MaxFields = i.Batch, int(i.MaxBytes), i.MaxFields
	cfg.Include, cfg.Exclude, cfg.Alerts = i.Measurements.Include.Values(), i.Measurements.Exclude.Values(), i.Alerts
	types := &typeStore{name: c.Name.Value}
	s, err := influxdb.New(cfg, influxdb.Deps{Store: types, Log: a.log.With("sink", c.Name.Value)})
	if err != nil {
		return sink{}, err
	}
	open := func(ctx context.Context, a *App) error {
		store, err := a.events.Store(ctx, "types")
		if err != nil {
			return err
		}
		types.store = store
		return s.Open(ctx)
	}
	return sink{cfg: c, handler: s, open: open, close: s.Close, influx: s, metrics: i.Metrics}, nil
}

// typeStore keeps the field types that a sink has learnt in the log's store.
type typeStore struct {
	name  string
	store *eventlog.Store
}

func (t *typeStore) Load(ctx context.Context) ([]byte, error) { return t.store.Get(ctx, t.name) }

func (t *typeStore) Save(ctx context.Context, types []byte) error {
	return t.store.Save(ctx, t.name, types)
}

func newWebhook(c *configs.Sink) (sink, error) {
	w := c.Webhook
	cfg := webhook.Default()
	cfg.Name, cfg.URL, cfg.Method, cfg.Secret = c.Name.Value, w.URL.Reveal(), w.Method.Value, w.Secret.Reveal()
	cfg.Timeout, cfg.On, cfg.MaxAttempts = w.Timeout, w.On.Values(), w.MaxAttempts
	cfg.All, cfg.Concurrency, cfg.Source = w.All, w.Concurrency, w.Source.Value
	if len(w.Headers) > 0 {
		cfg.Headers = map[string]string{}
		for k, v := range w.Headers {
			cfg.Headers[k] = v.Reveal()
		}
	}
	s, err := webhook.New(cfg)
	if err != nil {
		return sink{}, err
	}
	return sink{cfg: c, handler: s, open: func(context.Context, *App) error { return nil }, close: s.Close}, nil
}

func newMQTT(c *configs.Sink) (sink, error) {
	m := c.MQTT
	cfg := mqtt.Default()
	cfg.Name, cfg.URL, cfg.Username, cfg.Password = c.Name.Value, m.URL.Reveal(), m.Username.Value, m.Password.Reveal()
	cfg.ClientID, cfg.QoS, cfg.Retain, cfg.Timeout = m.ClientID.Value, byte(m.QoS), m.Retain, m.Timeout
	cfg.Events = m.Events.Value != configs.EventsAlerts
	cfg.Alerts, cfg.AllAlerts = true, m.Events.Value != configs.EventsTelemetry
	if t := m.AlertTopic.Value; t != "" {
		cfg.AlertTopic = t
	}
	if t := m.EventTopic.Value; t != "" {
		cfg.EventTopic = t
	}
	s, err := mqtt.New(cfg)
	if err != nil {
		return sink{}, err
	}
	return sink{cfg: c, handler: s, open: func(context.Context, *App) error { return nil }, close: s.Close}, nil
}
