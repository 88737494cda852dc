package exchange

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longest bounds what a receiver can ask for: it is asked again after this.
const longest = time.Hour

// Transport returns a transport that keeps so many connections to a host when
// they are idle. A nil tls.Config is the system's.
func Transport(t *tls.Config, idle int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     t,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
	}
}

// NoRedirects is a client's CheckRedirect: what is sent, and what authorises it,
// stays with the host that was configured, and a POST that has become a GET
// delivers nothing though its answer would pass for success.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// CheckHeaders returns what is wrong with the headers of a config.
func CheckHeaders(headers map[string]string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if name == "" || strings.ContainsAny(name, " \t\r\n:()<>@,;\\\"/[]?={}") {
			errs = append(errs, fmt.Errorf("headers: %q is not the name of a header", name))
		}
		if strings.ContainsAny(headers[name], "\r\n\x00") {
			errs = append(errs, fmt.Errorf("headers: the value of %q has a line break", name))
		}
	}
	return errs
}

// SetHeaders gives a request the headers of a config, Host among them.
func SetHeaders(req *http.Request, headers map[string]string) {
	for name, value := range headers {
		req.Header.Set(name, value)
		if strings.EqualFold(name, "Host") {
			req.Host = value
		}
	}
}

// Said returns what an answer says to people: its status and the start of its
// body, which is n bytes long at the most.
func Said(resp *http.Response, body []byte, n int) string {
	said := resp.Status
	if t := strings.TrimSpace(string(body)); t != "" {
		said += ": " + Clip(strings.ToValidUTF8(t, "?"), n)
	}
	return said
}

// Clip returns the first n bytes of a text, and marks that it is longer.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// RetryAfter returns how long a receiver wants to be left alone: what its header
// Retry-After says in seconds or as a date, an hour at the most; 0 if there is
// none, or none that can be read.
func RetryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	var d time.Duration
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 {
		d = time.Duration(min(s, longest.Seconds()) * float64(time.Second))
	} else if t, err := http.ParseTime(text); err == nil {
		d = time.Until(t)
	}
	return max(0, min(d, longest))
}

// WithoutAddress returns why a request failed without the whole address that
// package http says with it: it may hold a secret.
func WithoutAddress(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
