package process

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"weir/console"
)

// ReadAcked reads a file that simulator bench --acked-file has written.
func ReadAcked(t testing.TB, name string) map[uint64]bool {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[uint64]bool{}
	for line := range strings.Lines(string(b)) {
		n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[n] = true
	}
	return out
}

// CheckLog checks that everything acknowledged is in the log, always with the
// same bytes and topic, and returns the payload of each number.
func CheckLog(t testing.TB, lines []console.Line, acked map[uint64]bool) map[uint64]string {
	t.Helper()
	inLog := map[uint64]string{}
	twice := 0
	for _, l := range lines {
		if l.Kind != "message" {
			continue
		}
		n, ok := Seq(l.Payload)
		if !ok {
			t.Fatalf("message at %v is no bench message: %s", l.Position, l.Payload)
		}
		is := l.Topic + " " + string(l.Payload)
		if was, ok := inLog[n]; ok {
			twice++
			if was != is {
				t.Errorf("message %d is in the log as %s and as %s", n, was, is)
			}
		}
		inLog[n] = is
	}
	missing := 0
	for n := range acked {
		if _, ok := inLog[n]; !ok {
			if missing++; missing <= 10 {
				t.Errorf("message %d was acknowledged and is not in the log", n)
			}
		}
	}
	t.Logf("log: %d messages, %d of them sent again before their acknowledgement came, %d acknowledged are missing", len(inLog), twice, missing)
	return inLog
}

// CheckRecord checks the lines that the sink took: everything of the log is there,
// and nothing under two identities.
func CheckRecord(t testing.TB, name string, inLog map[uint64]string, acked map[uint64]bool) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	identity := map[uint64]string{}
	number := map[string]uint64{}
	lines := 0
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Bytes()
		if !bytes.HasPrefix(line, []byte("telemetry,")) {
			continue
		}
		lines++
		n, ok := Seq(line)
		if !ok {
			t.Fatalf("line without a number: %s", line)
		}
		id := string(line[:bytes.IndexByte(line, ' ')]) + string(line[bytes.LastIndexByte(line, ' '):])
		if was, ok := identity[n]; ok && was != id {
			t.Errorf("message %d was delivered as %q and as %q", n, was, id)
		}
		if was, ok := number[id]; ok && was != n {
			t.Errorf("messages %d and %d were delivered as one point, %q", was, n, id)
		}
		identity[n], number[id] = id, n
		if _, ok := inLog[n]; !ok {
			t.Errorf("message %d was delivered and is not in the log", n)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	missing := 0
	for n := range acked {
		if _, ok := identity[n]; !ok {
			missing++
		}
	}
	if missing > 0 || len(identity) != len(inLog) {
		t.Errorf("the sink has %d messages, the log %d; %d acknowledged ones are missing", len(identity), len(inLog), missing)
	}
	t.Logf("sink: %d lines for %d messages", lines, len(identity))
}
