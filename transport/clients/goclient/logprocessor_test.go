package goclient

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crowdsecurity/crowdsec/pkg/apiclient"
	"github.com/crowdsecurity/crowdsec/pkg/models"
	"github.com/go-openapi/strfmt"
)

// TestLogProcessor: all that a log processor asks for in its life.
func TestLogProcessor(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	lp := newLogProcessor(t, 0)
	const scenario = "goclient/life"

	machine, password := part(t, "LAPID_MACHINES", 0), strfmt.Password(setting(t, "LAPID_PASSWORD"))
	login, _, err := lp.Auth.AuthenticateWatcher(ctx, models.WatcherAuthRequest{
		MachineID: &machine, Password: &password, Scenarios: []string{scenario},
	})
	if err != nil || login.Code != http.StatusOK || login.Token == "" {
		t.Fatalf("login: %+v, %v", login, err)
	}
	if expire, err := time.Parse(time.RFC3339, login.Expire); err != nil || time.Until(expire) < 30*time.Minute {
		t.Errorf("the token expires at %q: %v", login.Expire, err)
	}
	if ok, _, err := lp.HeartBeat.Ping(ctx); !ok || err != nil {
		t.Errorf("heartbeat: %v, %v", ok, err)
	}

	ids, _, err := lp.Alerts.Add(ctx, models.AddAlertsRequest{
		report("192.0.2.101", scenario), report("192.0.2.102", scenario), manual("Range", "198.51.100.0/25", scenario, "captcha", "30m"),
	})
	if err != nil || ids == nil || len(*ids) != 3 {
		t.Fatalf("pushed three alerts: %v, %v", ids, err)
	}
	checkAlerts(t, lp, scenario, "192.0.2.101 ban", "192.0.2.102 ban", "198.51.100.0/25 captcha")

	id, err := strconv.Atoi((*ids)[0])
	if err != nil {
		t.Fatalf("an alert's id is not a number: %v", err)
	}
	one, _, err := lp.Alerts.GetByID(ctx, id)
	if err != nil {
		t.Fatalf("alert %d: %v", id, err)
	}
	if one.MachineID != machine || *one.Source.Value != "192.0.2.101" || len(one.Events) != 1 || one.Source.Cn != "ZZ" {
		t.Errorf("alert %d is %+v", id, one)
	}

	gone, _, err := lp.Decisions.Delete(ctx, apiclient.DecisionsDeleteOpts{IPEquals: "192.0.2.101"})
	if err != nil || gone.NbDeleted != "1" {
		t.Errorf("deleted the decision on 192.0.2.101: %+v, %v", gone, err)
	}
	if d := decisionOf(t, lp, scenario, "192.0.2.102"); d != nil {
		if gone, _, err := lp.Decisions.DeleteOne(ctx, strconv.FormatInt(d.ID, 10)); err != nil || gone.NbDeleted != "1" {
			t.Errorf("deleted decision %d: %+v, %v", d.ID, gone, err)
		}
	}
	checkAlerts(t, lp, scenario, "198.51.100.0/25 captcha")
	if gone, _, err := lp.Alerts.DeleteOne(ctx, (*ids)[2]); err != nil || gone.NbDeleted != "1" {
		t.Errorf("deleted alert %s: %+v, %v", (*ids)[2], gone, err)
	}
	if gone, _, err := lp.Alerts.Delete(ctx, apiclient.AlertsDeleteOpts{ScenarioEquals: scenario}); err != nil || gone.NbDeleted != "2" {
		t.Errorf("deleted the other alerts: %+v, %v", gone, err)
	}
	checkAlerts(t, lp, scenario)
}

// checkAlerts compares "value type" of all active decisions of a scenario.
func checkAlerts(t *testing.T, lp *apiclient.ApiClient, scenario string, want ...string) {
	t.Helper()
	var got []string
	for _, a := range list(t, lp, scenario) {
		for _, d := range a.Decisions {
			if left, err := time.ParseDuration(*d.Duration); err == nil && left > 0 {
				got = append(got, *d.Value+" "+*d.Type)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", scenario, got, want)
	}
}

func decisionOf(t *testing.T, lp *apiclient.ApiClient, scenario, value string) *models.Decision {
	t.Helper()
	for _, a := range list(t, lp, scenario) {
		for _, d := range a.Decisions {
			if *d.Value == value {
				return d
			}
		}
	}
	t.Errorf("no decision on %s", value)
	return nil
}

// list is the alerts of a scenario that have an active decision.
func list(t *testing.T, lp *apiclient.ApiClient, scenario string) []*models.Alert {
	t.Helper()
	alerts, _, err := lp.Alerts.List(t.Context(), apiclient.AlertsListOpts{
		ScenarioEquals: scenario, ActiveDecisionEquals: new(true), Limit: new(0),
	})
	if err != nil {
		t.Fatalf("alerts of %s: %v", scenario, err)
	}
	return *alerts
}

// TestRefusedLogProcessor: a wrong password is refused with the server's reason.
func TestRefusedLogProcessor(t *testing.T) {
	t.Parallel()
	lp := newLogProcessor(t, 0)
	machine, password := part(t, "LAPID_MACHINES", 0), strfmt.Password("guessed")
	_, resp, err := lp.Auth.AuthenticateWatcher(t.Context(), models.WatcherAuthRequest{MachineID: &machine, Password: &password})
	if err == nil || resp == nil || resp.Response.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a wrong password: %v, %v", resp, err)
	}
	if !strings.Contains(err.Error(), "incorrect Username or Password") {
		t.Errorf("a wrong password is refused with %q", err)
	}
}

// TestUsageMetrics: both kinds of client leave their figures.
func TestUsageMetrics(t *testing.T) {
	t.Parallel()
	now := time.Now().Unix()
	base := models.BaseMetrics{
		Version: new("v1.7.8"), UtcStartupTimestamp: &now, FeatureFlags: []string{},
		Os: &models.OSversion{Name: new("debian"), Version: new("12")},
		Metrics: []*models.DetailedMetrics{{
			Meta: &models.MetricsMeta{UtcNowTimestamp: &now, WindowSizeSeconds: new(int64(1800))},
			Items: []*models.MetricsDetailItem{{
				Name: new("dropped"), Unit: new("request"), Value: new(float64(3)), Labels: models.MetricsLabels{"origin": "cscli"},
			}},
		}},
	}
	lp := newLogProcessor(t, 0)
	_, resp, err := lp.UsageMetrics.Add(t.Context(), &models.AllMetrics{LogProcessors: []*models.LogProcessorsMetrics{{
		BaseMetrics: base, Datasources: map[string]int64{"file": 2},
		HubItems: models.HubItems{"scenarios": {{Name: "crowdsecurity/ssh-bf", Version: "0.3", Status: "official"}}},
	}}})
	checkCreated(t, "a log processor's figures", resp, err)
	b := newLive(t, 0)
	_, resp, err = b.APIClient.UsageMetrics.Add(t.Context(), &models.AllMetrics{RemediationComponents: []*models.RemediationComponentsMetrics{{
		BaseMetrics: base, Type: "goclient",
	}}})
	checkCreated(t, "a bouncer's figures", resp, err)
}

func checkCreated(t *testing.T, what string, resp *apiclient.Response, err error) {
	t.Helper()
	// The library calls the empty body of a 201 an error of decoding; its own provider looks at the status.
	if resp == nil || resp.Response == nil || resp.Response.StatusCode != http.StatusCreated {
		t.Errorf("%s: %+v, %v", what, resp, err)
	}
}
