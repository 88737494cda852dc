package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is the log server inside the process, and what opens it again after
// a write error.
//
// A stream that meets a write error, such as a full disk, takes no more appends
// and answers none, for as long as the server lives. So the server is shut down
// and started anew; clients reach it by InProcessConn and connect again by
// themselves. What was acknowledged is on disk and is read back.
type embedded struct {
	opts server.Options
	dir  string
	log  *slog.Logger

	trouble chan struct{} // capacity 1: the server has logged an error
	stop    chan struct{} // closed by close
	done    chan struct{} // closed when watch has ended

	mu     sync.Mutex
	ns     *server.Server // nil while there is none
	broken error          // why there is none that works, or nil
	closed bool
}

// checkEvery is how often the server is asked for its health when it says nothing.
const checkEvery = 5 * time.Second

// reopenEvery is the least time between two times that the server is opened
// again for another reason than a full disk: a store that is damaged for good
// must not keep the others from working.
const reopenEvery = time.Minute

// startEmbedded starts the server and what watches over it.
func startEmbedded(opts server.Options, dir string, log *slog.Logger) (*embedded, error) {
	e := &embedded{opts: opts, dir: dir, log: log, trouble: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if err := e.start(); err != nil {
		return nil, err
	}
	go e.watch() // ended by close, which waits for it
	return e, nil
}

func (e *embedded) start() error {
	if err := prepare(e.opts.StoreDir, e.log); err != nil {
		return err
	}
	opts := e.opts // the server completes its own copy
	ns, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("start the embedded log server: %w", err)
	}
	ns.SetLoggerV2(&serverLogger{log: e.log.With("component", "jetstream"), trouble: e.trouble}, false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(60*time.Second) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		return fmt.Errorf("start the embedded log server in %s: it is not ready", e.dir)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		ns.Shutdown()
		return errors.New("start the embedded log server: it was closed meanwhile")
	}
	e.ns, e.broken = ns, nil
	return nil
}

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	ns := e.ns
	e.mu.Unlock()
	if ns == nil {
		return nil, errors.New("the embedded log server is being opened again")
	}
	return ns.InProcessConn()
}

// err returns why the server takes no appends now, or nil.
func (e *embedded) err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.broken
}

// watch opens the server again whenever a stream of it has given up.
func (e *embedded) watch() {
	defer close(e.done)
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	var reopened time.Time
	for {
		select {
		case <-e.stop:
			return
		case <-e.trouble:
		case <-t.C:
		}
		if err := e.sick(); err != nil && (e.fullDisk(err) || time.Since(reopened) > reopenEvery) {
			e.reopen(err)
			reopened = time.Now()
		}
	}
}

