package console

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

func TestPagesOfOtherSitesAreRefusedAndProxiesAreNot(t *testing.T) {
	h := New(Deps{})
	for name, tt := range map[string]struct {
		method string
		header []string
		want   int
	}{
		"a program":            {"GET", nil, 200},
		"a program that posts": {"POST", nil, 405},
		"a page of its own":    {"GET", []string{"Host", "weir:8080", "Origin", "http://weir:8080"}, 200},
		"a page of its own, by what the browser says":    {"POST", []string{"Host", "10.0.0.1:8080", "Origin", "https://weir.example.com", "Sec-Fetch-Site", "same-origin"}, 405},
		"behind a proxy that passes the host on":         {"POST", []string{"Host", "weir.example.com", "Origin", "https://weir.example.com"}, 405},
		"behind a proxy that says the host":              {"POST", []string{"Host", "127.0.0.1:8080", "Origin", "https://weir.example.com", "X-Forwarded-Host", "weir.example.com"}, 405},
		"a link from another site":                       {"GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"an address that was typed":                      {"GET", []string{"Sec-Fetch-Site", "none"}, 200},
		"a page of another site":                         {"GET", []string{"Host", "weir:8080", "Origin", "http://evil.example"}, 403},
		"a page of another port":                         {"GET", []string{"Host", "weir:8080", "Origin", "http://weir:3000"}, 403},
		"a form of another site":                         {"POST", []string{"Host", "weir:8080", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		"a form of another site that hides where":        {"POST", []string{"Host", "weir:8080", "Origin", "null"}, 403},
		"a form that says only that it is another site":  {"POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"an empty host in the origin and none forwarded": {"POST", []string{"Host", "", "Origin", "file://"}, 403},
	} {
		if status, body := do(t, h, tt.method, "/healthz", tt.header...); status != tt.want {
			t.Errorf("%s: %d %s, want %d", name, status, body, tt.want)
		}
	}
}

func TestANameThatWasReboundToThisMachineIsRefused(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	loopback, lan := net.IPv4(127, 0, 0, 1), net.IPv4(192, 168, 1, 7)
	for name, tt := range map[string]struct {
		local net.IP
		host  string
		want  int
	}{
		"localhost":              {loopback, "localhost:8080", 200},
		"a name below localhost": {loopback, "weir.localhost:8080", 200},
		"an address":             {loopback, "127.0.0.1:8080", 200},
		"an IPv6 address":        {net.IPv6loopback, "[::1]:8080", 200},
		"a name of the local network without a dot":     {loopback, "weir:8080", 200},
		"this machine's name":                           {loopback, own + ":8080", 200},
		"a proxy here that passes the host on":          {loopback, "weir.example.com", 200},
		"a proxy here on another port":                  {loopback, "weir.example.com:8443", 200},
		"Prometheus over the network":                   {lan, "weir.plant.example.com:8080", 200},
		"a page whose name came to stand for this host": {loopback, "evil.example:8080", 403},
		"the same over IPv6":                            {net.IPv6loopback, "evil.example:8080", 403},
		"the same with a dot at the end":                {loopback, "evil.example.:8080", 403},
		"the same in capitals":                          {loopback, "EVIL.EXAMPLE:8080", 403},
	} {
		r := httptest.NewRequest("GET", "/healthz", nil)
		r.Host = tt.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: tt.local, Port: 8080}))
		w := httptest.NewRecorder()
		New(Deps{}).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tt.want)
		}
	}
}
