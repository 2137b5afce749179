package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	caseFlag   = flag.String("case", "", "replay only the cases whose id fits this pattern, such as 'stream-*'")
	configFlag = flag.String("config", "", "replay only the cases of this configuration")
	serverFlag = flag.String("server", "", "replay against this running server (http://…, https://…, unix:…) instead of a lapid process of our own")
	binaryFlag = flag.String("binary", "", "replay against this lapid program instead of building one")
	tlsDirFlag = flag.String("tls-dir", "", "with -server: the folder of ca.pem and the client certificates")
	strictFlag = flag.Bool("strict", false, "also compare texts that come from the reference's JSON and JWT libraries")
	traceFlag  = flag.Bool("trace", false, "log every exchange")
	seedFlag   = flag.Uint64("seed", 0, "repeat the random names of a run; 0 draws new ones")
)

// Credentials, for a server that was not seeded as testdata/fixture/seed.json says; empty: as there.
var (
	machineIDFlag    = flag.String("machine-id", "", "first machine's id")
	passwordFlag     = flag.String("password", "", "first machine's password")
	machineID2Flag   = flag.String("machine-id2", "", "second machine's id")
	password2Flag    = flag.String("password2", "", "second machine's password")
	bouncerKeyFlag   = flag.String("bouncer-key", "", "first bouncer's key")
	bouncerKey2Flag  = flag.String("bouncer-key2", "", "second bouncer's key")
	registrationFlag = flag.String("registration-token", "", "token of the automatic registration")
	jwtSecretFlag    = flag.String("jwt-secret", "", "secret that tokens are signed with")
)

// loadCases gives the recorded cases and behind them our own, of which those tagged "free" say what
// lapid does where the contract leaves it free: they are not for another server.
func loadCases(t *testing.T) []*Case {
	var all []*Case
	for _, folder := range []string{"testdata/cases", "testdata/lapid"} {
		cases, err := Load(os.DirFS(folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if slices.ContainsFunc(all, func(other *Case) bool { return other.ID == c.ID }) {
				t.Fatalf("%s: there is another case %q", folder, c.ID)
			}
			if *serverFlag == "" || !slices.Contains(c.Tags, "free") {
				all = append(all, c)
			}
		}
	}
	return all
}

// TestConform replays every case: each configuration against lapid processes of its own, with loops and without,
// seeded through the operator's verbs, or all of one configuration against the server of -server.
func TestConform(t *testing.T) {
	t.Parallel()
	cases := loadCases(t)
	seed := loadSeed(t)
	chosen := chooseCases(t, cases)
	if *serverFlag != "" {
		target := seed.target(*serverFlag)
		target.TLSDir = *tlsDirFlag
		for config, group := range chosen {
			replay(t, config, group, target, nil, nil)
		}
		return
	}
	pending, api := loadPending(t, cases), newDescribed(t, cases)
	if *caseFlag == "" && *configFlag == "" {
		t.Cleanup(func() { api.complete(t) }) // when all configurations are done
	}
	binary := lapidBinary(t)
	for config, group := range chosen {
		for name, loops := range fronts(config) {
			t.Run(config+name, func(t *testing.T) {
				t.Parallel()
				p := startLapid(t, binary, config, loops, seed)
				replay(t, config, group, p.target, pending, api)
				p.stop(t)
				if t.Failed() {
					t.Logf("the end of the process's log:\n%s", p.logTail())
				}
			})
		}
	}
}

// fronts are the values of LAPID_LOOPS that a configuration is replayed with, by the name of the test.
// Over TLS there are no loops anyway.
func fronts(config string) map[string]string {
	if config == "tls" {
		return map[string]string{"": "auto"}
	}
	return map[string]string{"": "auto", "-off": "off"}
}

// chooseCases gives the cases to replay by configuration; with -server, of one configuration only.
func chooseCases(t *testing.T, cases []*Case) map[string][]*Case {
	configs := Configs
	switch {
	case *configFlag != "":
		configs = []string{*configFlag}
	case *serverFlag != "":
		configs = []string{"main"}
	}
	chosen := map[string][]*Case{}
	for _, config := range configs {
		group, err := Choose(cases, config, *caseFlag)
		if err != nil {
			t.Fatal(err)
		}
		if len(group) > 0 {
			chosen[config] = group
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("no case of configuration %q fits %q", *configFlag, *caseFlag)
	}
	return chosen
}

// replay plays the cases one after another. A pending case must fail: once it passes, its line in
// testdata/pending.txt has to go. With api what is exchanged is held to the description.
func replay(t *testing.T, config string, group []*Case, target Target, pending map[string]string, api *described) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("%s: %d cases, -seed %d", config, len(group), seed)
	session := NewSession(target, seed)
	session.Strict = *strictFlag
	for _, c := range group {
		name := c.ID
		if *serverFlag != "" {
			name = config + "/" + c.ID
		}
		t.Run(name, func(t *testing.T) {
			if *traceFlag {
				session.Trace = func(exchange string) { t.Log(exchange) }
			}
			if api != nil {
				session.Judge = api.judge(c.ID)
			}
			failures := session.Run(t.Context(), c)
			reason, isPending := pending[c.ID]
			if isPending && len(failures) == 0 {
				t.Errorf("%s is listed in testdata/pending.txt but passes: take it off the list", c.ID)
			}
			for _, f := range failures {
				if isPending {
					t.Logf("pending (%s): %s", reason, f)
					continue
				}
				t.Errorf("%s [%s]\n  %s", c.Title, strings.Join(c.Tags, ","), f)
			}
		})
	}
}

// loadPending reads testdata/pending.txt.
func loadPending(t *testing.T, cases []*Case) map[string]string {
	return loadReasons(t, "testdata/pending.txt", func(id string) bool {
		return slices.ContainsFunc(cases, func(c *Case) bool { return c.ID == id })
	})
}

// seed is what a server holds before the first case, as testdata/fixture/seed.json lists it.
type seed struct {
	Machines []struct {
		ID        string `json:"machine_id"`
		Password  string `json:"password"`
		Validated bool   `json:"validated"`
	} `json:"machines"`
	Bouncers []struct {
		Name string `json:"name"`
		Key  string `json:"api_key"`
	} `json:"bouncers"`
	JWTSecret         string `json:"jwt_secret"`
	RegistrationToken string `json:"registration_token"`
	Allowlists        []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Items       []struct {
			Value       string `json:"value"`
			Description string `json:"description"`
			Expiration  string `json:"expiration"`
		} `json:"items"`
	} `json:"allowlists"`
}

