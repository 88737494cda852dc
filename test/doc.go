// Package test holds the tests that cross packages: the rule of imports, the
// command line, crashes and faults against the built binary, and the whole path.
package test
