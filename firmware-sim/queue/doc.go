// Package queue is a first-in first-out queue in files, for a device that must
// not lose readings while it is offline or when its power goes.
//
//	Append ──▶ 00000000000000000001.seg  00000000000000000950.seg ──▶ At, in order
//	               ▲ deleted when all of it is acknowledged,
//	                 or, with a count, when the queue is full        ──▶ Ack
//
// Each entry has a sequence number, one higher than that of the entry before
// it, for as long as the directory lives. A segment is a run of records:
//
//	offset  size  content
//	0       4     length n of the data, little endian
//	4       4     CRC-32C of sequence number and data
//	8       8     sequence number
//	16      n     data
//
// The file cursor has two records of 24 bytes that are written in turn, so that
// one is whole whenever the power goes: the last sequence number acknowledged
// or dropped, the number of entries dropped so far, CRC-32C of both, and four
// bytes of nothing. Every change is in the file before the call returns and,
// with Options.Sync, on the disk.
package queue
