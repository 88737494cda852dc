// Package sinktest is the conformance suite that every sink passes, and what
// tests need to make batches without a log.
//
//	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
//		srv := newServer(t)
//		return &sinktest.Target{
//			Sink:    webhook.New(...),
//			Events:  false,                       // takes events
//			Alerts:  true,                        // takes alerts
//			Effects: srv.Count,                   // distinct effects seen so far
//			Outage:  srv.SetDown,                 // takes the far side away and gives it back
//		}
//	})
package sinktest
