// Package authority makes certificates for a test: for servers and clients on
// 127.0.0.1 and localhost, good for an hour.
//
//	a := authority.New(t)
//	a.WriteCA(dir + "/ca.pem")
//	a.Write(dir, "server")            // server.pem and server.key
//	conn, err := tls.Dial("tcp", addr, a.Client("device-1"))
package authority
