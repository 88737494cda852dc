package bench

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/simulator/endpoint"
	"weir/simulator/wire"
)

func TestARunOverTLSTrustsTheAuthoritiesItIsGivenAndNoOthers(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1
	defer server.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	broker := "ssl://" + serve(t, listener, accepted(wire.V311), func(_ int, id uint16, _ bool) ([]byte, error) {
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	cfg := single(broker, 2000, wire.V311)
	if _, err := Run(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its authority: Run = %v, want its certificate refused", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg.Endpoint.TLS, err = endpoint.LoadTLS(ca, "", ""); err != nil {
		t.Fatal(err)
	}
	if result, err := Run(t.Context(), cfg, nil); err != nil || result.Acked != 2000 {
		t.Errorf("with it: Run = %+v, %v; want 2000 acked", result, err)
	}
}
