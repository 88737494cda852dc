package endpoint

import "syscall"

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT, which the syscall package
// does not have.
const ipBindAddressNoPort = 24

// bindAddressOnly leaves the local port open until the connection is made.
// Otherwise it is taken for good when the address is bound, and an address has
// room for far fewer connections.
func bindAddressOnly(_, _ string, conn syscall.RawConn) error {
	var err error
	if cerr := conn.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, ipBindAddressNoPort, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}
