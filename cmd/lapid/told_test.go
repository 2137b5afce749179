package main

import (
	"fmt"
	"lapid/cmd/lapid/config"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// timeless hides the beginning of a line, which is another each time.
var timeless = regexp.MustCompile(`(?m)^time="[^"]+" `)

// TestServerTells: what was decided, who was refused and what an operator changed
// have the lines that are promised, and no more than those; no secret is in any log.
func TestServerTells(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, ", log_level: trace")
	const token = "the-secret-token-for-registration-of-32"
	written := read(t, h.file)
	write(t, h.dir, "config.yaml", strings.Replace(written, "    trusted_ips:", "    auto_registration: {enabled: true, token: "+token+", allowed_ranges: [192.0.2.0/24]}\n    trusted_ips:", 1))
	p := start(t, []string{"CS_LAPI_SECRET=" + strings.Repeat("secret-of-tokens", 5)}, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	h.want(201, "POST", "/v1/alerts", alertText("many", 0, 1000))
	h.want(200, "DELETE", "/v1/decisions?ip=203.0.113.9", "")
	machine := h.token
	h.token = "secret-token"
	for range 50 {
		h.header = http.Header{"X-Api-Key": {"secret-key-of-nobody"}}
		h.want(403, "GET", "/v1/decisions?ip=192.0.2.1", "")
		h.header = nil
		h.want(401, "GET", "/v1/alerts", "")
	}
	for range 5 {
		h.want(401, "POST", "/v1/watchers/login", `{"machine_id":"m","password":"secret-guess","scenarios":[]}`)
		h.want(401, "POST", "/v1/watchers", `{"machine_id":"n","password":"secret-guess","registration_token":"secret-guess-of-32-characters-or-more"}`)
		h.want(401, "POST", "/v1/watchers", `{"machine_id":"n","password":"secret-guess","registration_token":"`+token+`"}`)
	}
	write(t, h.dir, "list.csv", "value\n"+strings.Join(addresses(100), "\n")+"\n")
	h.steps([]step{
		{"bouncers add fw2 -k secret-key-of-fw2 -o raw", 0, "secret-key-of-fw2", ""},
		{"machines add m2 -p secret-of-m2 -f @DIR@/m2.yaml", 0, "", "~successfully added"},
		{"decisions import -i @DIR@/list.csv --batch 10", 0, "~Imported 100 decisions", ""},
	})
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Errorf("exit %d", code)
	}
	log := timeless.ReplaceAllString(read(t, filepath.Join(logs, config.LogName)), "")
	for _, want := range []string{
		`level=info msg="(m/crowdsec) crowdsecurity/ssh-bf by ip 203.0.113.9 (FR/1234) : 1h ban on Ip 203.0.113.9"`,
		`level=info msg="(m/test) many by ip 203.0.113.9 : 4h ban on Ip 10.0.0.4"`,
		`level=info msg="(m) many by ip 203.0.113.9 : and 995 more decisions"`,
		`level=info msg="a machine deleted decisions" machine=m address=127.0.0.1 decisions=1 request="/v1/decisions?ip=203.0.113.9"`,
		fmt.Sprintf(`level=info msg="operator: added a bouncer" bouncer=fw2 user=root uid=%d`, os.Getuid()),
		fmt.Sprintf(`level=info msg="operator: added a machine" machine=m2 replaces=false user=root uid=%d`, os.Getuid()),
		fmt.Sprintf(`level=info msg="operator: imported decisions" source=list.csv decisions=100 alerts=10 allowlisted=0 user=root uid=%d`, os.Getuid()),
	} {
		if os.Getuid() != 0 {
			want, _, _ = strings.Cut(want, " user=")
		}
		if strings.Count(log, want) != 1 {
			t.Errorf("%d lines %s", strings.Count(log, want), want)
		}
	}
	for reason, want := range map[string]int{"key_unknown": 50, "token_invalid": 50, "password": 5, "registration_token": 5, "registration_address": 5} {
		h.toldTimes(log, reason, want)
	}
	for name, text := range map[string]string{config.LogName: log, config.AccessName: read(t, filepath.Join(logs, config.AccessName)), "terminal": p.out.String()} {
		for _, secret := range []string{"secret", "key-of", machine} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s tells %q: %s", name, secret, text[max(0, i-100):min(len(text), i+50)])
			}
		}
	}
}

// toldTimes expects a reason to be told at once and then for all the others, within
// a minute or two.
func (h *house) toldTimes(log, reason string, want int) {
	h.t.Helper()
	lines := regexp.MustCompile(`(?m)^level=warning msg="refused: [^"]+" reason=`+reason+` address=127.0.0.1 times=(\d+) .*$`).FindAllStringSubmatch(log, -1)
	sum := 0
	for _, l := range lines {
		n, _ := strconv.Atoi(l[1])
		sum += n
	}
	if sum != want || len(lines) > 4 || lines[0][1] != "1" {
		h.t.Errorf("%s was told %d times in %d lines, want %d: %v", reason, sum, len(lines), want, lines)
	}
}

func addresses(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("198.51.%d.%d", i>>8, i&255))
	}
	return list
}
