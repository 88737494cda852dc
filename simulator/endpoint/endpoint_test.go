package endpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddressesAreUnderstoodOrRefused(t *testing.T) {
	for _, tt := range []struct {
		broker, address string
		secure          bool
	}{
		{"tcp://127.0.0.1:1883", "127.0.0.1:1883", false},
		{"127.0.0.1", "127.0.0.1:1883", false},
		{"mqtt://host", "host:1883", false},
		{"ssl://host", "host:8883", true},
		{"mqtts://host:1", "host:1", true},
		{"tls://[::1]", "[::1]:8883", true},
	} {
		address, secure, err := Endpoint{Broker: tt.broker}.Address()
		if err != nil || address != tt.address || secure != tt.secure {
			t.Errorf("%s: %s %v %v, want %s %v", tt.broker, address, secure, err, tt.address, tt.secure)
		}
	}
	for broker, want := range map[string]string{
		"http://host":          `scheme "http"`,
		"tcp://":               "names no host",
		"tcp://user:pass@host": "not in the address",
		"tcp://host:port":      "not an address",
	} {
		if _, _, err := (Endpoint{Broker: broker}).Address(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", broker, err, want)
		}
		if _, err := (Endpoint{Broker: broker}).URL(); err == nil {
			t.Errorf("%s has a URL", broker)
		}
	}
}

func TestCredentialsAreNotRepeatedInErrors(t *testing.T) {
	for _, broker := range []string{"tcp://user:hunter2@host", "tcp://user:hunter2@host:port", "x://user:hunter2@host", "user:hunter2@host"} {
		_, _, err := Endpoint{Broker: broker}.Address()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v", broker, err)
		}
	}
}

func TestTLSFilesThatDoNotFitAreRefused(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][3]string{
		"authorities that are not there": {filepath.Join(dir, "none.pem"), "", ""},
		"authorities that are junk":      {junk, "", ""},
		"a certificate without a key":    {"", junk, ""},
		"a certificate that is junk":     {"", junk, junk},
	} {
		if _, err := LoadTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if cfg, err := LoadTLS("", "", ""); cfg != nil || err != nil {
		t.Errorf("no files: %v, %v; want nothing", cfg, err)
	}
}
