package attributes

import (
	"sync"
	"weak"
)

// inUse are the tables that somebody holds, by their hash: the rule sets of all
// partitions share one, however each came by it. What a table says follows from
// its hash, so nobody can tell.
var inUse struct {
	mu     sync.Mutex
	tables map[string]weak.Pointer[Table]
}

// share returns the table in use that says what t does, or else t.
func share(t *Table) *Table {
	inUse.mu.Lock()
	defer inUse.mu.Unlock()
	if old := inUse.tables[t.hash].Value(); old != nil {
		return old
	}
	if inUse.tables == nil {
		inUse.tables = map[string]weak.Pointer[Table]{}
	}
	for hash, p := range inUse.tables {
		if p.Value() == nil { // nobody holds it any more
			delete(inUse.tables, hash)
		}
	}
	inUse.tables[t.hash] = weak.Make(t)
	return t
}

// shared returns the table in use that has this hash, nil if there is none.
func shared(hash string) *Table {
	inUse.mu.Lock()
	defer inUse.mu.Unlock()
	return inUse.tables[hash].Value()
}
