package sink

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// open starts a sink that stops with the test.
func open(t *testing.T, cfg Config) *Sink {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s := New(cfg)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func post(t *testing.T, url string, body []byte, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("POST", url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestLinesBytesAndDistinctPointsAreCounted(t *testing.T) {
	s := open(t, Config{Distinct: true})
	write := func(path, body string) {
		t.Helper()
		if resp := post(t, s.URL()+path, []byte(body)); resp.StatusCode != 204 {
			t.Fatalf("POST %s: %s", path, resp.Status)
		}
	}
	write("/write?db=x&precision=ms", "m,d=a t=1 1000\nm,d=b t=1 1000\nm,d=a t=2 1001")
	write("/api/v2/write?bucket=x&precision=s", "m,d=a t=1 1\n")                       // the first again, in seconds
	write("/write", "m,d=a t=1 1000000000\n\n# a comment\nm,d=c s=\"a b\" 1\nm t=1\n") // the first again, one new, one without a time
	write("/write", "nonsense\n")
	got := s.Stats()
	got.FirstUnix, got.LastUnix = 0, 0
	want := Stats{Writes: 4, Lines: 8, Bytes: got.Bytes, Distinct: 5, Malformed: 1, Untimed: 1}
	if got != want {
		t.Errorf("stats = %+v, want %+v", got, want)
	}
	post(t, s.URL()+"/reset", nil)
	if got := s.Stats(); got != (Stats{}) {
		t.Errorf("after a reset, stats = %+v", got)
	}
}

func TestZippedWritesAreUnzipped(t *testing.T) {
	s := open(t, Config{})
	for range 3 { // the reader is used again
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		w.Write([]byte("m t=1 1\nm t=2 2\n"))
		w.Close()
		if resp := post(t, s.URL()+"/write", body.Bytes(), "Content-Encoding", "gzip"); resp.StatusCode != 204 {
			t.Fatalf("POST: %s", resp.Status)
		}
	}
	if got := s.Stats(); got.Lines != 6 || got.Bytes != 48 {
		t.Errorf("stats = %+v, want 6 lines of 48 bytes", got)
	}
	if resp := post(t, s.URL()+"/write", []byte("m t=1 1"), "Content-Encoding", "gzip"); resp.StatusCode != 400 {
		t.Errorf("what claims to be zipped and is not: %s, want 400", resp.Status)
	}
}

func TestFaultsAnswerAsTold(t *testing.T) {
	s := open(t, Config{Fault: Fault{Status: 503, RetryAfter: 7 * time.Second}})
	resp := post(t, s.URL()+"/write", []byte("m t=1 1"))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("answer = %s, Retry-After %q; want 503 and 7", resp.Status, resp.Header.Get("Retry-After"))
	}
	if got := s.Stats(); got.Rejected != 1 || got.Lines != 0 {
		t.Errorf("stats = %+v, want one rejected write and no line", got)
	}
}

func TestAFaultOfLimitedLengthEnds(t *testing.T) {
	s := New(Config{Fault: Fault{Status: 503, For: time.Minute}})
	s.opened = time.Now()
	if !s.failing() {
		t.Error("the fault is over at once")
	}
	s.opened = time.Now().Add(-time.Minute)
	if s.failing() {
		t.Error("the fault goes on after its time")
	}
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	s := open(t, Config{MaxBody: 10})
	if resp := post(t, s.URL()+"/write", []byte("m t=1 1\nm t=2 2\n")); resp.StatusCode != 400 {
		t.Errorf("16 bytes of at most 10: %s, want 400", resp.Status)
	}
}

func TestSplitFollowsLineProtocol(t *testing.T) {
	for _, tt := range []struct{ line, series, fields, time string }{
		{`m f=1 5`, `m`, `f=1`, `5`},
		{`m f=1`, `m`, `f=1`, ``},
		{`m,a=b\ c f=1 5`, `m,a=b\ c`, `f=1`, `5`},
		{`m f="a b",g=2 5`, `m`, `f="a b",g=2`, `5`},
		{`m f="a \" b" 5`, `m`, `f="a \" b"`, `5`},
		{`m  f=1  5 `, `m`, `f=1`, `5`},
	} {
		p, ok := split([]byte(tt.line))
		if !ok || string(p.series) != tt.series || string(p.fields) != tt.fields || string(p.time) != tt.time {
			t.Errorf("split(%s) = %q %q %q %v, want %q %q %q", tt.line, p.series, p.fields, p.time, ok, tt.series, tt.fields, tt.time)
		}
	}
	for _, line := range []string{``, ` `, `m`, `m `, `m f`, `m =1`, `m f="open 5`} {
		if p, ok := split([]byte(line)); ok {
			t.Errorf("split(%q) = %q %q %q, want it refused", line, p.series, p.fields, p.time)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, line := range []string{`m f=1 5`, `m,a=b\ c f="x y" 5`, `m f`, "\\", `a b="\`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p, ok := split(line)
		if !ok {
			return
		}
		if len(p.series) == 0 || len(p.fields) == 0 || !bytes.HasPrefix(line, p.series) || !bytes.Contains(line, p.fields) {
			t.Fatalf("split(%q) = %q %q %q", line, p.series, p.fields, p.time)
		}
		joined := fmt.Appendf(nil, "%s %s", p.series, p.fields)
		if len(p.time) > 0 {
			joined = fmt.Appendf(joined, " %s", p.time)
		}
		again, ok := split(joined)
		if !ok || !bytes.Equal(again.series, p.series) || !bytes.Equal(again.fields, p.fields) || !bytes.Equal(again.time, p.time) {
			t.Fatalf("split(%q) = %q %q %q; put together and split again: %q %q %q", line, p.series, p.fields, p.time, again.series, again.fields, again.time)
		}
	})
}

func FuzzCountLines(f *testing.F) {
	for _, body := range []string{"", "\n", "a\nb", "a\n\nb\n", "#c\na", "a\r\n\r\nb"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want := uint64(0)
		for line := range strings.SplitSeq(string(body), "\n") {
			if line = strings.TrimRight(line, "\r"); line != "" && line[0] != '#' {
				want++
			}
		}
		// A line of nothing but spaces is none to one and one to the other: both are the writer's fault.
		if bytes.Contains(body, []byte(" ")) {
			return
		}
		if got := countLines(body); got != want {
			t.Fatalf("countLines(%q) = %d, want %d", body, got, want)
		}
	})
}

func TestTheSetHoldsWhatAMapHolds(t *testing.T) {
	var s set
	m := make(map[uint64]bool)
	h := uint64(1)
	for i := range 200_000 {
		h = h*6364136223846793005 + 1442695040888963407
		v := h >> 46 // repeats, and zero is among them
		if i == 0 {
			v = 0
		}
		if got, want := s.add(v), !m[v]; got != want {
			t.Fatalf("add %d = %v the %dth time, want %v", v, got, i, want)
		}
		m[v] = true
	}
	if s.len() != uint64(len(m)) {
		t.Errorf("the set holds %d, want %d", s.len(), len(m))
	}
}

func benchmarkBody() []byte {
	var b []byte
	for i := range 5000 {
		b = fmt.Appendf(b, "telemetry,device=d%d,site=s1 temperature=-18.42,humidity=41.2 17900000%011d\n", i%50, i)
	}
	return b
}

func BenchmarkCount(b *testing.B) {
	body := benchmarkBody()
	for _, distinct := range []bool{false, true} {
		b.Run(fmt.Sprintf("distinct=%v", distinct), func(b *testing.B) {
			s := New(Config{Distinct: distinct})
			b.ReportAllocs()
			for b.Loop() {
				if err := s.count(body, 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*5000/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
