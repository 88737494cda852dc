package app

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"weir/configs"
)

// apiFile is the file in the data directory that says where the API of the
// weir that runs on it is: the config may say another address by now, or :0.
const apiFile = "api"

// noteAPI writes the file. In a cluster there is no data directory to put it in.
func (a *App) noteAPI() error {
	if !a.cfg.Log.Embedded() {
		return nil
	}
	name := filepath.Join(a.cfg.DataDir.Value, apiFile)
	if err := os.WriteFile(name, []byte(a.listener.Addr().String()+"\n"), 0o640); err != nil {
		return fmt.Errorf("note the address of the API in the data directory: %w", err)
	}
	return nil
}

// forgetAPI removes the file. One that stays behind is harmless: it is looked
// at only while the data directory is locked.
func (a *App) forgetAPI() {
	if a.cfg.Log.Embedded() {
		os.Remove(filepath.Join(a.cfg.DataDir.Value, apiFile))
	}
}

// APIAddr returns the address, host:port, at which the weir that runs with a
// config answers on this machine: the one that it noted, or else that of the
// config. It is "" if there is none.
func APIAddr(cfg *configs.Config) (string, error) {
	addr := cfg.HTTP.Listen.Value
	if cfg.Log.Embedded() {
		if b, err := os.ReadFile(filepath.Join(cfg.DataDir.Value, apiFile)); err == nil {
			addr = strings.TrimSpace(string(b))
		}
	}
	if addr == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address of the API %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
