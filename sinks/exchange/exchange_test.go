package exchange_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"weir/sinks/exchange"
)

func TestRetryAfterIsSecondsOrADateAndAnHourAtTheMost(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"7", 7 * time.Second}, {"0", 0}, {"-5", 0}, {"1.5", 1500 * time.Millisecond},
		{"86400", time.Hour}, {"99999999999999999999", time.Hour}, {"Inf", time.Hour}, {"NaN", 0}, {"soon", 0},
		{time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		{time.Now().Add(365 * 24 * time.Hour).UTC().Format(http.TimeFormat), time.Hour},
	} {
		if got := exchange.RetryAfter(http.Header{"Retry-After": {tt.header}}); got != tt.want {
			t.Errorf("RetryAfter(%q) = %v, want %v", tt.header, got, tt.want)
		}
	}
	d := exchange.RetryAfter(http.Header{"Retry-After": {time.Now().Add(30 * time.Minute).UTC().Format(http.TimeFormat)}})
	if d < 15*time.Minute || d > 30*time.Minute {
		t.Errorf("a date in 30m is %v", d)
	}
}

func TestSaidIsTheStatusAndTheStartOfTheBody(t *testing.T) {
	resp := &http.Response{Status: "400 Bad Request"}
	for _, tt := range []struct{ body, want string }{
		{"", "400 Bad Request"},
		{" \n", "400 Bad Request"},
		{"no such label\n", "400 Bad Request: no such label"},
		{"a\xffb", "400 Bad Request: a?b"},
		{strings.Repeat("x", 30), "400 Bad Request: " + strings.Repeat("x", 20) + "..."},
		{strings.Repeat("x", 19) + "é", "400 Bad Request: " + strings.Repeat("x", 19) + "..."}, // é has two bytes
	} {
		if got := exchange.Said(resp, []byte(tt.body), 20); got != tt.want {
			t.Errorf("Said(%q) = %q, want %q", tt.body, got, tt.want)
		}
	}
}

func TestAFailureDoesNotSayTheAddress(t *testing.T) {
	_, err := http.Get("http://127.0.0.1:1/hook?token=secret")
	var ue *url.Error
	if !errors.As(err, &ue) {
		t.Fatalf("a request to nobody ended with %v", err)
	}
	if got := exchange.WithoutAddress(err); got == nil || strings.Contains(got.Error(), "secret") {
		t.Errorf("WithoutAddress = %v", got)
	}
	own := errors.New("own")
	if got := exchange.WithoutAddress(own); got != own {
		t.Errorf("WithoutAddress of another error = %v", got)
	}
}

func TestHeadersAreCheckedAndSet(t *testing.T) {
	errs := exchange.CheckHeaders(map[string]string{"X-Good": "yes", "": "a", "b c": "d", "X-Broken": "a\r\nb"})
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	want := `headers: "" is not the name of a header; headers: the value of "X-Broken" has a line break; headers: "b c" is not the name of a header`
	if got := strings.Join(texts, "; "); got != want {
		t.Errorf("CheckHeaders = %s\nwant %s", got, want)
	}
	req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
	exchange.SetHeaders(req, map[string]string{"host": "plant.example", "X-Key": "k"})
	if req.Host != "plant.example" || req.Header.Get("X-Key") != "k" {
		t.Errorf("host = %q, X-Key = %q", req.Host, req.Header.Get("X-Key"))
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer srv.Close()
	c := &http.Client{Transport: exchange.Transport(nil, 1), CheckRedirect: exchange.NoRedirects}
	defer c.CloseIdleConnections()
	resp, err := c.Post(srv.URL, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("status = %s, want the redirect itself", resp.Status)
	}
}
