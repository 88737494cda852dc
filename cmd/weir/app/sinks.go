package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/consume"
	"weir/ingest/eventlog"
	"weir/sinks/alertmanager"
	"weir/sinks/email"
	"weir/sinks/influxdb"
	"weir/sinks/mqtt"
	"weir/sinks/webhook"
)

// sink is a configured sink and what the app needs of it.
type sink struct {
	cfg     *configs.Sink
	handler consume.Handler
	each    func(partition int) consume.Handler // instead of handler: one for each partition, as they have a state
	open    func(context.Context, *App) error
	close   func() error
	tell    func(count func(what string, n *atomic.Uint64))
	metrics bool // it takes weir's own metrics
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
	case c.Alertmanager != nil:
		return a.newAlertmanager(c)
	case c.Email != nil:
		return a.newEmail(c)
	}
	return newMQTT(c)
}

// of returns what consumes a partition for the sink.
func (s *sink) of(partition int) consume.Handler {
	if s.each != nil {
		return s.each(partition)
	}
	return s.handler
}

// telling counts what sinks that tell of alerts have in common.
func telling(delivered, requests, outages, rejected *atomic.Uint64) func(func(string, *atomic.Uint64)) {
	return func(count func(string, *atomic.Uint64)) {
		count("delivered", delivered)
		count("requests", requests)
		count("outages", outages)
		count("rejected", rejected)
	}
}

func noOpen(context.Context, *App) error { return nil }

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
	tell := func(count func(string, *atomic.Uint64)) {
		m := s.Metrics()
		count("lines", &m.Lines)
		count("requests", &m.Requests)
		count("outages", &m.Outages)
		count("rejected", &m.Rejected)
		count("coerced", &m.Coerced)
	}
	return sink{cfg: c, handler: s, open: open, close: s.Close, tell: tell, metrics: i.Metrics}, nil
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
	cfg.Headers = headersOf(w.Headers)
	s, err := webhook.New(cfg)
	if err != nil {
		return sink{}, err
	}
	n := s.Metrics()
	return sink{cfg: c, handler: s, open: noOpen, close: s.Close, tell: telling(&n.Delivered, &n.Requests, &n.Outages, &n.Dead)}, nil
}

func headersOf(h map[string]configs.Secret) map[string]string {
	if len(h) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range h {
		out[k] = v.Reveal()
	}
	return out
}

func (a *App) newAlertmanager(c *configs.Sink) (sink, error) {
	m := c.Alertmanager
	cfg := alertmanager.Default()
	cfg.Name, cfg.URLs, cfg.Headers = c.Name.Value, m.URLs(), headersOf(m.Headers)
	cfg.Username, cfg.Password, cfg.Token = m.Username.Value, m.Password.Reveal(), m.Token.Reveal()
	cfg.Timeout, cfg.All, cfg.Resend, cfg.GeneratorURL = m.Timeout, m.All, m.Resend, m.GeneratorURL.Value
	var err error
	if cfg.TLS, err = a.trust(m.CA.Value); err != nil {
		return sink{}, err
	}
	s, err := alertmanager.New(cfg, alertmanager.Deps{Log: a.log})
	if err != nil {
		return sink{}, err
	}
	each := func(partition int) consume.Handler { return alerting{s.Partition(partition)} }
	n := s.Metrics()
	return sink{cfg: c, each: each, open: noOpen, close: s.Close, tell: telling(&n.Sent, &n.Requests, &n.Outages, &n.Dead)}, nil
}

// alerting tells a partition of an Alertmanager sink where it goes on.
type alerting struct{ *alertmanager.Partition }

// Start implements consume.Starter.
func (p alerting) Start(_ context.Context, c eventlog.Cursor) error {
	p.Resume(c.Seq)
	return nil
}

func (a *App) newEmail(c *configs.Sink) (sink, error) {
	m := c.Email
	cfg := email.Default()
	cfg.Name, cfg.URL, cfg.StartTLS = c.Name.Value, m.URL.Reveal(), m.StartTLS.Value
	cfg.Username, cfg.Password = m.Username.Value, m.Password.Reveal()
	cfg.From, cfg.To, cfg.Subject, cfg.Body = m.From.Value, m.To.Values(), m.Subject.Value, m.Body.Value
	cfg.Hello, cfg.On, cfg.All = m.Hello.Value, m.On.Values(), m.All
	cfg.Timeout, cfg.MaxAttempts = m.Timeout, m.MaxAttempts
	var err error
	if cfg.TLS, err = a.trust(m.CA.Value); err != nil {
		return sink{}, err
	}
	s, err := email.New(cfg)
	if err != nil {
		return sink{}, err
	}
	n := s.Metrics()
	return sink{cfg: c, handler: s, open: noOpen, close: s.Close, tell: telling(&n.Delivered, &n.Sessions, &n.Outages, &n.Dead)}, nil
}

// trust returns what trusts the servers whose certificates a CA has signed; nil,
// which is the system's, if there is no file.
func (a *App) trust(ca string) (*tls.Config, error) {
	if ca == "" {
		return nil, nil
	}
	name := a.cfg.Path(ca)
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("ca: %w; names are relative to the folder of the config", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: no certificate in PEM form in %s", name)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
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
	n := s.Metrics()
	return sink{cfg: c, handler: s, open: noOpen, close: s.Close, tell: telling(&n.Published, &n.Connects, &n.Outages, &n.Dead)}, nil
}
