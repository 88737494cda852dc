package devices_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/devices"
)

func TestTablesOfDevices(t *testing.T) {
	r := devices.NewRegistry(devices.Config{OfflineAfter: time.Minute})
	handle(t, r.Partition(0), newBuilder().
		publish(0, reading("freezer-1", "temperature", -18.5, "door", "closed")).
		publish(2*time.Minute, reading("bad\x1b[2J\tname", "temperature", 1.0, "text", "a\nb")).
		publish(2*time.Minute, reading("wide", "aaaaaaaaaaaaaaaaaaaa", 1.0, "bbbbbbbbbbbbbbbbbbbbbbbb", 2.0, "cccccccccccccccccc", 3.0)).b)
	var b strings.Builder
	if err := devices.WriteTable(&b, r.List(devices.Query{})); err != nil {
		t.Fatal(err)
	}
	want := `DEVICE              SOURCE  STATE    LAST SEEN                 EVENTS  LAST EVENT
"bad\x1b[2J\tname"  plant   online   2026-03-01T12:02:00.000Z  1       temperature=1 text="a\nb"
freezer-1           plant   offline  2026-03-01T12:00:00.000Z  1       door=closed temperature=-18.5
wide                plant   online   2026-03-01T12:02:00.000Z  1       aaaaaaaaaaaaaaaaaaaa=1 bbbbbbbbbbbbbbbbbbbbbbbb=2 ...
`
	if b.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", b.String(), want)
	}

	b.Reset()
	d, _ := r.Get("freezer-1")
	if err := devices.WriteDevice(&b, d); err != nil {
		t.Fatal(err)
	}
	want = `device           freezer-1
state            offline
offline since    2026-03-01T12:01:00.000Z
source           plant
measurement      telemetry
tag site         north
first seen       2026-03-01T12:00:00.000Z
last seen        2026-03-01T12:00:00.000Z
last event time  2026-03-01T12:00:00.000Z
events           1
last event       door=closed temperature=-18.5

REPORTED     VALUE   TIME
door         closed  2026-03-01T12:00:00.000Z
temperature  -18.5   2026-03-01T12:00:00.000Z
`
	if b.String() != want {
		t.Errorf("device:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestTablesReportAWriterThatFails(t *testing.T) {
	if err := devices.WriteTable(brokenWriter{}, []devices.Device{{ID: "a"}}); !errors.Is(err, errBroken) {
		t.Errorf("WriteTable: %v", err)
	}
	if err := devices.WriteDevice(brokenWriter{}, devices.Device{ID: "a"}); !errors.Is(err, errBroken) {
		t.Errorf("WriteDevice: %v", err)
	}
}

var errBroken = errors.New("pipe broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
