package eventlog

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// testRecord is a record as the server writes it.
func testRecord(b *block, seq uint64, subject, message string) []byte {
	r := binary.LittleEndian.AppendUint32(nil, uint32(recordHead+len(subject)+len(message)+recordSum))
	r = binary.LittleEndian.AppendUint64(r, seq)
	r = binary.LittleEndian.AppendUint64(r, 1000+seq)
	r = binary.LittleEndian.AppendUint16(r, uint16(len(subject)))
	r = append(append(r, subject...), message...)
	return append(r, recordSumOf(b.sum, r[4:20], []byte(subject+message))...)
}

func testBlock(t testing.TB) *block {
	sum, err := recordHash("WEIR_LOG_0", 1)
	if err != nil {
		t.Fatal(err)
	}
	return &block{stream: "WEIR_LOG_0", sum: sum}
}

func TestOnlyWhatIsDamagedIsTakenOut(t *testing.T) {
	const count = 5
	whole := testBlock(t)
	var at [count + 1]int
	for i := range count {
		whole.bytes = append(whole.bytes, testRecord(whole, uint64(i+7), "weir.log.0", "message")...)
		at[i+1] = len(whole.bytes)
	}
	for i := range whole.bytes {
		for bit := range 8 {
			b := &block{stream: whole.stream, sum: whole.sum, bytes: bytes.Clone(whole.bytes)}
			b.bytes[i] ^= 1 << bit
			b.scan()
			hit := 0
			for i >= at[hit+1] {
				hit++
			}
			kept, places := b.without(nil)
			if want := append(bytes.Clone(whole.bytes[:at[hit]]), whole.bytes[at[hit+1]:]...); places != 1 || !bytes.Equal(kept, want) {
				t.Fatalf("bit %d of byte %d, in record %d: %d bytes are kept, want %d; %d places", bit, i, hit, len(kept), len(want), places)
			}
			kept, _ = b.without(&markers{subject: "weir.log.0", end: count + 6})
			marked := &block{stream: whole.stream, sum: whole.sum, bytes: kept}
			marked.scan()
			if len(marked.places) != count {
				t.Fatalf("bit %d of byte %d, in record %d: %d records with a marker, want %d", bit, i, hit, len(marked.places), count)
			}
			for j, p := range marked.places {
				if !p.sound || p.seq != uint64(j+7) {
					t.Fatalf("bit %d of byte %d: record %d is %+v", bit, i, j, p)
				}
				if h, ok := headerOf(kept[p.from:p.to]); ok != (j == hit) || h.count != 0 {
					t.Fatalf("bit %d of byte %d, in record %d: record %d has header %+v, %v", bit, i, hit, j, h, ok)
				}
			}
		}
	}
}

func FuzzBlock(f *testing.F) {
	whole := testBlock(f)
	for i := range 3 {
		whole.bytes = append(whole.bytes, testRecord(whole, uint64(i+1), "weir.log.0", "message")...)
	}
	whole.bytes = append(whole.bytes, whole.marker(&markers{subject: "weir.log.0", last: lastRecord{seq: 3}}, 4)...)
	f.Add(whole.bytes)
	f.Add(whole.bytes[:len(whole.bytes)-3])
	f.Add(whole.bytes[5:])
	f.Fuzz(func(t *testing.T, in []byte) {
		b := testBlock(t)
		b.bytes = in
		b.scan()
		at := 0
		for _, p := range b.places {
			if p.from != at || p.to <= p.from {
				t.Fatalf("place %+v after %d", p, at)
			}
			at = p.to
		}
		if at != len(in) {
			t.Fatalf("places end at %d of %d", at, len(in))
		}
		kept, _ := b.without(nil)
		again := testBlock(t)
		again.bytes = kept
		again.scan()
		for _, p := range again.places {
			if !p.sound {
				t.Fatalf("%x is left of %x", kept[p.from:p.to], in)
			}
		}
		b.without(&markers{subject: "weir.log.0"})
		b.unfinished(in, 0)
	})
}
