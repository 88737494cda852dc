// Package alerting runs the built weir between devices and those who are told
// of alerts: a real Alertmanager and a mail server.
package alerting
