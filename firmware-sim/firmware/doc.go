// Package firmware is what runs on one simulated device, as its maker would
// write it: sensors, a clock that is not set yet, a queue in flash, and MQTT
// over a network that comes and goes.
//
//	sensors ──every interval──▶ queue (files) ──in order, QoS 1──▶ plant/{site}/{device}/telemetry
//	boot ──once──────────────▶    ▲   │ removed on PUBACK, not before              .../boot
//	                              └───┘ sent again after a reconnect
//	plant/{site}/{device}/command ──▶ known? do it, remember it ──▶ .../command/reply
//	connected ──▶ .../status online (retained)      gone ──▶ offline (retained, last will)
//
// # Delivery
//
// Whatever is read is in the queue's files before anything else happens to it,
// and leaves them when the broker has acknowledged it. So each message arrives
// at least once, and in order: when a connection breaks, sending starts again
// at the first unacknowledged one. Messages carry the queue's sequence number,
// by which a receiver tells a repetition from a new one and a gap, which a full
// queue leaves, from none; "dropped" counts what such gaps have swallowed.
//
// # Time
//
// The device has no clock that runs without power. After each boot it knows
// only its uptime until a time server has answered, which takes ClockDelay
// after the first connection. What is read before that is stored with boot
// number and uptime, and gets its "ts" when it is sent, if the time of that
// boot is known by then. What a boot read that never learnt the time is sent
// without "ts": its "uptime_ms" and "boot" still tell order and distance.
//
// # Goroutines
//
// Run has one that reads the sensors and one for the network; both end before
// Run returns. The queue and the settings are theirs under one lock.
package firmware
