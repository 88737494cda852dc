// Package crash kills the built weir with kill -9 under load, at random moments,
// and checks afterwards that what it promised at the PUBACK was kept. See
// package process for how.
package crash
