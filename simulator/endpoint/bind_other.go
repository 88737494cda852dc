//go:build !linux

package endpoint

import "syscall"

// bindAddressOnly does nothing where the system has no such thing.
func bindAddressOnly(_, _ string, _ syscall.RawConn) error { return nil }
