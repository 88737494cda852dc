package devices_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"weir/devices"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random logs; 0 takes a new one")

func TestStateIsAFunctionOfTheLog(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (rerun: -seed %d)", seed, seed)
	for round := range uint64(6) {
		log := randomMessages(seed+round, 600)
		cfg := devices.Config{MaxDevices: 8}
		one := devices.NewRegistry(cfg)
		for _, b := range cutInto(log, 1, 1) { // every message by itself: nothing is passed over
			handle(t, one.Partition(0), b)
		}
		want := snapshot(t, one.Partition(0))
		wantList, err := json.Marshal(one.List(devices.Query{}))
		if err != nil {
			t.Fatal(err)
		}

		for _, most := range []int{2, 10, 200, len(log)} {
			r := devices.NewRegistry(cfg)
			batches := cutInto(log, seed^uint64(most), most)
			half := len(batches) / 2
			handle(t, r.Partition(0), batches[:half]...)
			restored := devices.NewRegistry(cfg)
			if err := restored.Partition(0).Restore(snapshot(t, r.Partition(0))); err != nil {
				t.Fatalf("round %d: restore: %v", round, err)
			}
			for _, x := range []*devices.Registry{r, restored} {
				handle(t, x.Partition(0), batches[half:]...)
				if got := snapshot(t, x.Partition(0)); !bytes.Equal(got, want) {
					t.Fatalf("round %d, batches of up to %d, restored %v: another snapshot than message by message", round, most, x == restored)
				}
				if got, _ := json.Marshal(x.List(devices.Query{})); !bytes.Equal(got, wantList) {
					t.Fatalf("round %d, batches of up to %d: the list differs:\n got %s\nwant %s", round, most, got, wantList)
				}
			}
		}
	}
}

func TestADamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	r := devices.NewRegistry(devices.Config{})
	p := r.Partition(0)
	for _, b := range cutInto(randomMessages(1, 100), 1, 10) {
		handle(t, p, b)
	}
	good := snapshot(t, p)
	foreign := devices.NewRegistry(devices.Config{}).Partition(3)
	edit := func(f func(s []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, c := range []struct {
		name string
		s    []byte
		want error
	}{
		{"nothing", nil, devices.ErrSnapshotVersion},
		{"another file", []byte("weir: a text that is no snapshot"), devices.ErrSnapshotVersion},
		{"a newer version", edit(func(s []byte) []byte { s[7] = 2; return s }), devices.ErrSnapshotVersion},
		{"a flipped bit", edit(func(s []byte) []byte { s[len(s)/2] ^= 4; return s }), devices.ErrSnapshotDamaged},
		{"a flipped bit in the checksum", edit(func(s []byte) []byte { s[len(s)-1] ^= 4; return s }), devices.ErrSnapshotDamaged},
		{"cut short", good[:len(good)-9], devices.ErrSnapshotDamaged},
		{"cut short with a fitting checksum", seal(good[:len(good)-40]), devices.ErrSnapshotDamaged},
		{"more behind it", seal(append(bytes.Clone(good[:len(good)-4]), 1, 2, 3)), devices.ErrSnapshotDamaged},
		{"a count that its size contradicts", seal([]byte("weirdev\x01\x00\x00\x00\xff\xff\xff\xff\x0f")), devices.ErrSnapshotDamaged},
		{"another partition's", snapshot(t, foreign), devices.ErrSnapshotForeign},
	} {
		if err := p.Restore(c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if !bytes.Equal(snapshot(t, p), good) {
			t.Fatalf("%s: the state has changed", c.name)
		}
	}
	for i := range good {
		if err := p.Restore(edit(func(s []byte) []byte { s[i] ^= 0x10; return s })); err == nil {
			t.Fatalf("a flipped bit in byte %d of %d was not noticed", i, len(good))
		}
	}
}

// seal appends the checksum of body.
func seal(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// FuzzRestore gives Restore bodies with a checksum that fits, so that its own
// checks are what stands between them and the readers.
func FuzzRestore(f *testing.F) {
	p := devices.NewRegistry(devices.Config{}).Partition(0)
	f.Add([]byte("weirdev\x01"))
	f.Add(bytes.TrimSuffix(snapshot(f, p), nil)[:12])
	handle(f, p, newBuilder().publish(0, reading("f1", "a", 1.0, "b", "text", "c", true, "d", nil)).publish(1, reading("f1", "a", 2.0)).b)
	s := snapshot(f, p)
	f.Add(s[:len(s)-4])
	for _, b := range cutInto(randomMessages(3, 60), 1, 10) {
		handle(f, p, b)
	}
	s = snapshot(f, p)
	f.Add(s[:len(s)-4])
	more := cutInto(randomMessages(4, 20), 1, 10)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := devices.NewRegistry(devices.Config{})
		p := r.Partition(0)
		empty := snapshot(t, p)
		if err := p.Restore(seal(body)); err != nil {
			if !bytes.Equal(snapshot(t, p), empty) {
				t.Fatalf("refused (%v), and yet the state has changed", err)
			}
			return
		}
		first := snapshot(t, p)
		again := devices.NewRegistry(devices.Config{}).Partition(0)
		if err := again.Restore(first); err != nil {
			t.Fatalf("what was restored cannot be restored again: %v", err)
		}
		if second := snapshot(t, again); !bytes.Equal(first, second) {
			t.Fatalf("two snapshots of one state differ:\n%x\n%x", first, second)
		}
		known, _ := r.Counts()
		if got := len(r.List(devices.Query{Limit: devices.MaxLimit})); got != min(known, devices.MaxLimit) {
			t.Fatalf("%d devices listed, %d known", got, known)
		}
		handle(t, p, more...)
		handle(t, again, more...)
		if !bytes.Equal(snapshot(t, p), snapshot(t, again)) {
			t.Fatal("two restored states went apart on the same batches")
		}
	})
}
