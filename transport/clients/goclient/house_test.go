package goclient

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crowdsecurity/crowdsec/pkg/apiclient"
	"github.com/crowdsecurity/crowdsec/pkg/models"
	csbouncer "github.com/crowdsecurity/go-cs-bouncer"
	"github.com/go-openapi/strfmt"
)

// patience bounds every wait of these tests.
const patience = 60 * time.Second

// setting is a variable of the environment; a test fails without it.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: these tests are run by the package in the folder above", name)
	}
	return value
}

func part(t *testing.T, name string, n int) string {
	t.Helper()
	parts := strings.Split(setting(t, name), ",")
	if n >= len(parts) {
		t.Fatalf("%s has %d entries, need %d", name, len(parts), n+1)
	}
	return parts[n]
}

// newLogProcessor is the reference's client as a log processor uses it. It logs in with its first request.
func newLogProcessor(t *testing.T, machine int) *apiclient.ApiClient {
	t.Helper()
	address, err := url.Parse(setting(t, "LAPID_URL") + "/")
	if err != nil {
		t.Fatal(err)
	}
	return apiclient.NewClient(&apiclient.Config{
		MachineID:     part(t, "LAPID_MACHINES", machine),
		Password:      strfmt.Password(setting(t, "LAPID_PASSWORD")),
		URL:           address,
		VersionPrefix: "v1",
		UserAgent:     "crowdsec/v1.7.8-linux",
		UpdateScenario: func(context.Context) ([]string, error) {
			return []string{"crowdsecurity/ssh-bf"}, nil
		},
	})
}

// newStream is a stream bouncer that polls every tenth of a second; it runs to the end of the test.
func newStream(t *testing.T, key int, scenarios ...string) *stream {
	t.Helper()
	b := &csbouncer.StreamBouncer{
		APIKey:              part(t, "LAPID_BOUNCER_KEYS", key),
		APIUrl:              setting(t, "LAPID_URL"),
		UserAgent:           "goclient/v0.0.21",
		TickerInterval:      "100ms",
		ScenariosContaining: scenarios,
	}
	if err := b.Init(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return &stream{bouncer: b, added: map[string]int{}, deleted: map[string]int{}}
}

// stream counts how often a stream bouncer heard of each value. It is used by one goroutine.
type stream struct {
	bouncer *csbouncer.StreamBouncer
	added   map[string]int
	deleted map[string]int
	last    map[string]*models.Decision // the decisions of the last answer that had any, by value
}

// next takes in the next answer.
func (s *stream) next(t *testing.T) {
	t.Helper()
	select {
	case answer, ok := <-s.bouncer.Stream:
		if !ok {
			t.Fatal("the stream bouncer has given up")
		}
		if len(answer.New)+len(answer.Deleted) > 0 {
			s.last = map[string]*models.Decision{}
		}
		for _, d := range answer.New {
			s.added[*d.Value]++
			s.last[*d.Value] = d
		}
		for _, d := range answer.Deleted {
			s.deleted[*d.Value]++
			s.last[*d.Value] = d
		}
	case <-time.After(patience):
		t.Fatalf("no answer to a poll within %s", patience)
	}
}

// until takes in answers until the condition holds.
func (s *stream) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); s.next(t) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; heard of %d added and %d deleted values", patience, what, len(s.added), len(s.deleted))
		}
	}
}

// report is an alert as a log processor sends it: an attacker, no decision of its own.
func report(address, scenario string) *models.Alert {
	now := time.Now().UTC().Format(time.RFC3339)
	key, value := "source_ip", address
	return &models.Alert{
		Capacity: new(int32(5)), EventsCount: new(int32(6)), Leakspeed: new("10s"), Simulated: new(false),
		Message:  new(fmt.Sprintf("Ip %s performed '%s' (6 events)", address, scenario)),
		Scenario: &scenario, ScenarioHash: new("hash"), ScenarioVersion: new("0.3"),
		StartAt: &now, StopAt: &now, Remediation: true,
		Source: &models.Source{Scope: new("Ip"), Value: &address, IP: address, AsNumber: "64496", Cn: "ZZ"},
		Events: []*models.Event{{Timestamp: &now, Meta: models.Meta{{Key: key, Value: value}}}},
	}
}

// manual is an alert that carries its own decision.
func manual(scope, value, scenario, remediation, duration string) *models.Alert {
	a := report(value, scenario)
	a.Source.Scope, a.Remediation = &scope, false
	a.Decisions = []*models.Decision{{
		Duration: &duration, Origin: new("cscli"), Scenario: &scenario, Scope: &scope, Type: &remediation, Value: &value,
	}}
	return a
}
