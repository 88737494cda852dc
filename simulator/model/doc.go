// Package model is the physics of simulated devices: what their sensors read,
// one reading after the other, and how that goes wrong.
//
//	process (freezer, room, ...)  set-point, noise, cycles, doors, people
//	      │ fields, the first of which is the one that matters
//	      ▼
//	anomaly (spike, drift, stuck, dropout, flapping, fail)  now and then
//	      │
//	      ▼
//	Encode: JSON, a bare value, or line protocol
//
// A device's readings are a function of its seed and of the time between two
// readings, and of nothing else: no clock is read.
package model
