package app

import (
	"errors"
	"sync"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/decode"
	"weir/ingest/event"
)

// Sources compiles the sources of a config. Errors say where in the file.
func Sources(cfg *configs.Config) (*decode.Set, error) {
	list := make([]decode.Source, 0, len(cfg.Sources))
	for i := range cfg.Sources {
		list = append(list, source(&cfg.Sources[i]))
	}
	set, err := decode.Compile(list)
	if err != nil {
		return nil, located(cfg, err)
	}
	return set, nil
}

func source(s *configs.Source) decode.Source {
	out := decode.Source{
		Name: s.Name.Value, Topic: s.Topic.Value, Format: s.Format.Value, Measurement: s.Measurement.Value,
		Tags: s.Tags.Values(), Field: s.Field.Value, Root: s.Root.Values(), Include: s.Include.Values(),
		Exclude: s.Exclude.Values(), Ignore: s.Ignore.Values(), Numbers: s.Numbers.Values(), Words: s.Words,
		Time: decode.TimeSpec{Fields: s.Time.Field.Values(), Unit: s.Time.Unit.Value, Zone: s.Time.Zone.Value,
			Earliest: s.Time.Earliest.Time, MaxAhead: s.Time.MaxAhead},
	}
	if out.Format == decode.LineProtocol && s.Precision.Value != "" {
		out.Time.Unit = s.Precision.Value
	}
	for _, d := range s.Device {
		out.Device = append(out.Device, decode.DeviceRef{Text: d.Text.Value, Field: d.Field.Value, Format: d.Format.Value})
	}
	if len(s.Rename) > 0 {
		out.Rename = map[string]string{}
		for from, to := range s.Rename {
			out.Rename[from] = to.Value
		}
	}
	texts := func(m map[string]configs.Texts) map[string][]string {
		if len(m) == 0 {
			return nil
		}
		out := map[string][]string{}
		for k, v := range m {
			out[k] = v.Values()
		}
		return out
	}
	out.When, out.NoValue = texts(s.When), texts(s.NoValue)
	return out
}

// located turns the errors of sources into errors that name file, line and column.
func located(cfg *configs.Config, err error) error {
	list := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		list = joined.Unwrap()
	}
	var out strict.Errors
	for _, err := range list {
		var se *decode.SourceError
		if !errors.As(err, &se) || se.Index < 0 || se.Index >= len(cfg.Sources) {
			out = append(out, &strict.Error{File: cfg.File, Msg: err.Error()})
			continue
		}
		out = append(out, &strict.Error{File: cfg.File, Pos: cfg.Sources[se.Index].At(se.Key), Msg: se.Error(), Hint: se.Hint})
	}
	return out
}

// decoding lends decoders, each of which serves one goroutine at a time, to
// the readers of the log.
type decoding struct {
	set  *decode.Set
	pool sync.Pool
}

func newDecoding(set *decode.Set) *decoding {
	d := &decoding{set: set}
	d.pool.New = func() any { return set.NewDecoder() }
	return d
}

func (d *decoding) decode(b *event.Batch) {
	dec := d.pool.Get().(*decode.Decoder)
	dec.Decode(b)
	d.pool.Put(dec)
}
