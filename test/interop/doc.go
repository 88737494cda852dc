// Package interop holds the embedded broker against other people's MQTT: the
// command line clients of mosquitto, and the behaviours that public
// interoperability suites check, on raw packets. Each script runs against a
// second broker too (mosquitto itself, or the library underneath without our
// part), so that a difference shows on which side it is.
package interop
