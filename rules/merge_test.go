package rules_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

const groupedRules = `
groups:
  - name: g
    rules:
      - {alert: Hot, by: [site], expr: temperature > 80, clear: temperature < 20}
      - {alert: Mean, by: [site], expr: 'avg_over_time(temperature, "20s") > 60', for: 3s}
      - {alert: Gone, by: [site], expr: 'absent("8s")'}
      - {record: total, by: [], expr: 'sum_over_time(temperature, "10s")'}
      - {alert: Own, expr: temperature > 90}
  - name: told
    rules:
      - {alert: SiteHot, by: [site], expr: temperature > 85, clear: temperature < 30, inhibit: [{rules: [Warm], equal: [site]}]}
      - {alert: Warm, expr: temperature > 70, clear: temperature < 40, for: 2s}
      - {alert: Mild, expr: 'avg_over_time(temperature, "9s") > 60', inhibit: [{rules: [g/Own], equal: [device]}]}
      - {alert: Silent, expr: 'absent("12s")', inhibit: [{rules: [Warm]}]}
  - name: storm
    limit: 2
    rules:
      - {alert: High, expr: temperature > 75}
`

// sitesLog returns readings of devices at three sites, in the order of their times.
func sitesLog(r *rand.Rand, n int) []line {
	var log []line
	at := 1.0
	for range n {
		at += r.Float64()
		if r.IntN(20) == 0 {
			at += 10
		}
		l := temp(at, fmt.Sprint("d", r.IntN(9)), float64(r.IntN(100)))
		l.tags = []event.Tag{{Key: "site", Value: fmt.Sprint("s", r.IntN(3))}}
		log = append(log, l)
	}
	return log
}

// told is what was derived without where its events stand.
func told(out []rules.Derived) []string {
	lines := story(out)
	for i, d := range out {
		if d.Alert != nil {
			lines[i] += fmt.Sprint(" ", d.Alert.ID, " ", d.Alert.Value)
		}
	}
	slices.Sort(lines) // what devices and groups derive is in no order to one another
	return lines
}

// Three engines by device and one for groups, over three partitions, derive what
// one engine does over one.
func TestPartitionsDeriveWhatOneWould(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		log := sitesLog(r, 150)
		end := log[len(log)-1].at + 30
		var want []rules.Derived
		whole := rules.NewEngine(0)
		take := func(d rules.Derived) { want = append(want, d) }
		for i, l := range append(append([]line{setRecord(0, groupedRules)}, log...), tick(end)) {
			whole.Process(batch(t, uint64(i+1), l), take)
		}

		parts := make([][]*event.Batch, 3)
		add := func(p int, lines ...line) {
			b := batch(t, uint64(len(parts[p])+1), lines...)
			b.Partition = p
			parts[p] = append(parts[p], b)
		}
		for p := range parts {
			add(p, setRecord(0, groupedRules))
		}
		rows := make([][]line, 3)
		for _, l := range log {
			p := int(l.device[1]-'0') % 3
			if rows[p] = append(rows[p], l); r.IntN(3) == 0 {
				add(p, rows[p]...)
				rows[p] = nil
			}
		}
		for p := range parts {
			add(p, append(rows[p], tick(end))...)
		}

		var got []rules.Derived
		emit := func(d rules.Derived) { got = append(got, d) }
		for p := range parts {
			e := rules.NewEngine(p)
			e.SetScope(rules.PartitionRules)
			for _, b := range parts[p] {
				e.Process(b, emit)
			}
		}
		got = append(got, merged(t, parts, r)...)
		if a, b := told(got), told(want); !slices.Equal(a, b) {
			t.Fatalf("seed %d: three partitions derive\n  %s\none derives\n  %s", seed, strings.Join(a, "\n  "), strings.Join(b, "\n  "))
		}
		if len(want) < 20 {
			t.Errorf("seed %d: only %d facts are derived", seed, len(want))
		}
	}
}

