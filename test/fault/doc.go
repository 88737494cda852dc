// Package fault takes away what weir depends on while it is under load: the
// database, the disk, the log's servers, the receivers of alerts, the good
// sense of whoever edits the rules. It checks that nothing else is disturbed and
// that nothing acknowledged is missing afterwards. See package process for how.
package fault
