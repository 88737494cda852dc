package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"weir/simulator/sink"
)

func runSink(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var cfg sink.Config
	fs := newFlagSet("sink", "simulator sink takes InfluxDB line protocol over HTTP (/write, /api/v2/write, /ping, /health) and counts it.\nGET /stats answers with the counts, POST /reset clears them.",
		"simulator sink --listen 127.0.0.1:8086 --distinct")
	fs.StringVar(&cfg.Listen, "listen", "127.0.0.1:8086", "`ADDRESS` to listen on")
	fs.BoolVar(&cfg.Distinct, "distinct", false, "count distinct points too: measurement, tags and time")
	fs.DurationVar(&cfg.Fault.Delay, "delay", 0, "wait this long before each answer")
	fs.IntVar(&cfg.Fault.Status, "status", 0, "answer writes with this HTTP status instead of 204")
	fs.DurationVar(&cfg.Fault.For, "fail-for", 0, "answer with --status (or 503) only this long from the start")
	fs.DurationVar(&cfg.Fault.RetryAfter, "retry-after", 0, "Retry-After of such answers")
	fs.Int64Var(&cfg.MaxBody, "max-body", 64<<20, "refuse writes of more `BYTES`, unzipped")
	record := fs.String("record", "", "append every write that is taken to `FILE`")
	if err := fs.parse(args, stdout); err != nil {
		return err
	}
	if cfg.Fault.For > 0 && cfg.Fault.Status == 0 {
		cfg.Fault.Status = 503
	}
	if s := cfg.Fault.Status; s != 0 && (s < 200 || s > 599) {
		return &usageError{msg: fmt.Sprintf("sink: --status %d is not between 200 and 599", s)}
	}
	if cfg.MaxBody < 1 || cfg.Fault.Delay < 0 || cfg.Fault.For < 0 || cfg.Fault.RetryAfter < 0 {
		return &usageError{msg: "sink: times and sizes must not be negative, and --max-body not 0"}
	}
	if *record != "" {
		file, ferr := os.OpenFile(*record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if ferr != nil {
			return fmt.Errorf("open the file to record to: %w", ferr)
		}
		w := bufio.NewWriterSize(file, 1<<20)
		cfg.Record = w
		defer func() { err = errors.Join(err, w.Flush(), file.Close()) }()
	}
	server := sink.New(cfg)
	if err := server.Open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	fmt.Fprintf(stderr, "listening on %s\n", server.URL())
	if err := server.Run(ctx); err != nil {
		return err
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(server.Stats())
}