func loadSeed(t *testing.T) *seed {
	text, err := os.ReadFile(filepath.FromSlash("testdata/fixture/seed.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var s seed
	if err := d.Decode(&s); err != nil {
		t.Fatalf("seed.json: %v", err)
	}
	if len(s.Machines) != 2 || len(s.Bouncers) != 2 {
		t.Fatal("seed.json: want two machines and two bouncers")
	}
	return &s
}

// target gives the server at url with the seed's credentials, those of the flags first.
func (s *seed) target(url string) Target {
	or := func(given *string, otherwise string) string {
		if *given != "" {
			return *given
		}
		return otherwise
	}
	return Target{
		URL:               url,
		MachineID:         or(machineIDFlag, s.Machines[0].ID),
		Password:          or(passwordFlag, s.Machines[0].Password),
		MachineID2:        or(machineID2Flag, s.Machines[1].ID),
		Password2:         or(password2Flag, s.Machines[1].Password),
		BouncerKey:        or(bouncerKeyFlag, s.Bouncers[0].Key),
		BouncerKey2:       or(bouncerKey2Flag, s.Bouncers[1].Key),
		RegistrationToken: or(registrationFlag, s.RegistrationToken),
		JWTSecret:         or(jwtSecretFlag, s.JWTSecret),
	}
}

// TestFixtures says what the process tests lean on: each configuration has its files and its cases.
func TestFixtures(t *testing.T) {
	t.Parallel()
	cases := loadCases(t)
	for _, config := range Configs {
		for _, name := range []string{"config.yaml", "profiles.yaml"} {
			if _, err := os.Stat(filepath.Join("testdata/fixture", fixtureOf(config), name)); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("configuration %s has no %s", config, name)
			}
		}
		if group, err := Choose(cases, config, ""); err != nil || len(group) == 0 {
			t.Errorf("configuration %s has no cases (%v)", config, err)
		}
	}
	loadSeed(t)
	loadPending(t, cases)
}
