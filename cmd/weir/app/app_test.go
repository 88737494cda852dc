package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/eventlog"
)

func config(t *testing.T, dir, text string) *configs.Config {
	t.Helper()
	c, err := configs.Parse(filepath.Join(dir, "weir.yaml"), []byte(text), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir.Value = filepath.Join(dir, "data")
	return c
}

const plain = "mqtt: {listen: '127.0.0.1:0', anonymous: true}\nhttp: {listen: '127.0.0.1:0'}\nsources: [{name: p, topic: 'p/{device}'}]\n"

func TestCloseIsFineBeforeOpenAfterItAndTwice(t *testing.T) {
	c := config(t, t.TempDir(), plain)
	a, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.DataDir.Value); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("New made the data directory: %v", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if a, err = New(c, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Ready() == nil {
		t.Error("ready before Run")
	}
	addr, err := APIAddr(c)
	if err != nil || addr != a.Addr("http").String() {
		t.Errorf("API is noted at %q, %v; it is at %v", addr, err, a.Addr("http"))
	}
	if _, err := OpenOffline(t.Context(), c); !errors.Is(err, eventlog.ErrLocked) {
		t.Errorf("offline while it is open: %v", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	o, err := OpenOffline(t.Context(), c)
	if err != nil {
		t.Fatalf("offline after the close: %v", err)
	}
	o.Close()
}

func TestAPortThatIsTakenIsAnErrorAndGivesEverythingBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	taken := config(t, dir, strings.Replace(plain, "http: {listen: '127.0.0.1:0'}", "http: {listen: '"+l.Addr().String()+"'}", 1))
	a, err := New(taken, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("open: %v", err)
	}
	a.Close()

	taken = config(t, dir, strings.Replace(plain, "mqtt: {listen: '127.0.0.1:0'", "mqtt: {listen: '"+l.Addr().String()+"'", 1))
	if a, err = New(taken, Options{}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("run: %v", err)
	}
}

func TestRunEndsCleanlyWhenItIsStoppedAtOnce(t *testing.T) {
	a, err := New(config(t, t.TempDir(), plain), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestEveryMistakeOfSourcesRulesAndUsersIsReportedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rules.yaml": "groups: [{name: g, rules: [{alert: A, expr: nonsense(}]}]\n",
		"users.yaml": "users: [{nam: x}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config(t, dir, "mqtt: {listen: '127.0.0.1:0', users_file: users.yaml}\nsources: [{name: p, topic: 'p/#/{device}'}]\nrules: [rules.yaml]\n")
	_, err := Check(c)
	var list strict.Errors
	if !errors.As(err, &list) {
		t.Fatalf("check: %v", err)
	}
	for _, file := range []string{"weir.yaml:2:", "rules.yaml:1:", "users.yaml:1:"} {
		if !strings.Contains(err.Error(), file) {
			t.Errorf("nothing about %s in\n%v", file, err)
		}
	}
}

func TestTheAddressOfTheAPIIsOneThatCanBeCalled(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "0.0.0.0:8080": "127.0.0.1:8080", "[::]:8080": "127.0.0.1:8080",
		"192.168.1.7:80": "192.168.1.7:80", "": "",
	} {
		c := config(t, t.TempDir(), plain)
		c.HTTP.Listen.Value = listen
		if got, err := APIAddr(c); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", listen, got, err, want)
		}
	}
}
