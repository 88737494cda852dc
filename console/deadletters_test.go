package console

import (
	"errors"
	"strings"
	"testing"

	"weir/ingest/event"
)

func TestDeadLettersAreReplayedOneByOneOrAllAtOnce(t *testing.T) {
	b := newBench(t)
	b.answer(errors.New("type conflict"))
	for _, p := range []string{"bad-1", "bad-2", "bad-3"} {
		b.publish(0, "plant/f1", `{"note":"`+p+`"}`)
		b.settled() // so that each has a batch of its own
	}
	on := b.online()
	ids := strings.Fields(column(lines(t, second(do(t, on, "GET", "/api/v1/dead-letters"))), "id"))
	if len(ids) != 3 {
		t.Fatalf("dead letters %v", ids)
	}
	if status, body := do(t, on, "GET", "/api/v1/dead-letters/"+ids[0]); status != 200 || !strings.Contains(body, `"topic":"plant/f1"`) {
		t.Errorf("show: %d %s", status, body)
	}
	// While the cause stands it stays a dead letter.
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+ids[0]); status != 500 || !strings.Contains(body, "type conflict") {
		t.Errorf("replay: %d %s", status, body)
	}
	status, body := do(t, on, "POST", "/api/v1/dead-letters?all=true&consumer=sink")
	if all := lines(t, body); status != 200 || column(all, "done") != "false false false" || column(all, "id") != strings.Join(ids, " ") {
		t.Errorf("replay of all: %d %s", status, body)
	}
	// One mended, by the path and by the query; one that is not there.
	b.answer(nil)
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+ids[0]); status != 200 || !strings.Contains(body, `"done":true`) {
		t.Errorf("replay: %d %s", status, body)
	}
	status, body = do(t, on, "POST", "/api/v1/dead-letters?id="+ids[1]+"&id="+ids[0])
	if all := lines(t, body); status != 200 || column(all, "done") != "true false" || !strings.Contains(all[1]["error"].(string), "no such dead letter") {
		t.Errorf("replay of two: %d %s", status, body)
	}
	status, body = do(t, on, "DELETE", "/api/v1/dead-letters?all=true")
	if status != 200 || column(lines(t, body), "id") != ids[2] {
		t.Errorf("drop of all: %d %s", status, body)
	}
	if _, body := do(t, on, "GET", "/api/v1/dead-letters"); body != "" {
		t.Errorf("left over: %s", body)
	}
	b.settled()
	if a, err := on.Audit(t.Context()); err != nil || !a.Balanced {
		t.Errorf("audit after replays: %+v, %v", a, err)
	}
}

func TestAReplayStopsWhereTheFarSideIsAway(t *testing.T) {
	b := newBench(t)
	b.answer(errors.New("type conflict"))
	b.publish(0, "plant/f1", `{"note":"bad-1"}`)
	b.publish(0, "plant/f1", `{"note":"bad-2"}`)
	b.settled()
	b.answer(&event.RetryError{Err: errors.New("connection refused")})
	on := b.online()
	status, body := do(t, on, "POST", "/api/v1/dead-letters?all=true")
	if status != 500 || !strings.Contains(body, "2 of 2 were not tried") || !strings.Contains(body, "connection refused") {
		t.Errorf("replay of all in an outage: %d %s", status, body)
	}
	id := strings.Fields(column(lines(t, second(do(t, on, "GET", "/api/v1/dead-letters"))), "id"))[0]
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+id); status != 503 || !strings.Contains(body, "connection refused") {
		t.Errorf("replay of one: %d %s", status, body)
	}
	// A consumer that is retrying is not asked at all.
	b.publish(0, "plant/f1", `{"note":"bad-3"}`)
	until(t, "the consumer is in trouble", func() bool {
		_, body := do(t, on, "GET", "/api/v1/consumers")
		return strings.Contains(body, `"state":"retrying"`)
	})
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+id); status != 503 || !strings.Contains(body, "has trouble itself") {
		t.Errorf("replay to a consumer in trouble: %d %s", status, body)
	}
	b.answer(nil)
	b.settled()
	if status, body := do(t, on, "POST", "/api/v1/dead-letters?all=true"); status != 200 || column(lines(t, body), "done") != "true true" {
		t.Errorf("replay when it is back: %d %s", status, body)
	}
}

func TestWhatCouldNotBeDecodedGoesIntoTheLogAgainOnceItCan(t *testing.T) {
	b := newBench(t)
	letter := func(payload string) string {
		b.append(0, event.Message{Topic: "plant/f1", Payload: []byte(payload), Received: 1})
		p := event.Position{Seq: b.log.Partition(0).Head().Seq}
		m := event.Message{Topic: "plant/f1", Payload: []byte(payload), Received: 1}
		if err := b.log.PutDead(t.Context(), deadLetter(p, m)); err != nil {
			t.Fatal(err)
		}
		return "decode/0/" + strings.Split(p.String(), "/")[1] + "/0"
	}
	good, bad := letter(`{"n":1}`), letter(`{`)
	on := b.online()
	head := b.log.Partition(0).Head()
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+bad); status != 500 || !strings.Contains(body, "it still can't be decoded") {
		t.Errorf("replay of what is broken: %d %s", status, body)
	}
	if status, body := do(t, on, "POST", "/api/v1/dead-letters/"+good); status != 200 {
		t.Errorf("replay: %d %s", status, body)
	}
	if after := b.log.Partition(0).Head(); after.Records <= head.Records {
		t.Errorf("nothing was added to the log: %+v, before %+v", after, head)
	}
}