// merged runs the grouped rules over partitions that come in pieces of any size,
// and restarts at any place.
func merged(t *testing.T, parts [][]*event.Batch, r *rand.Rand) []rules.Derived {
	t.Helper()
	var out []rules.Derived
	m := rules.NewMerge(len(parts))
	e := rules.NewEngine(0)
	e.SetScope(rules.AcrossRules)
	for {
		for p := range parts {
			if !m.Empty(p) {
				continue
			}
			from := min(int(max(m.Place(p).Seq, 1)-1), len(parts[p]))
			from -= r.IntN(min(from, 2) + 1) // some come again
			m.Offer(p, parts[p][from:min(len(parts[p]), from+3)])
		}
		b, from, to, ok := m.Next()
		if !ok {
			for p := range parts {
				if m.Empty(p) && m.Place(p).Seq > uint64(len(parts[p])) {
					return out
				}
			}
			continue
		}
		e.ProcessRange(b, from, to, func(d rules.Derived) { out = append(out, d) })
		if r.IntN(10) > 0 {
			continue
		}
		state, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		places := rules.NewMerge(len(parts))
		for p := range parts {
			places.GoOn(p, m.Place(p))
		}
		m, e = places, rules.NewEngine(0)
		e.SetScope(rules.AcrossRules)
		if err := e.Restore(state); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsOfEqualAndOlderTimesHaveTheirPlaceInAMerge(t *testing.T) {
	b := func(p int, seq uint64, at ...float64) *event.Batch {
		var lines []line
		for _, t := range at {
			lines = append(lines, tick(t))
		}
		b := batch(t, seq, lines...)
		b.Partition = p
		return b
	}
	m := rules.NewMerge(3)
	m.Offer(2, []*event.Batch{b(2, 1, 1, 2, 9)})
	m.Offer(0, []*event.Batch{b(0, 1, 2, 5), b(0, 2, 3, 9)}) // what was received at 3 is derived
	var got []string
	next := func() {
		for {
			b, from, to, ok := m.Next()
			if !ok {
				return
			}
			for i := from; i < to; i++ {
				got = append(got, fmt.Sprintf("%d:%g", b.Partition, float64(b.Messages[i].Received-epoch)/1e9))
			}
		}
	}
	next()
	if got != nil {
		t.Errorf("%v came before partition 1 had anything to offer", got)
	}
	m.Offer(1, []*event.Batch{b(1, 1, 2, 4), b(1, 4, 5, 7)}) // 2 and 3 are damaged
	next()
	want := "[2:1 0:2 1:2 2:2 1:4 0:5 0:3 1:5 1:7]"
	if fmt.Sprint(got) != want {
		t.Errorf("merged %v, want %s", got, want)
	}
	if p := m.Place(1); p.Seq != 5 || p.Message != 0 {
		t.Errorf("partition 1 is to go on at %+v, want batch 5", p)
	}
	if p := m.Place(0); p.Seq != 2 || p.Message != 1 {
		t.Errorf("partition 0 is to go on at %+v, want message 1 of batch 2", p)
	}
}

func TestASetKnowsWhetherItsKeysSpanPartitions(t *testing.T) {
	for text, want := range map[string]bool{
		"alert: A\nexpr: temperature > 30":                       false,
		"alert: A\nexpr: temperature > 30\nby: [device, site]":   false,
		"alert: A\nexpr: temperature > 30\nby: [site]":           true,
		"record: a\nexpr: sum_over_time(x, \"1m\")\nby: []":      true,
		"alert: A\nexpr: temperature > 30\nallowed_lateness: 5s": false,

		"alert: A\nexpr: a > 1\ninhibit: [{rules: [B], equal: [device]}]": false,
		"alert: A\nexpr: a > 1\ninhibit: [{rules: [B], equal: [key]}]":    false,
		"alert: A\nexpr: a > 1\ninhibit: [{rules: [B], equal: [site]}]":   true,
		"alert: A\nexpr: a > 1\ninhibit: [{rules: [B]}]":                  true,
	} {
		text = group(text)
		if strings.Contains(text, "[B]") {
			text += group("alert: B\nexpr: b > 1")[len("groups:\n  - name: g\n    rules:\n"):]
		}
		set, err := rules.ParseSet(payloadOf(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if got := set.AcrossPartitions(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A rule that an edit makes one across partitions, or makes none of these, is
// evaluated in one place at any time.
func TestAnEditMovesARuleBetweenPartitionsAndAllOfThem(t *testing.T) {
	own := "groups:\n  - name: g\n    rules:\n      - {alert: Hot, expr: 'avg_over_time(temperature, \"10s\") > 30'}\n      - {alert: Up, by: [site], expr: temperature > 1000%s}\n"
	apart, together := fmt.Sprintf(own, ""), fmt.Sprintf(own, ", inhibit: [{rules: [Hot]}]")
	log := []line{setRecord(0, apart), temp(1, "a", 40), setRecord(2, together), temp(3, "a", 40), temp(4, "a", 10), temp(12, "a", 60), setRecord(13, apart), temp(14, "a", 40), temp(30, "a", 10)}
	for scope, want := range map[rules.Scope][]string{
		rules.PartitionRules: {"1 firing g/Hot a", "2 resolved g/Hot a", "13 firing g/Hot a", "30 resolved g/Hot a"},
		rules.AcrossRules:    {"3 firing g/Hot a", "4 resolved g/Hot a", "12 firing g/Hot a", "13 resolved g/Hot a"},
	} {
		e := rules.NewEngine(0)
		e.SetScope(scope)
		read := 0
		if got := story(playWith(t, e, log, 0, historyOf(t, log, &read))); !slices.Equal(got, want) {
			t.Errorf("scope %v: %q, want %q", scope, got, want)
		}
	}
}
