package wire_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"lapid/engine"
	"lapid/transport/wire"
)

// What a machine posts becomes alerts for the engine.
func ExampleParseAlerts() {
	body := []byte(`[{
		"scenario": "ssh-bf", "scenario_hash": "", "scenario_version": "0.1",
		"message": "192.0.2.7 tried 6 passwords", "events_count": 6, "capacity": 5, "leakspeed": "10s",
		"simulated": false, "events": [],
		"start_at": "2026-07-01T10:00:00Z", "stop_at": "2026-07-01T10:00:09Z",
		"source": {"scope": "Ip", "value": "192.0.2.7"},
		"decisions": [{"duration": "4h", "origin": "crowdsec", "scenario": "ssh-bf", "scope": "ip", "type": "ban", "value": "192.0.2.7"}]
	}]`)
	alerts, err := wire.ParseAlerts(body, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range alerts {
		fmt.Println(a.Message, a.StopAt.Time().Sub(a.StartAt.Time()))
		for _, d := range a.Decisions {
			fmt.Println(d.Type, d.Scope, d.Value, d.Duration)
		}
	}

	// What cannot be read is an *Error, whose kind chooses the answer.
	_, err = wire.ParseAlerts([]byte(`[{"scenario": "ssh-bf"}]`), time.Now())
	var refused *wire.Error
	fmt.Println(errors.As(err, &refused) && refused.Kind == wire.KindMissing)
	// Output:
	// 192.0.2.7 tried 6 passwords 9s
	// ban Ip 192.0.2.7 4h
	// true
}

// What a bouncer asks becomes a query, or a refusal.
func ExampleParseQuery() {
	var q engine.Query
	q.Reset()
	err := wire.ParseQuery(&q, []byte("ip=192.0.2.7&type=ban&contains=false"))
	fmt.Println(q.Address, q.Type.Text, q.Inside, err)

	q.Reset()
	fmt.Println(wire.ParseQuery(&q, []byte("ip=192.0.2.700")))
	// Output:
	// 192.0.2.7/32 ban true <nil>
	// unable to convert '192.0.2.700' to int: invalid ip address '192.0.2.700': invalid ip address / range
}

// Answers are appended, as strconv does it: no memory is taken but the buffer's.
func ExampleAppendMessage() {
	buf := make([]byte, 0, 256)
	buf = wire.AppendMessage(buf, `no <alert> with id "7"`)
	fmt.Println(string(buf))
	fmt.Println(string(wire.AppendIDs(buf[:0], []engine.AlertID{7, 8})))
	fmt.Println(string(wire.AppendDuration(buf[:0], int64(4*time.Hour-time.Second))))
	// Output:
	// {"message":"no \u003calert\u003e with id \"7\""}
	// ["7","8"]
	// 3h59m59s
}
