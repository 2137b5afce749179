package profile

import (
	"context"
	"errors"

	"lapid/engine"
)

// sampleAlert is a brute force against a server, with everything filled in.
func sampleAlert() *engine.Alert {
	return &engine.Alert{
		UUID:            engine.UUID{0: 0xab, 15: 0xcd},
		MachineID:       "edge-1",
		Scenario:        "crowdsecurity/ssh-bf",
		ScenarioHash:    "hash-1",
		ScenarioVersion: "0.3",
		Message:         "192.0.2.7 did ssh-bf",
		Kind:            "crowdsec",
		Leakspeed:       "10s",
		Capacity:        5,
		EventsCount:     6,
		Remediation:     true,
		StartAt:         engine.Stamp{At: noon - 60e9},
		StopAt:          engine.Stamp{At: noon},
		StartText:       "2026-03-01T11:59:00Z",
		StopText:        "2026-03-01T12:00:00Z",
		Labels:          []string{"ssh", "bruteforce"},
		Source: engine.Source{
			Scope: "Ip", Value: "192.0.2.7", IP: "192.0.2.7", Range: "192.0.2.0/24",
			AsName: "Example Net", AsNumber: "64500", Cn: "FR", Latitude: 48.85, Longitude: 2.35,
		},
		Meta: []engine.Meta{{Key: "target_user", Value: "root"}, {Key: "target_user", Value: "admin"}},
		Events: []engine.Event{
			{Text: "2026-03-01T11:59:00Z", Meta: []engine.Meta{{Key: "service", Value: "ssh"}}},
			{Text: "2026-03-01T11:59:30Z", Meta: []engine.Meta{{Key: "service", Value: "sftp"}}},
		},
	}
}

// fixedNames resolves one name.
func fixedNames(_ context.Context, host string) ([]string, error) {
	if host == "home.example" {
		return []string{"192.0.2.7", "2001:db8::7"}, nil
	}
	return nil, errors.New("no such host")
}
