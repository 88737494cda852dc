// Package maild runs an SMTP server on the loopback address for a test: by
// another implementation of the protocol than the one that weir speaks it with.
//
//	srv := maild.Start(t, maild.StartTLS())
//	... send to srv.URL(), trusting srv.TLS() or srv.CAFile(t) ...
//	mails := srv.Mails()
//	srv.Answer(func(command, address string) error { ... })
//	srv.Stop(); srv.Restart(t)   // an outage: same address
package maild
