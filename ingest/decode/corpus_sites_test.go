package decode

import "time"

// site is the sources that an installation of a family would be configured with.
type site struct {
	family  string
	only    []string // the cases that are from this installation; all that are left if empty
	sources []Source
}

// notInTheseFormats are the families whose formats this package doesn't have yet.
var notInTheseFormats = []string{"cbor", "ditto", "msgpack", "senml_cbor", "senml_json", "sparkplug_b"}

// wantOther is the number of their cases.
const wantOther = 59

// wantCorpus is how many cases of each family come out as expected.
var wantCorpus = map[string]string{
	"aws_shadow": "5/5", "azure_iothub": "4/4", "chirpstack": "6/6", "delivery": "6/6", "dsmr_glow": "6/6",
	"esphome": "10/10", "frigate": "6/6", "generic": "7/7", "ha_discovery": "7/7", "ha_statestream": "5/5",
	"homie4": "7/7", "homie5": "10/10", "json_edge": "26/26", "line_protocol": "40/40", "meshtastic": "4/4",
	"openmqttgateway": "15/17", "ruuvi": "5/5", "shelly_gen1": "5/19", "shelly_gen2": "10/12", "tasmota": "36/37",
	"time_forms": "14/14", "tts": "6/6", "victron": "11/11", "weewx": "3/3", "wirenboard": "8/8", "zigbee2mqtt": "27/27",
}

// alsoRight are the cases whose outcome is one that the corpus calls right
// besides the one it expects, with a part of what the comparison says.
var alsoRight = map[string]string{
	"json_edge-004": "a field has an empty name", // rejected
	"json_edge-012": "1e+20",                     // an integer beyond 64 bits becomes a float
}

// miss is the one thing that differs from what a case expects, and why.
type miss struct{ differs, why string }

// The known misses.
var (
	otherID   = miss{"device", "the identifier was replaced by different ones in the case's topic and in what it expects"}
	otherSSID = miss{" is wlan (string)", "the network's name was replaced in the case's payload, but not in what it expects"}
	twoIDs    = miss{"device", "whether the id in the topic or in the payload is the stable one depends on a third field"}
)

var knownMisses = map[string]miss{
	"openmqttgateway-002": otherID,
	"openmqttgateway-003": twoIDs,
	"shelly_gen1-001":     otherID,
	"shelly_gen1-002":     otherID,
	"shelly_gen1-003":     otherID,
	"shelly_gen1-004":     otherID,
	"shelly_gen1-005":     otherID,
	"shelly_gen1-008":     otherID,
	"shelly_gen1-009":     otherID,
	"shelly_gen1-010":     otherID,
	"shelly_gen1-013":     otherID,
	"shelly_gen1-015":     otherID,
	"shelly_gen1-016":     otherID,
	"shelly_gen1-027":     otherID,
	"shelly_gen1-028":     otherID,
	"shelly_gen1-014":     otherSSID,
	"shelly_gen2-001":     otherSSID,
	"shelly_gen2-003":     otherSSID,
	"tasmota-005":         otherSSID,
}

