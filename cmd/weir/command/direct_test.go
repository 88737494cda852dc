package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func offline(h http.HandlerFunc) *client {
	return &client{http: &http.Client{Transport: direct{h}}, base: "http://offline", close: func() {}}
}

func TestADirectAnswerStreams(t *testing.T) {
	next := make(chan struct{})
	c := offline(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "one", r.URL.Query().Get("q"))
		<-next
		fmt.Fprintln(w, "two")
	})
	body, err := c.do(t.Context(), http.MethodGet, "/x", url.Values{"q": {"a b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	r := bufio.NewReader(body)
	if line, err := r.ReadString('\n'); line != "one a b\n" || err != nil {
		t.Errorf("first line %q, %v", line, err)
	}
	close(next)
	if rest, err := io.ReadAll(r); string(rest) != "two\n" || err != nil {
		t.Errorf("rest %q, %v", rest, err)
	}
}

func TestClosingADirectAnswerEndsItsHandler(t *testing.T) {
	ended := make(chan struct{})
	c := offline(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		fmt.Fprintln(w, "one")
		<-r.Context().Done() // a follower with nothing to say
	})
	body, err := c.do(t.Context(), http.MethodGet, "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("the handler works on though its answer is closed: the log is closed under it next")
	}
}

func TestADirectRequestEndsWithItsContextBeforeTheHeaderToo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := offline(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.do(ctx, http.MethodGet, "/x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAHandlerThatPanicsIsAnErrorAndNoCrash(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"before the header": func(http.ResponseWriter, *http.Request) { panic("oops") },
		"half-way":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"a":`); panic("oops") },
	} {
		var v any
		if _, err := offline(h).get(t.Context(), "/x", nil, &v); err == nil || !strings.Contains(err.Error(), "panicked: oops") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestErrorsOfTheAPIAreToldInItsWords(t *testing.T) {
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"an error of weir's": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no device \"x\""}`)
		}, `no device "x"`},
		"an answer of something else": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>", http.StatusBadGateway)
		}, "answered 502 Bad Gateway to GET /x: is that address weir's?"},
	} {
		if _, err := offline(tt.h).do(t.Context(), http.MethodGet, "/x", nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	// An error in the last line of a stream ends it; one that is part of a line does not.
	c := offline(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"position":"0/1/0/0","kind":"message","error":"no JSON"}`+"\n"+`{"id":"a/0/1/0","error":"no"}`+"\n"+`{"error":"disk on fire"}`+"\n")
	})
	n := 0
	err := c.each(t.Context(), http.MethodGet, "/x", nil, func([]byte) error { n++; return nil })
	if n != 2 || err == nil || err.Error() != "disk on fire" {
		t.Errorf("%d lines, then %v", n, err)
	}
}
