// Command mochi is a stock mochi-mqtt broker: no options, every client allowed,
// nothing behind it. The end-to-end benchmark measures it beside weir, which is
// built on the same library, to show what durability and the rest cost.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:1883", "`ADDRESS` to listen on")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mochi: %q: no arguments are taken\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*listen, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "mochi:", err)
		os.Exit(1)
	}
}

// run serves until the process is interrupted or told to terminate.
func run(listen string, stderr io.Writer) (err error) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)

	// The logger is set for quiet only: a line a connection would cost it time.
	quiet := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	server := mqtt.New(&mqtt.Options{Logger: quiet})
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return fmt.Errorf("allow every client: %w", err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: listen})
	if err := server.AddListener(tcp); err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	if err := server.Serve(); err != nil { // it returns once the listeners serve
		return fmt.Errorf("serve MQTT: %w", err)
	}
	fmt.Fprintf(stderr, "listening on %s\n", tcp.Address())
	<-stop
	return nil
}