// sick returns what is wrong with the server's store, or nil.
func (e *embedded) sick() error {
	e.mu.Lock()
	ns := e.ns
	e.mu.Unlock()
	if !ns.JetStreamEnabled() {
		return errors.New("the server has turned its store off")
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/healthz?details=true", nil)
	if err != nil {
		return nil
	}
	var a answer
	ns.HandleHealthz(&a, r)
	var h server.HealthStatus
	if err := json.Unmarshal(a.body.Bytes(), &h); err != nil {
		return nil
	}
	if h.Error != "" {
		return errors.New(h.Error)
	}
	var all sickStreams
	for _, e := range h.Errors {
		all = append(all, sickStream{e.Stream, e.Error})
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// sickStreams are the streams that take no more appends.
type sickStreams []sickStream

type sickStream struct{ name, cause string }

func (s sickStreams) Error() string {
	var all []string
	for _, one := range s {
		all = append(all, one.cause)
	}
	return strings.Join(all, "; ")
}

// repair makes the server read the stores beside the log anew that are damaged,
// which it does when their index is gone: what stands behind the damage in the
// same file is dropped. That they can't be written to is worse: cursors, learnt
// types and retained messages are derived or come again. The log itself is
// never treated so.
func (e *embedded) repair(cause error) {
	var all sickStreams
	if !errors.As(cause, &all) {
		return
	}
	for _, s := range all {
		if !besideTheLog(s.name) {
			continue
		}
		if err := forgetIndex(filepath.Join(e.opts.StoreDir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", s.name, "msgs")); err != nil {
			e.log.Error("a damaged store was not repaired", "store", s.name, "err", err)
			continue
		}
		e.log.Error("a store beside the log is damaged: it is read anew, and what stands behind the damage is dropped", "store", s.name)
	}
}

// besideTheLog reports whether a stream holds what is derived from the log, or
// comes again.
func besideTheLog(stream string) bool {
	return strings.HasPrefix(stream, "KV_") || strings.HasPrefix(stream, "OBJ_")
}

// reopen shuts the server down and starts it again as soon as that can work.
func (e *embedded) reopen(cause error) {
	e.mu.Lock()
	old := e.ns
	e.ns, e.broken = nil, e.describe(cause)
	err := e.broken
	e.mu.Unlock()
	e.log.Error("the log's store met a write error: publishers are held back and it is opened again as soon as it can be", "err", err)
	old.Shutdown()
	old.WaitForShutdown()
	if !e.fullDisk(cause) {
		e.repair(cause)
	}
	began := time.Now()
	for {
		if err = e.reopenable(); err == nil {
			if err = e.start(); err == nil {
				break
			}
			e.log.Error("the log's store did not open", "err", err)
		}
		e.mu.Lock()
		e.broken = e.describe(err)
		e.mu.Unlock()
		select {
		case <-e.stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
	select { // what the old server had to say is done with
	case <-e.trouble:
	default:
	}
	e.log.Info("the log's store is open again", "after", time.Since(began).Round(time.Millisecond))
}

// roomToOpen is how much must be free before the server is started on a disk
// that was full: it writes its index, and a start that fails takes seconds.
const roomToOpen = 4 << 20

func (e *embedded) reopenable() error {
	free, err := freeBytes(e.dir)
	if err == nil && free < roomToOpen+int64(e.opts.MaxPayload) {
		err = &ErrDiskFull{Dir: e.dir, Free: free, Need: roomToOpen + int64(e.opts.MaxPayload)}
	}
	return err
}

// describe names the full disk where that is the cause, which the server does
// in its own words.
func (e *embedded) describe(cause error) error {
	var full *ErrDiskFull
	if errors.As(cause, &full) {
		return cause
	}
	if err := e.reopenable(); err != nil {
		return fmt.Errorf("%w (%v)", err, cause)
	}
	return fmt.Errorf("write to the log in %s: %w", e.dir, cause)
}

func (e *embedded) fullDisk(cause error) bool {
	return e.reopenable() != nil || strings.Contains(cause.Error(), syscall.ENOSPC.Error())
}

// close ends the server and what watches over it.
func (e *embedded) close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	e.mu.Unlock()
	close(e.stop)
	<-e.done
	if e.ns != nil { // nobody else writes it now
		e.ns.Shutdown()
		e.ns.WaitForShutdown()
	}
}

// answer is an http.ResponseWriter that keeps the body.
type answer struct {
	body   bytes.Buffer
	header http.Header
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) WriteHeader(int) {}

// serverLogger passes on what the embedded server has to say. Notices are
// debug messages here: an operator of weir runs no NATS server that they know of.
type serverLogger struct {
	log     *slog.Logger
	trouble chan<- struct{}
}

func (s *serverLogger) Noticef(f string, v ...any) { s.log.Debug(fmt.Sprintf(f, v...)) }
func (s *serverLogger) Warnf(f string, v ...any)   { s.log.Warn(fmt.Sprintf(f, v...)) }
func (s *serverLogger) Fatalf(f string, v ...any)  { s.Errorf(f, v...) }
func (s *serverLogger) Debugf(string, ...any)      {}
func (s *serverLogger) Tracef(string, ...any)      {}

// Errorf also asks for a look at the server's health: a write error is noticed
// at once.
func (s *serverLogger) Errorf(f string, v ...any) {
	s.log.Error(fmt.Sprintf(f, v...))
	select {
	case s.trouble <- struct{}{}:
	default:
	}
}
