package firmware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"weir/firmware-sim/queue"
)

// Device is one device. Open boots it, Run runs it.
type Device struct {
	cfg     Config
	log     *slog.Logger
	sensors *sensors
	flash   *flash

	appended  chan struct{} // capacity 1: the queue has something new
	rescaled  chan struct{} // capacity 1: the interval has changed
	mu        sync.Mutex    // guards what follows
	queue     *queue.Queue
	clock     clock
	state     state
	answers   answers
	delivered uint64
}

// Stats is what a device has done since it booted.
type Stats struct {
	Boot      uint64 // which boot this is, from 1
	Queued    uint64 // messages that wait
	Delivered uint64 // messages acknowledged
	Dropped   uint64 // messages given up since the data directory was made
}

// New makes a device that is off.
func New(cfg Config) *Device {
	d := &Device{cfg: cfg, log: cfg.Log, appended: make(chan struct{}, 1), rescaled: make(chan struct{}, 1)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.log = d.log.With("device", cfg.Device)
	return d
}

// Open boots the device: it reads its flash, counts the boot and queues the
// boot message.
func (d *Device) Open() (err error) {
	if err := d.cfg.Validate(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.release())
		}
	}()
	if d.flash, err = openFlash(d.cfg.DataDir); err != nil {
		return err
	}
	if d.state, err = d.flash.load(); err != nil {
		return err
	}
	if d.queue, err = queue.Open(filepath.Join(d.cfg.DataDir, "queue"), queue.Options{MaxBytes: d.cfg.QueueBytes, Sync: d.cfg.Sync}); err != nil {
		return err
	}
	reason := "restart"
	switch {
	case d.state.Boots == 0:
		reason = "power-on"
	case d.state.Running:
		reason = "crash"
	}
	d.state.Boots++
	d.state.Running = true
	if err := d.flash.save(d.state); err != nil {
		return err
	}
	seed := fnv.New64a()
	fmt.Fprintf(seed, "%s/%s/%d", d.cfg.Site, d.cfg.Device, d.state.Boots)
	d.sensors = newSensors(seed.Sum64())
	d.clock = clock{boot: d.state.Boots, now: time.Now, start: time.Now(), skew: d.cfg.ClockSkew}
	d.log.Info("booted", "reason", reason, "boot", d.state.Boots, "queued", d.queue.Len())
	return d.store("boot", bootReport{Reason: reason, Firmware: Version, Queued: d.queue.Len(), Damaged: d.queue.Damaged()})
}

// Run reads sensors and sends what was read until ctx ends; then it says that
// it is offline and hangs up.
func (d *Device) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range []func(context.Context) error{d.measure, d.network} {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Close is an orderly stop: the next boot's reason is restart. Closing twice,
// or before Open, is fine.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flash == nil || d.queue == nil {
		return d.release()
	}
	d.state.Running = false
	return errors.Join(d.flash.save(d.state), d.release())
}

// release lets go of the flash as it is.
func (d *Device) release() error {
	var err error
	if d.queue != nil {
		err = d.queue.Close()
	}
	if d.flash != nil {
		err = errors.Join(err, d.flash.close())
	}
	d.queue, d.flash = nil, nil
	return err
}

// Stats says how the device is doing, between Open and Close.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{Boot: d.state.Boots, Queued: d.queue.Len(), Delivered: d.delivered, Dropped: d.queue.Dropped()}
}

// measure reads the sensors on schedule, connected or not.
func (d *Device) measure(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.rescaled:
			timer.Reset(d.interval())
			continue
		case <-timer.C:
		}
		timer.Reset(d.interval())
		d.mu.Lock()
		err := d.store("telemetry", d.sensors.read())
		d.mu.Unlock()
		if err != nil {
			return err // flash that cannot be written to is the end of a device
		}
	}
}

func (d *Device) interval() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Interval > 0 {
		return d.state.Interval
	}
	return d.cfg.Interval
}

// store queues a message. The caller holds mu, or is alone.
func (d *Device) store(topic string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", topic, err)
	}
	up := d.clock.uptime()
	data, err := json.Marshal(entry{Topic: topic, Boot: d.clock.boot, Uptime: up, TS: d.clock.at(up), Body: raw})
	if err != nil {
		return fmt.Errorf("encode %s: %w", topic, err)
	}
	dropped := d.queue.Dropped()
	if _, err := d.queue.Append(data); err != nil {
		return fmt.Errorf("store %s: %w", topic, err)
	}
	if now := d.queue.Dropped(); now > dropped {
		d.log.Warn("queue is full, oldest messages dropped", "dropped", now-dropped, "total", now)
	}
	select {
	case d.appended <- struct{}{}:
	default:
	}
	return nil
}
