package fault

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/test/child"
	"weir/test/process"
)

// natsServer is a NATS server in a process of its own.
type natsServer struct {
	addr string
	args []string
	proc *child.Proc
}

func (n *natsServer) start(t *testing.T) {
	t.Helper()
	n.proc = child.Spawn(t, "nats-server", child.Tool(t, "WEIR_NATS_SERVER", "nats-server"), n.args...)
	process.Eventually(t, "the NATS server listens", func() error {
		if !n.proc.Alive() {
			t.Fatalf("nats-server has ended:\n%s", n.proc.Err.Tail(20))
		}
		c, err := net.DialTimeout("tcp", n.addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	addr := child.FreeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	n := &natsServer{addr: addr, args: []string{"-js", "-sd", t.TempDir(), "-a", host, "-p", port}}
	n.start(t)
	return n
}

// startCluster starts three servers that replicate to one another.
func startCluster(t *testing.T) []*natsServer {
	t.Helper()
	var routes []string
	var nodes []*natsServer
	var cluster []string
	for range 3 {
		cluster = append(cluster, child.FreeAddr(t))
		routes = append(routes, "nats-route://"+cluster[len(cluster)-1])
	}
	for i := range 3 {
		addr := child.FreeAddr(t)
		conf := filepath.Join(t.TempDir(), "nats.conf")
		text := fmt.Sprintf("server_name: n%d\nlisten: %q\njetstream {store_dir: %q}\ncluster {name: weir, listen: %q, routes: [%s]}\n",
			i, addr, t.TempDir(), cluster[i], strings.Join(routes, ", "))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n := &natsServer{addr: addr, args: []string{"-c", conf}}
		n.start(t)
		nodes = append(nodes, n)
	}
	return nodes
}

func urls(nodes ...*natsServer) string {
	var all []string
	for _, n := range nodes {
		all = append(all, "nats://"+n.addr)
	}
	return strings.Join(all, ",")
}

// underLoad runs a load against a log in a cluster while cut interferes, and checks
// that nothing acknowledged is missing, that alerts are there and that the books
// balance.
func underLoad(t *testing.T, log string, count int, cut func(w *process.Weir)) {
	t.Helper()
	dir := t.TempDir()
	acked, record := filepath.Join(dir, "acked"), filepath.Join(dir, "record")
	sink := process.StartSink(t, child.FreeAddr(t), record)
	w := process.New(t, process.Setup{Log: log, Rules: map[string]string{"cold.yaml": warmRules},
		Sinks: fmt.Sprintf("\n  - name: lines\n    start: all\n    retry: {min: 50ms, max: 500ms}\n    influxdb: {url: %q, database: weir}\n", sink.URL)})
	process.Eventually(t, "weir starts on the cluster", func() error { // it may still be electing its leaders
		if w.Launch(t); !w.BecomesReady() {
			return fmt.Errorf("%s", w.Proc().Err.Tail(3))
		}
		return nil
	})
	load := w.Load(t, "--count", fmt.Sprint(count), "--rate", "12000", "--connections", "10", "--devices", "20", "--window", "200",
		"--reconnect", "--acked-file", acked)
	cut(w)
	b := process.Loaded(t, load, 2*process.Patience)
	t.Logf("%d acknowledged, %d reconnects", b.Acked, b.Reconnects)
	w.Settled(t)
	w.Audit(t)
	lines := w.Events(t)
	want := process.ReadAcked(t, acked)
	inLog := process.CheckLog(t, lines, want)
	facts := process.AlertFacts(t, lines)
	if len(facts) == 0 {
		t.Error("the load caused no alert")
	}
	seen := map[string]bool{}
	for _, a := range facts {
		if seen[a.ID+a.State] {
			t.Errorf("alert %s of %s is %s twice", a.ID, a.Key, a.State)
		}
		seen[a.ID+a.State] = true
	}
	// The same log, read by a weir that was killed: nothing is done again.
	w.Kill()
	w.Start(t)
	w.Settled(t)
	w.Audit(t)
	if again := process.AlertFacts(t, w.Events(t)); len(again) != len(facts) {
		t.Errorf("%d transitions after a kill, %d before", len(again), len(facts))
	}
	w.Stop(t)
	sink.Signal(os.Interrupt)
	sink.Wait(t, process.Patience)
	process.CheckRecord(t, record, inLog, want)
}

func TestALogOnANATSServerSurvivesThatServersKill(t *testing.T) {
	n := startNATS(t)
	underLoad(t, fmt.Sprintf("partitions: 2, url: %q", urls(n)), 60_000, func(w *process.Weir) {
		for range 2 {
			waitAppended(t, w, 5_000)
			n.proc.Kill()
			w.WaitLog(t, "the connection to the log is lost")
			if err := w.Get("/api/v1/alerts", &struct{}{}); err != nil {
				t.Errorf("weir does not answer while its log is away: %v", err)
			}
			n.start(t)
		}
	})
}

func TestALogOnAClusterSurvivesTheKillOfOneNode(t *testing.T) {
	nodes := startCluster(t)
	underLoad(t, fmt.Sprintf("partitions: 2, replicas: 3, url: %q", urls(nodes...)), 120_000, func(w *process.Weir) {
		waitAppended(t, w, 10_000)
		nodes[0].proc.Kill()
		waitAppended(t, w, 20_000) // without it
		nodes[0].start(t)
		waitAppended(t, w, 1_000)
		nodes[1].proc.Kill()
	})
}

// waitAppended waits until a number of records more are in the log.
func waitAppended(t *testing.T, w *process.Weir, more float64) {
	t.Helper()
	from := -1.0
	process.Eventually(t, "the log grows", func() error {
		n, err := w.Metric("weir_log_appended_records_total")
		if err != nil {
			return err
		}
		if from < 0 {
			from = n
		}
		if n < from+more {
			return fmt.Errorf("by %v records", n-from)
		}
		return nil
	})
}
