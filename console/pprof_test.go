package console

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProfilesAreServedOnlyWhereAskedFor(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := New(Deps{Pprof: on})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/symbol"} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			want := http.StatusNotFound
			if on {
				want = http.StatusOK
			}
			if w.Code != want {
				t.Errorf("pprof %v: GET %s gives %d, want %d", on, path, w.Code, want)
			}
		}
	}
}
