// Package cli runs scripts against weir's command line: what a person types,
// what they see, and the exit status. Each file of testdata is one behaviour.
//
// Besides the commands of testscript, scripts have
//
//	status N COMMAND...             exec that must end with exit status N
//	ready                           wait until the weir that runs on data takes messages
//	publish TOPIC PAYLOAD...        publish at QoS 1 to the weir at $MQTT, which has acknowledged when this returns
//	await PATTERN COMMAND...        run a command until its standard output matches
//
// MQTT is a free loopback address for each script.
package cli
