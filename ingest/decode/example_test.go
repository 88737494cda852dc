package decode_test

import (
	"fmt"
	"time"

	"weir/ingest/decode"
)

func ExampleSet_Explain() {
	set, err := decode.Compile([]decode.Source{{
		Name:    "plant",
		Topic:   "sensors/{site}/{device}/telemetry",
		Time:    decode.TimeSpec{Fields: []string{"ts"}, Unit: decode.UnitMilli},
		Tags:    []string{"site"},
		Numbers: []string{"humidity"},
		Rename:  map[string]string{"t": "temperature"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	received := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	x, err := set.Explain("sensors/north/f3/telemetry", []byte(`{"ts":1772366399500,"t":-18.2,"humidity":"41","door":{"open":false}}`), received.UnixNano())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range x.Events {
		fmt.Println(x.Source, e.Device, e.Tags, time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano))
		for _, f := range e.Fields {
			fmt.Println(" ", f.Name, f.Value)
		}
	}
	_, err = set.Explain("sensors/north/f3/telemetry", []byte(`{"t":-18.2,}`), received.UnixNano())
	fmt.Println(err)
	// Output:
	// plant f3 [{site north}] 2026-03-01T11:59:59.5Z
	//   temperature -18.2
	//   humidity 41
	//   door.open false
	// source plant: not JSON: line 1, column 12: a comma before }
}
