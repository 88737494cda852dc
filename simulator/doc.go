// Package simulator publishes fleets of simulated devices over MQTT, as device
// makers would: with paho.mqtt.golang, a broker's public face and nothing else.
//
//	model.Device ×n ──▶ client ×m ──paho──▶ broker      plant/{site}/{device}/telemetry
//	 physics, faults     one goroutine each, by the clock;
//	                     another waits for the acknowledgements
//
// The sub-packages are the other things that stand around a server under test:
//
//	model       what devices read, and how that goes wrong
//	bench       a lean MQTT client that loads a broker and measures its answers
//	wire, hist  MQTT packets and latency histograms for it
//	sink        an HTTP server that takes InfluxDB's line protocol and counts it
//	endpoint    where a broker is and how to be let in
//	brokertest  a stock broker for tests
package simulator
