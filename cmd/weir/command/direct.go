package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// direct is a transport that answers requests by calling a handler, which
// streams: what it writes can be read before it has ended.
type direct struct{ h http.Handler }

// RoundTrip returns when the handler has sent its header. The handler has ended
// when the body has been closed.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	pr, pw := io.Pipe()
	w := &pipeWriter{pw: pw, header: http.Header{}, ready: make(chan struct{})}
	body := &answer{PipeReader: pr, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(body.done)
		defer func() {
			if p := recover(); p != nil {
				pw.CloseWithError(fmt.Errorf("%s %s panicked: %v", r.Method, r.URL.Path, p))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		d.h.ServeHTTP(w, r.WithContext(ctx))
		w.WriteHeader(http.StatusOK)
		pw.Close()
	}()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	if err := r.Context().Err(); err != nil { // a handler that it ended may have sent a header that says nothing
		body.Close()
		return nil, err
	}
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprint(w.status, " ", http.StatusText(w.status)), Header: w.header, Body: body,
		ContentLength: -1, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// answer is the body of a response of direct.
type answer struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{} // closed when the handler has returned
}

// Close ends the handler, if it has not ended, and waits for it.
func (a *answer) Close() error {
	a.cancel()
	err := a.PipeReader.Close()
	<-a.done
	return err
}

// pipeWriter is the http.ResponseWriter of direct.
type pipeWriter struct {
	pw     *io.PipeWriter
	header http.Header
	once   sync.Once
	status int // set before ready is closed
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status = status
		close(w.ready)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pw.Write(b)
}

// Flush has nothing to do: a pipe holds nothing back.
func (w *pipeWriter) Flush() {}
