package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"weir/configs/strict"
	"weir/console"
)

// settleTime is how long after the last change of a file the rules are read:
// editors write in several steps.
const settleTime = 200 * time.Millisecond

// settleMost is how long that may put off reading them: something else may
// write to a folder of theirs all the time.
const settleMost = 2 * time.Second

// settling waits until edits have come to an end.
type settling struct {
	*time.Timer
	since time.Time // of the first change that was not read, zero if there is none
}

// changed puts off the timer's end after a change.
func (s *settling) changed(now time.Time) {
	if s.since.IsZero() {
		s.since = now
	}
	s.Reset(max(0, min(settleTime, s.since.Add(settleMost).Sub(now))))
}

// lookTime is how often the folders themselves are looked at. Watches belong to
// a folder, not to its name: one that is moved away, or a link that is turned to
// another, tells nothing of what stands under the name now.
const lookTime = 2 * time.Second

// folders are the folders that are watched for edits.
type folders struct {
	w    *fsnotify.Watcher
	log  *slog.Logger
	seen map[string]os.FileInfo // of a folder that is not there: nil
}

// look begins to watch folders that it has not seen yet, and those that are not
// what they were. It reports whether there were any.
func (f *folders) look(dirs []string) (changed bool) {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		before, known := f.seen[dir]
		switch {
		case err != nil && known && before == nil, err == nil && before != nil && os.SameFile(before, info):
			continue
		case err != nil && !known:
			f.log.Warn("a folder of rule files is not there: it is watched once it is", "dir", dir, "err", err)
		}
		if before != nil {
			_ = f.w.Remove(dir) // its watch is gone already if the folder was removed
		}
		f.seen[dir] = nil
		if changed = true; err != nil {
			continue
		}
		f.seen[dir] = info
		if err := f.w.Add(dir); err != nil {
			f.log.Warn("rule files are not watched here: restart weir after an edit", "dir", dir, "err", err)
		}
	}
	return changed
}

// watchRules puts edited rules, and edited tables of devices, in force. A set with any error in it changes
// nothing: the old one keeps running.
func (a *App) watchRules(ctx context.Context) error {
	if len(a.cfg.RuleDirs()) == 0 {
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-a.opts.Reload:
				a.log.Info("there are no rule files to look at", "signal", s.String())
			}
		}
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the rule files: %w", err)
	}
	defer w.Close()
	f := &folders{w: w, log: a.log, seen: map[string]os.FileInfo{}}
	f.look(a.cfg.RuleDirs())
	var beside []string
	timer := settling{Timer: time.NewTimer(settleTime)}
	ticker := time.NewTicker(lookTime)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if f.look(append(a.cfg.RuleDirs(), beside...)) {
				timer.changed(time.Now())
			}
		case e := <-w.Events:
			if e.Op != fsnotify.Chmod {
				timer.changed(time.Now())
			}
		case s := <-a.opts.Reload:
			a.log.Info("the rule files are looked at", "signal", s.String())
			a.refusal = [sha256.Size]byte{} // who asks is answered, also what is known
			timer.Reset(0)
		case err := <-w.Errors:
			a.log.Warn("watching the rule files failed once; they are read again", "err", err)
			timer.changed(time.Now())
		case <-timer.C:
			timer.since = time.Time{}
			if beside = a.beside(a.reloadRules(ctx, f.seen)); f.look(beside) {
				timer.changed(time.Now()) // it may have changed since it was read
			}
		}
	}
}

// beside returns the other folders whose files the rules are made of: those of
// tables, wherever rule files have them, and those that rule files are links to.
func (a *App) beside(tables []string) (dirs []string) {
	files, _ := a.cfg.RuleFiles() // an error was reported when they were read
	for _, name := range append(files, tables...) {
		if real, err := filepath.EvalSymlinks(name); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
		if dir := filepath.Dir(name); slices.Contains(tables, name) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool {
		_, err := os.Stat(dir)
		return err != nil || slices.Contains(a.cfg.RuleDirs(), dir) // that a table can't be read there is reported
	})
}

// gone refuses to take a folder of rules that was there and is not now, or a file
// of rules in which nothing stands now, for an order to remove the rules: who
// writes them may be half way, or the disk was full.
func (a *App) gone(seen map[string]os.FileInfo, blank []string) error {
	for _, r := range a.rulers[0].want.Load().Rules() {
		if slices.Contains(blank, r.File) {
			return strict.Errors{{File: r.File, Pos: strict.Pos{Line: 1, Col: 1}, Msg: "the file is empty", Hint: "to remove its rules, remove it, or write groups: []"}}
		}
	}
	for _, dir := range a.cfg.RuleDirs() {
		if _, known := seen[dir]; !known {
			continue
		}
		if _, err := os.Stat(dir); err != nil && a.rulers[0].want.Load().Len() > 0 {
			return strict.Errors{{File: dir, Msg: fmt.Sprintf("read rules: %v", err), Hint: "put the folder back; to remove all rules, empty it"}}
		}
	}
	return nil
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
	a.noteRefused(err)
	var list strict.Errors
	if !errors.As(err, &list) {
		a.log.Error("rules were not reloaded: the old set keeps running", "err", err)
		return
	}
	for _, e := range list {
		a.log.Error("rules were not reloaded: the old set keeps running", "at", e.Error(), "hint", e.Hint)
	}
}

// noteRefused keeps why the rule files are not in force, and since when.
func (a *App) noteRefused(err error) {
	r := &console.Refused{Since: time.Now().UTC()}
	if before := a.counts.refused.Load(); before != nil {
		r.Since = before.Since
	}
	var list strict.Errors
	if !errors.As(err, &list) {
		r.Errors = []console.RefusedError{{Error: err.Error()}}
	}
	for _, e := range list {
		r.Errors = append(r.Errors, console.RefusedError{Error: e.Error(), Hint: e.Hint})
	}
	a.counts.refused.Store(r)
}

// reloadRules reads the rule files and, if they are right as a whole and say
// something new, writes the set into every partition. It returns the names of
// the tables that they name. seen are the folders that were watched.
func (a *App) reloadRules(ctx context.Context, seen map[string]os.FileInfo) []string {
	set, read, err := loadRules(a.cfg)
	tables := read.tables
	if err == nil {
		err = a.gone(seen, read.blank)
	}
	if err == nil {
		err = a.checkRecord(set)
	}
	if err != nil {
		a.refuse(&read, err)
		return tables
	}
	a.refusal = [sha256.Size]byte{}
	if set.Hash() == a.rulers[0].want.Load().Hash() {
		if a.counts.refused.Swap(nil) != nil {
			a.log.Info("rules are right again: they are those in force", "rules", set.Len(), "hash", set.Hash())
		}
		return tables
	}
	at := now()
	for _, c := range a.rulers {
		c.want.Store(set)
		if err := c.enact(ctx, set, at); err != nil {
			a.counts.reloadErrors.Add(1)
			a.noteRefused(fmt.Errorf("write them into partition %d of the log: %w", c.partition.ID(), err))
			a.log.Error("rules were not reloaded in a partition", "partition", c.partition.ID(), "err", err)
			return tables
		}
	}
	a.counts.reloads.Add(1)
	a.counts.refused.Store(nil)
	a.log.Info("rules reloaded", "rules", set.Len(), "hash", set.Hash())
	return tables
}
