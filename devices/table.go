package devices

const (
	chunkSize = 1 << chunkBits // devices
	chunkBits = 10
	maxSlots  = 1 << 30
)

// table is the state of a partition: what a snapshot holds. The lock of its
// Partition guards it.
type table struct {
	logTime int64 // the latest receive time of any record, ns
	refused uint64

	slots  map[string]uint32 // by device id; the keys are the records' own ids
	chunks []*[chunkSize]record
	n      int // how many records there are; a slot is never given back
}

func newTable() *table { return &table{slots: make(map[string]uint32)} }

// at returns the record in a slot. Records never move: growing adds chunks and
// copies nothing.
func (t *table) at(slot uint32) *record { return &t.chunks[slot>>chunkBits][slot%chunkSize] }

// add makes a record for a device that is not there yet, and keeps id.
func (t *table) add(id string) uint32 {
	slot := uint32(t.n)
	if t.n>>chunkBits == len(t.chunks) {
		t.chunks = append(t.chunks, new([chunkSize]record))
	}
	t.at(slot).id = id
	t.slots[id] = slot
	t.n++
	return slot
}
