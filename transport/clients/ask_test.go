//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// decision is one decision as a bouncer reads it.
type decision struct {
	ID       int64  `json:"id"`
	Origin   string `json:"origin"`
	Type     string `json:"type"`
	Scope    string `json:"scope"`
	Value    string `json:"value"`
	Duration string `json:"duration"`
	Scenario string `json:"scenario"`
}

// asker is the HTTP client of the test's own questions.
var asker = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 16},
}

// decisions asks a server for what it holds against an address, as a live bouncer does. It takes the
// watching key, so the client under test is not disturbed. It may be called from several goroutines.
func (s *server) decisions(ip string) ([]decision, error) {
	body, err := s.get("/v1/decisions?ip=" + url.QueryEscape(ip))
	if err != nil {
		return nil, err
	}
	var ds []decision
	if err := json.Unmarshal(body, &ds); err != nil {
		return nil, fmt.Errorf("answer to ip=%s is not a list of decisions: %w: %s", ip, err, body)
	}
	return ds, nil
}

// get asks for a path with the watching key; an answer other than 200 is an error.
func (s *server) get(path string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Api-Key", watchKey)
	resp, err := asker.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d: %s", path, resp.StatusCode, body)
	}
	return body, nil
}

// awaitBan waits until the server holds a ban of exactly this address and returns it.
func (s *server) awaitBan(t *testing.T, ip string) decision {
	t.Helper()
	var ban decision
	await(t, "a ban of "+ip, func() (bool, string) {
		ds, err := s.decisions(ip)
		if err != nil {
			return false, err.Error()
		}
		for _, d := range ds {
			if d.Type == "ban" && d.Value == ip {
				ban = d
				return true, ""
			}
		}
		return false, fmt.Sprint(ds)
	})
	return ban
}