var corpusSites = []site{
	{"zigbee2mqtt", []string{"zigbee2mqtt-015", "zigbee2mqtt-016", "zigbee2mqtt-017", "zigbee2mqtt-018", "zigbee2mqtt-041", "zigbee2mqtt-042"}, []Source{
		{Topic: "zigbee2mqtt/{device...}/{attribute}", Format: Value, Field: "{attribute}", Ignore: []string{"zigbee2mqtt/bridge/#", "zigbee2mqtt/{any...}/set"}},
	}},
	{"zigbee2mqtt", nil, []Source{
		{Topic: "zigbee2mqtt/{device...}/availability", Format: Auto, Measurement: "status"},
		{Topic: "zigbee2mqtt/{device}/state", Format: Auto, Rename: map[string]string{"value": "state"}},
		{Topic: "zigbee2mqtt/{device...}", Time: TimeSpec{Fields: []string{"last_seen"}}, Ignore: []string{"zigbee2mqtt/bridge/#", "zigbee2mqtt/{any...}/set", "zigbee2mqtt/{any...}/get"}},
		{Topic: "zigbee2mqttcc1352/{device...}", Time: TimeSpec{Fields: []string{"last_seen"}}},
	}},
	{"tasmota", nil, []Source{
		{Topic: "tele/{device...}/LWT", Format: Value, Field: "LWT", Words: map[string]any{"Online": true, "Offline": false}},
		{Topic: "tele/{device...}/+", Time: TimeSpec{Fields: []string{"Epoch", "Time"}}},
		{Topic: "stat/{device...}/RESULT", Time: TimeSpec{Fields: []string{"Epoch", "Time"}}},
		{Topic: "{device...}/tele/+", Time: TimeSpec{Fields: []string{"Epoch", "Time"}}},
	}},
	{"shelly_gen1", nil, []Source{
		{Topic: "shellies/{device}/info", Time: TimeSpec{Fields: []string{"unixtime"}, Unit: UnitSecond}},
		{Topic: "shellies/{device}/{metric...}", Format: Auto, Field: "{metric}", Ignore: []string{"shellies/{any...}/command"}},
	}},
	{"shelly_gen2", nil, []Source{
		{Topic: "{prefix...}/events/rpc", Device: []DeviceRef{{Field: "src"}}, Root: []string{"params"}, When: map[string][]string{"method": {"NotifyStatus", "NotifyFullStatus"}}, Time: TimeSpec{Fields: []string{"params.ts"}, Unit: UnitSecond}},
		{Topic: "{device...}/status/{component}", Field: "{component}"},
		{Topic: "{device...}/online", Format: Value, Field: "online"},
	}},
	{"esphome", nil, []Source{
		{Topic: "{device...}/status", Format: Value, Field: "status", Ignore: []string{"{any...}/sensor/status"}, Words: map[string]any{"online": true, "offline": false}},
		{Topic: "{device...}/sensor/status"},
		{Topic: "{device...}/+/{object}/state", Format: Value, Field: "{object}"},
	}},
	{"homie4", nil, []Source{
		{Topic: "homie/{device}/$state", Format: Value, Field: "$state"},
		{Topic: "homie/{device}/{node}/{property}", Format: Value, Field: "{node}.{property}", Ignore: []string{"homie/{any...}/$*"}},
	}},
	{"homie5", nil, []Source{
		{Topic: "homie/5/{device}/$state", Format: Value, Field: "$state"},
		{Topic: "homie/5/{device}/$alert/{alert}", Format: Value, Field: "$alert.{alert}"},
		{Topic: "homie/5/{device}/{node}/{property}", Format: Value, Field: "{node}.{property}", Ignore: []string{"homie/5/+/$*/+"}},
	}},
	{"openmqttgateway", nil, []Source{
		{Topic: "home/{gateway}/{module}toMQTT/{mac}", Device: []DeviceRef{{Field: "id"}, {Text: "{mac}"}}, Numbers: []string{"hum", "temp*"}, Ignore: []string{"home/+/CLIMAtoMQTT/+"}},
		{Topic: "home/{device}/CLIMAtoMQTT/htu"},
		{Topic: "home/{gateway}/CLIMAtoMQTT/+/{address}", Device: []DeviceRef{{Field: "addr"}, {Text: "{address}"}}},
		{Topic: "home/{device}/{module}toMQTT", Format: Auto},
	}},
	{"chirpstack", nil, []Source{
		{Topic: "application/{application}/device/{device}/event/up", Root: []string{"object", ""}, Include: []string{"object", "data", "fCnt", "fPort"}, Time: TimeSpec{Fields: []string{"time"}}},
		{Topic: "application/{application}/device/{device}/event/integration", Root: []string{"object"}, Time: TimeSpec{Fields: []string{"time"}}},
		{Topic: "application/{application}/device/{device}/event/status", Include: []string{"margin", "batteryLevel"}, Time: TimeSpec{Fields: []string{"time"}}},
		{Topic: "application/{application}/device/{device}/event/location", Include: []string{"location"}, Time: TimeSpec{Fields: []string{"time"}}},
	}},
	{"tts", nil, []Source{
		{Topic: "v3/{application}@{tenant}/devices/{device}/up", Root: []string{"uplink_message.decoded_payload", "uplink_message"},
			Include: []string{"uplink_message.decoded_payload", "f_cnt", "f_port", "frm_payload"}, Time: TimeSpec{Fields: []string{"received_at", "uplink_message.rx_metadata.0.time"}}},
		{Topic: "base-topic/uplink", Device: []DeviceRef{{Field: "end_device_ids.device_id"}}, Root: []string{"uplink_message.decoded_payload", "uplink_message"},
			Include: []string{"uplink_message.decoded_payload", "f_cnt", "f_port", "frm_payload"}, Time: TimeSpec{Fields: []string{"received_at"}}},
	}},
	{"ha_discovery", nil, []Source{
		{Topic: "{device}/status", Format: Value, Field: "status"},
		{Topic: "homeassistant/{component}/{object}/state", Format: Auto, Device: []DeviceRef{{Text: "{component}/{object}"}}},
	}},
	{"ha_statestream", nil, []Source{
		{Topic: "homeassistant/{domain}/{entity}/{attribute}", Format: Value, Device: []DeviceRef{{Text: "{domain}.{entity}"}}, Field: "{attribute}", Numbers: []string{"state"}},
	}},
	{"aws_shadow", nil, []Source{
		{Topic: "$aws/things/{device}/shadow/update", Root: []string{"state.reported"}, Time: TimeSpec{Fields: []string{"timestamp"}, Unit: UnitSecond}},
		{Topic: "$aws/things/{device}/shadow/name/{shadow}/update", Root: []string{"state.reported"}, Tags: []string{"shadow"}},
		{Topic: "$aws/things/{device}/shadow/name/{shadow}/get/accepted", Root: []string{"state.reported"}, Tags: []string{"shadow"}, Time: TimeSpec{Fields: []string{"timestamp"}, Unit: UnitSecond}},
	}},
	{"azure_iothub", nil, []Source{{Topic: "devices/{device}/messages/events/#"}}},
	{"wirenboard", nil, []Source{
		{Topic: "/devices/{device}/controls/{control}", Format: Value, Field: "{control}"},
		{Topic: "/devices/{device}/controls/{control}/meta/error", Format: Value, Field: "{control}.error"},
		{Topic: "/devices/{device}/meta/error", Format: Value, Field: "error"},
	}},
	{"meshtastic", nil, []Source{
		{Topic: "msh/{region}/2/json/{channel}/{gateway}", Device: []DeviceRef{{Field: "from", Format: "!%08x"}}, Root: []string{"payload"}, When: map[string][]string{"type": {"telemetry", "position"}}, Time: TimeSpec{Fields: []string{"timestamp"}, Unit: UnitSecond}},
	}},
	{"ruuvi", nil, []Source{
		{Topic: "ruuvi/{device}/gw_status"},
		{Topic: "ruuvi/{gateway}/{device}", Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitSecond}, Tags: []string{"gateway"}, Exclude: []string{"gw_mac", "gwts"}},
	}},
	{"victron", nil, []Source{
		{Topic: "N/{portal}/{service}/{instance}/{path...}", Device: []DeviceRef{{Text: "{portal}/{service}/{instance}"}}, Field: "{path}", Root: []string{"value"}},
	}},
	{"dsmr_glow", nil, []Source{
		{Topic: "dsmr/{metric...}", Format: Value, Device: []DeviceRef{{Text: "dsmr"}}, Field: "{metric}", Ignore: []string{"dsmr/raw", "dsmr/json"}},
		{Topic: "glow/{device}/SENSOR/+", Time: TimeSpec{Fields: []string{"electricitymeter.timestamp", "gasmeter.timestamp"}, Unit: UnitRFC3339}},
	}},
	{"weewx", nil, []Source{
		{Topic: "weather/loop", Device: []DeviceRef{{Text: "weather"}}, Numbers: []string{"*"}, Time: TimeSpec{Fields: []string{"dateTime"}, Unit: UnitSecond}},
		{Topic: "weather/{observation}", Format: Value, Device: []DeviceRef{{Text: "weather"}}, Field: "{observation}"},
		{Topic: "{device}/weather"},
	}},
	{"frigate", nil, []Source{
		{Topic: "{device}/available", Format: Value, Field: "available"},
		{Topic: "frigate/events", Device: []DeviceRef{{Field: "after.camera"}}, Exclude: []string{"before"}, Time: TimeSpec{Fields: []string{"after.frame_time"}, Unit: UnitSecond}},
		{Topic: "frigate/reviews", Device: []DeviceRef{{Field: "after.camera"}}, Exclude: []string{"before"}},
		{Topic: "frigate/tracked_object_update", Device: []DeviceRef{{Field: "camera"}}, Time: TimeSpec{Fields: []string{"timestamp"}, Unit: UnitSecond}},
		{Topic: "frigate/{device}/{object}", Format: Value, Field: "{object}"},
	}},
	{"generic", nil, []Source{
		{Topic: "zwave/{room}/{node}/{metric...}", Format: Auto, Device: []DeviceRef{{Text: "{room}/{node}"}}, Field: "{metric}", Root: []string{"value"}, Time: TimeSpec{Fields: []string{"time"}, Unit: UnitMilli}},
		{Topic: "hubitat/{hub}/{device}/attributes/{metric}/value", Format: Value, Field: "{metric}"},
		{Topic: "dht/{device}/{metric}", Format: Value, Field: "{metric}"},
		{Topic: "sensor/{device}", Time: TimeSpec{Fields: []string{"Time"}, Unit: "2006-01-02T15:04:05"}},
		{Topic: "rtl_433/{host}/events", Device: []DeviceRef{{Field: "id"}}, Time: TimeSpec{Fields: []string{"time"}, Unit: "2006-01-02 15:04:05"}},
		{Topic: "windnerd/{device}"},
	}},
	{"json_edge", nil, []Source{{Topic: "sensors/{device}/data"}}},
	{"time_forms", nil, []Source{{Topic: "{site}/{device}/telemetry", Time: TimeSpec{Fields: []string{"ts"}}}}},
	{"delivery", nil, []Source{
		{Topic: "zigbee2mqtt/{device...}"},
		{Topic: "{site}/{device}/telemetry", Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitSecond}},
		{Topic: "{site}//{device}/telemetry"},
		{Topic: "building/{floor}/{part}/{device}/{metric}", Format: Value, Field: "{metric}"},
	}},
	{"line_protocol", nil, []Source{
		{Topic: "telegraf/lp", Format: LineProtocol, Device: []DeviceRef{{Field: "host"}, {Text: "telegraf"}}, Time: TimeSpec{Earliest: time.Unix(0, 0)}},
	}},
}
