package fault

import (
	"os"
	"testing"

	"weir/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// warmRules has alerts that come and go with a few of the load's events.
const warmRules = `
groups:
  - name: cold
    match: {source: bench}
    rules:
      - alert: Warm
        expr: temperature > -16.15
`
