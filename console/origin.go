package console

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// The API has no credentials, so all that an attacker needs is to reach it, and
// a browser on this machine or in this network can be made to. Two checks stand
// against that; programs (curl, Prometheus, weir itself) and reverse proxies
// pass both without any setting.

// sameOrigin refuses what a page of another site makes a browser send. A
// browser says so itself in Sec-Fetch-Site or Origin, which pages can't forge;
// programs send neither. Behind a proxy that names another Host to us than the
// browser named to it, the proxy's X-Forwarded-Host counts: a page of another
// site can't send that header, since we answer no preflight.
func sameOrigin(r *http.Request) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return nil
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		if r.Header.Get("Sec-Fetch-Site") == "" || r.Method == http.MethodGet || r.Method == http.MethodHead {
			return nil // a program, or a link that was followed
		}
		origin = "of another site"
	} else if u, err := url.Parse(origin); err == nil && u.Host != "" && (u.Host == r.Host || u.Host == r.Header.Get("X-Forwarded-Host")) {
		return nil
	}
	return fmt.Errorf("origin %q is not this server: the API is for its own pages and for programs", origin)
}

// rebound refuses DNS rebinding: a page of evil.example:8080 whose name comes to
// stand for 127.0.0.1 is same-origin to the browser, and only the Host that it
// sends betrays it.
//
// The rule: a connection over the loopback interface may not name our own port
// together with a name of the public DNS. The port is what tells an attack from
// a proxy: the page's port must be ours for the browser to get here, while a
// proxy on this machine passes on the host and port that it listens on itself,
// which are not ours. Connections over other interfaces may name us in any way,
// since Prometheus and load balancers do: do not let browsers reach weir there.
func rebound(r *http.Request) error {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return nil
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if port != fmt.Sprint(local.Port) || net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return nil
	}
	if own, err := os.Hostname(); err == nil && strings.EqualFold(own, host) {
		return nil
	}
	return fmt.Errorf("host %q is not a name of this machine: use http://localhost:%s, its address, or a reverse proxy", r.Host, port)
}
