// Package threeways holds rules to one answer: the same stream through the same
// rules gives the same incidents, with the same times and ids, in a test of
// rules, live over MQTT with kill -9 in the middle, and in a backtest.
package threeways
