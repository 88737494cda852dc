package fault

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"weir/test/process"
)

func TestAHangupMakesAServiceLookAtItsRuleFiles(t *testing.T) {
	w := process.New(t, process.Setup{Rules: map[string]string{"cold.yaml": warmRules}})
	w.Start(t)
	says := func(text string, n int) {
		t.Helper()
		process.Eventually(t, fmt.Sprintf("the log says %q %d times", text, n), func() error { return atLeast(len(w.Log(text)), n) })
	}
	w.Proc().Signal(syscall.SIGHUP)
	says("the rule files are looked at", 1)

	const refused = "rules were not reloaded"
	w.WriteRules(t, "cold.yaml", strings.Replace(warmRules, "expr:", "exprr:", 1))
	says(refused, 1)
	if out := w.MustCLI(t, "rules", "list"); !strings.Contains(out, "cold/Warm") || !strings.Contains(out, "the rule files are refused since ") || !strings.Contains(out, "cold.yaml:7:9: unknown key \"exprr\"") {
		t.Errorf("weir rules list says\n%s", out)
	}
	n := len(w.Log(refused))
	w.Proc().Signal(syscall.SIGHUP) // who asks is told again
	says(refused, n+1)

	w.WriteRules(t, "cold.yaml", strings.Replace(warmRules, "alert: Warm", "alert: Warmer", 1))
	w.Proc().Signal(syscall.SIGHUP)
	says("rules reloaded", 1)
	process.Eventually(t, "they are in force", func() error { // when their record has come through the log
		if out := w.MustCLI(t, "rules", "list"); !strings.Contains(out, "cold/Warmer") || strings.Contains(out, "refused") {
			return fmt.Errorf("weir rules list says\n%s", out)
		}
		return nil
	})
	w.Stop(t)
}
