// Package e2e tests weir from its public faces, in one process: the App is
// started as main starts it, on ports of its own and in a directory of the
// test, and is met over MQTT, HTTP, files and a real InfluxDB.
package e2e
