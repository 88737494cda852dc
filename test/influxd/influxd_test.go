package influxd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAServerKeepsItsAddressAndDataOverAnOutage(t *testing.T) {
	srv := Start(t)
	srv.CreateDatabase(t, "plant")
	write(t, srv, "plant", "m,device=a v=1 1\nm,device=b v=2.5 2")
	srv.Stop(t)
	if _, err := srv.TryQuery("plant", "SELECT * FROM m"); err == nil {
		t.Fatal("a stopped server answered")
	}
	srv.Restart(t)
	write(t, srv, "plant", "m,device=c v=3 3")
	srv.Kill(t)
	srv.Restart(t)
	if n := srv.Count(t, "plant", "m", "v"); n != 3 {
		t.Errorf("points after two outages = %d, want 3", n)
	}
	rows := srv.Query(t, "plant", "SELECT v, device FROM m WHERE device = 'b'")
	if len(rows) != 1 || fmt.Sprintf("%v %v %v", rows[0]["v"], rows[0]["device"], rows[0]["time"]) != "2.5 b 2" {
		t.Errorf("rows of device b = %v", rows)
	}
}

func TestAServerWithAuthAsksForAUser(t *testing.T) {
	srv := Start(t, WithAuth())
	srv.CreateDatabase(t, "plant")
	srv.CreateUser(t, "writer", "secret", "plant")
	for auth, want := range map[string]int{"": 401, "writer:wrong": 401, "writer:secret": 204, Admin + ":" + AdminPassword: 204} {
		req, _ := http.NewRequest("POST", srv.URL()+"/api/v2/write?bucket=plant/", strings.NewReader("m v=1 1"))
		if auth != "" {
			req.Header.Set("Authorization", "Token "+auth)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("write as %q: status %d, want %d", auth, resp.StatusCode, want)
		}
	}
}

func write(t *testing.T, srv *Server, db, lines string) {
	t.Helper()
	resp, err := http.Post(srv.URL()+"/write?db="+db, "text/plain", strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("write: %s", resp.Status)
	}
}
