package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"weir/configs/strict"
)

// settleTime is how long after the last change of a file the rules are read:
// editors write in several steps.
const settleTime = 200 * time.Millisecond

// watchRules puts edited rules, and edited tables of devices, in force. A set with any error in it changes
// nothing: the old one keeps running.
func (a *App) watchRules(ctx context.Context) error {
	dirs := a.cfg.RuleDirs()
	if len(dirs) == 0 {
		<-ctx.Done()
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the rule files: %w", err)
	}
	defer w.Close()
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			a.log.Warn("rule files are not watched here: restart weir after an edit", "dir", dir, "err", err)
		}
	}
	watched := map[string]bool{}
	for _, dir := range dirs {
		watched[dir] = true
	}
	timer := time.NewTimer(settleTime)
	watch := func(tables []string) { // wherever rule files have them
		for _, name := range tables {
			dir := filepath.Dir(name)
			if watched[dir] {
				continue
			}
			if err := w.Add(dir); err != nil {
				continue // that the table can't be read there is reported
			}
			watched[dir] = true
			timer.Reset(settleTime) // it may have changed since it was read
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if e.Op != fsnotify.Chmod {
				timer.Reset(settleTime)
			}
		case err := <-w.Errors:
			a.log.Warn("watching the rule files failed once; they are read again", "err", err)
			timer.Reset(settleTime)
		case <-timer.C:
			watch(a.reloadRules(ctx))
		}
	}
}

// refuse reports rule files that are wrong, unless that is known: they are read
// again whenever a file beside them changes, which may be the log of this.
func (a *App) refuse(read *readRules, err error) {
	refusal := sha256.Sum256(append(read.sum[:], err.Error()...))
	if refusal == a.refusal {
		return
	}
	a.refusal = refusal
	a.counts.reloadErrors.Add(1)
	a.counts.refused.Store(true)
	var list strict.Errors
	if !errors.As(err, &list) {
		a.log.Error("rules were not reloaded: the old set keeps running", "err", err)
		return
	}
	for _, e := range list {
		a.log.Error("rules were not reloaded: the old set keeps running", "at", e.Error(), "hint", e.Hint)
	}
}

// reloadRules reads the rule files and, if they are right as a whole and say
// something new, writes the set into every partition. It returns the names of
// the tables that they name.
func (a *App) reloadRules(ctx context.Context) []string {
	set, read, err := loadRules(a.cfg)
	tables := read.tables
	if err == nil {
		err = a.checkRecord(set)
	}
	if err != nil {
		a.refuse(&read, err)
		return tables
	}
	a.refusal = [sha256.Size]byte{}
	if set.Hash() == a.rulers[0].want.Load().Hash() {
		if a.counts.refused.Swap(false) {
			a.log.Info("rules are right again: they are those in force", "rules", set.Len(), "hash", set.Hash())
		}
		return tables
	}
	for _, c := range a.rulers {
		c.want.Store(set)
		if err := c.enact(ctx, set); err != nil {
			a.counts.reloadErrors.Add(1)
			a.counts.refused.Store(true)
			a.log.Error("rules were not reloaded in a partition", "partition", c.partition.ID(), "err", err)
			return tables
		}
	}
	a.counts.reloads.Add(1)
	a.counts.refused.Store(false)
	a.log.Info("rules reloaded", "rules", set.Len(), "hash", set.Hash())
	return tables
}
