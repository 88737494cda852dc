package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// cli runs mosquitto's command line clients against one broker.
type cli struct {
	t          *testing.T
	host, port string
}

func newCLI(t *testing.T, addr string) *cli {
	t.Helper()
	for _, bin := range []string{"mosquitto_pub", "mosquitto_sub", "stdbuf"} {
		if !executable(bin) {
			t.Skip(bin + " is not installed: apt-get install mosquitto-clients coreutils")
		}
	}
	host, port, _ := net.SplitHostPort(addr)
	return &cli{t, host, port}
}

func (c *cli) command(ctx context.Context, bin string, args ...string) *exec.Cmd {
	// stdbuf: into a pipe the clients would print only when their buffer is full.
	return exec.CommandContext(ctx, "stdbuf", append([]string{"-oL", bin, "-h", c.host, "-p", c.port}, args...)...)
}

// pub publishes and returns what went wrong.
func (c *cli) pub(args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if out, err := c.command(ctx, "mosquitto_pub", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("mosquitto_pub %v: %v\n%s", args, err, out)
	}
}

// subscriber is a mosquitto_sub that runs.
type subscriber struct {
	c    *cli
	cmd  *exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
	done chan error
}

func (s *subscriber) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *subscriber) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// sub starts a subscriber and waits until it has its SUBACK, which -d prints.
func (c *cli) sub(args ...string) *subscriber {
	c.t.Helper()
	s := &subscriber{c: c, done: make(chan error, 1)}
	s.cmd = c.command(c.t.Context(), "mosquitto_sub", append([]string{"-d"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	c.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.until("Subscribed (mid")
	return s
}

// until waits until the output holds text.
func (s *subscriber) until(text string) {
	s.c.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.text(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.c.t.Fatalf("mosquitto_sub does not print %q:\n%s", text, s.text())
		}
	}
}

// lines waits for n lines of messages, and returns them. What -d prints is left out.
func (s *subscriber) lines(n int) string {
	s.c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var got []string
		for l := range strings.Lines(s.text()) {
			if l = strings.TrimSuffix(l, "\n"); strings.HasPrefix(l, "> ") {
				got = append(got, l[2:])
			}
		}
		if len(got) >= n {
			return strings.Join(got, "\n")
		}
		if time.Now().After(end) {
			s.c.t.Fatalf("%d of %d messages came:\n%s", len(got), n, s.text())
		}
	}
}

func (s *subscriber) stop() { _ = s.cmd.Process.Kill(); <-s.done }

const format = "> %t %q %r %p"

// scripts return what a user of the command line would have seen.
var scripts = []struct {
	name string
	run  func(c *cli, v string) string
}{
	{"every QoS", func(c *cli, v string) string {
		s := c.sub("-V", v, "-t", "sensors/q", "-q", "2", "-F", format)
		for q := range 3 {
			c.pub("-V", v, "-t", "sensors/q", "-q", fmt.Sprint(q), "-m", fmt.Sprint("qos", q))
		}
		return s.lines(3)
	}},
	{"many messages at once", func(c *cli, v string) string {
		s := c.sub("-V", v, "-t", "sensors/m", "-q", "1", "-F", format)
		var in strings.Builder
		for i := range 2000 {
			fmt.Fprintln(&in, i)
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		defer cancel()
		cmd := c.command(ctx, "mosquitto_pub", "-V", v, "-t", "sensors/m", "-q", "1", "-l")
		cmd.Stdin = strings.NewReader(in.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Fatalf("mosquitto_pub -l: %v\n%s", err, out)
		}
		got := strings.Split(s.lines(2000), "\n")
		seen := map[string]bool{}
		for _, l := range got {
			seen[l] = true
		}
		return fmt.Sprintf("%d messages, %d different", len(got), len(seen))
	}},
	{"retained", func(c *cli, v string) string {
		for _, d := range []string{"a", "b"} {
			c.pub("-V", v, "-t", "sensors/r/"+d, "-r", "-q", "1", "-m", "kept "+d)
		}
		c.pub("-V", v, "-t", "sensors/r/a", "-r", "-n", "-q", "1")
		s := c.sub("-V", v, "-t", "sensors/r/+", "-q", "1", "-F", format)
		out := s.lines(1)
		c.pub("-V", v, "-t", "sensors/r/b", "-r", "-n", "-q", "1")
		return out
	}},
	{"will", func(c *cli, v string) string {
		s := c.sub("-V", v, "-t", "sensors/w", "-q", "1", "-F", format)
		w := c.sub("-V", v, "-t", "nothing", "--will-topic", "sensors/w", "--will-payload", "gone", "--will-qos", "1")
		w.stop()
		return s.lines(1)
	}},
	{"persistent session", func(c *cli, v string) string {
		keep := []string{"-V", v, "-i", "keeper" + v, "-c", "-t", "sensors/p", "-q", "1", "-F", format}
		if v == "5" {
			keep = append(keep, "-x", "3600")
		}
		c.sub(keep...).stop()
		for i := range 3 {
			c.pub("-V", v, "-t", "sensors/p", "-q", "1", "-m", fmt.Sprint(i))
		}
		got := strings.Split(c.sub(keep...).lines(3), "\n")
		return fmt.Sprintf("%d messages", len(got))
	}},
	{"shared subscription", func(c *cli, v string) string {
		a := c.sub("-V", v, "-t", "$share/g/sensors/s", "-q", "1", "-F", format)
		b := c.sub("-V", v, "-t", "$share/g/sensors/s", "-q", "1", "-F", format)
		all := c.sub("-V", v, "-t", "sensors/s", "-q", "1", "-F", format)
		for i := range 20 {
			c.pub("-V", v, "-t", "sensors/s", "-q", "1", "-m", fmt.Sprint(i))
		}
		all.lines(20)
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if n := strings.Count(a.text()+b.text(), "\n> "); n == 20 {
				break
			}
		}
		return fmt.Sprintf("%d messages among both", strings.Count(a.text()+b.text(), "\n> "))
	}},
	{"properties", func(c *cli, v string) string {
		if v != "5" {
			return ""
		}
		s := c.sub("-V", v, "-t", "sensors/pr", "-q", "1", "-F", "> %t %C %R %D %P %F %p")
		c.pub("-V", v, "-t", "sensors/pr", "-q", "1", "-m", "x",
			"-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "reply", "-D", "publish", "correlation-data", "7",
			"-D", "publish", "user-property", "k", "v", "-D", "publish", "payload-format-indicator", "1")
		return s.lines(1)
	}},
}

// The same script prints the same against the embedded broker and mosquitto.
func TestMosquittosClientsSeeWhatMosquittoShows(t *testing.T) {
	ours, _ := weir(t)
	theirs := mosquitto(t)
	for _, s := range scripts {
		for _, v := range []string{"311", "5"} {
			t.Run(s.name+"/"+v, func(t *testing.T) {
				got, want := s.run(newCLI(t, ours), v), s.run(newCLI(t, theirs), v)
				if got != want {
					t.Errorf("weir\n%s\nmosquitto\n%s", got, want)
				}
			})
		}
	}
}
