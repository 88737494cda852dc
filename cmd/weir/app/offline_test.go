package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/configs/strict"
)

func TestLookingWithAnotherConfigLeavesTheLogAsItIs(t *testing.T) {
	dir := t.TempDir()
	c := config(t, dir, plain+"log: {partitions: 2, retention: {max_age: 30d, max_bytes: 1GiB}}\n")
	a, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Close()
	files, err := filepath.Glob(filepath.Join(c.DataDir.Value, "log", "jetstream", "*", "streams", "*", "meta.inf"))
	if err != nil || len(files) < 5 {
		t.Fatalf("configs of streams %v, %v", files, err)
	}
	before := map[string][]byte{}
	for _, f := range files {
		if before[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	other := config(t, dir, plain+"log: {partitions: 5, retention: {max_age: 1h, max_bytes: 16MiB}}\n")
	o, err := OpenOffline(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	for _, f := range files {
		if after, err := os.ReadFile(f); err != nil || !bytes.Equal(before[f], after) {
			t.Errorf("%s has changed from\n%s\nto\n%s (%v)", f, before[f], after, err)
		}
	}
	if a, err = New(other, Options{}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var list strict.Errors
	if err := a.Open(t.Context()); !errors.As(err, &list) || !strings.Contains(err.Error(), "weir.yaml:4:7: log.partitions is 5, but the log was made with 2") {
		t.Errorf("run with other partitions: %v", err)
	}
}
