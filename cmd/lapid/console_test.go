package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapid/transport/capi/capitest"
)

// TestConsoleOptions: console enable and disable write console.yaml, whole and for its owner
// alone, and console status shows it.
func TestConsoleOptions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.steps([]step{{"console status", exitFails, "", "~no configuration for Central API (CAPI) in '@DIR@/config.yaml'"}})
	file := filepath.Join(h.dir, "console.yaml")
	// Credentials that are not there keep nobody from saying what is to be shared.
	write(t, h.dir, "config.yaml.local", "api: {server: {console_path: "+file+", online_client: {credentials_path: "+h.dir+"/none}}}\n")
	const usual = "option,enabled\nmanual,false\ncustom,true\ntainted,true\ncontext,false\nconsole_management,false\n"
	h.steps([]step{
		{"console status -o raw", exitGood, usual, ""},
		{"console enable", exitFails, "", "~please name at least one option"},
		{"console enable nonsense", exitFails, "", "~unknown option \"nonsense\""},
		{"console enable manual nonsense", exitFails, "", "~unknown option \"nonsense\""},
	})
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written for options that are none")
	}
	h.steps([]step{
		{"console enable custom", exitGood, "", "~custom is already enabled"},
		{"console enable manual context", exitGood, "", "re:manual is enabled(?s).*context is enabled.*written to '"},
		{"console enable manual", exitGood, "", "level=info msg=\"manual is already enabled\"\n"},
		{"console disable custom -o json", exitGood, "{\n  \"console_management\": false,\n  \"context\": true,\n  \"custom\": false,\n  \"manual\": true,\n  \"tainted\": true\n}\n", ""},
		{"console status -o json", exitGood, "{\n  \"console_management\": false,\n  \"context\": true,\n  \"custom\": false,\n  \"manual\": true,\n  \"tainted\": true\n}\n", ""},
		{"console status", exitGood, "re:manual +│? ?.*✅", ""},
	})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	h.steps([]step{
		{"console disable -a", exitGood, "", "~tainted is disabled"},
		{"console status -o raw", exitGood, strings.ReplaceAll(usual, "true", "false"), ""},
		{"console enable all", exitGood, "", "~tainted is enabled"},
		{"console status -o raw", exitGood, strings.ReplaceAll(usual, "false", "true"), ""},
	})
	write(t, h.dir, "console.yaml", "share_manual_decisions: maybe\n")
	h.steps([]step{{"console status", exitFails, "", "~must be true or false"}})
	write(t, h.dir, "console.yaml", "share_custom: false\nsomebody_elses: 1\n") // not read strictly, as in the contract
	h.steps([]step{{"console status -o raw", exitGood, strings.ReplaceAll(usual, "custom,true", "custom,false"), ""}})
	if left, _ := filepath.Glob(filepath.Join(h.dir, ".console*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// TestConsoleEnroll: each way to enroll, what the service is asked, what it may answer, and
// what is shared afterwards.
func TestConsoleEnroll(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	file := filepath.Join(h.dir, "console.yaml")
	write(t, h.dir, "config.yaml.local", "api: {server: {console_path: "+file+", online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	h.steps([]step{
		{"console enroll", exitFails, "", "~please give either the key"},
		{"console enroll KEY --quick", exitFails, "", "~please give either the key"},
		{"console enroll KEY -e nonsense", exitFails, "", "~unknown option \"nonsense\""},
		{"console enroll KEY -u " + strings.TrimSuffix(f.base, "/"), exitFails, "", "~url must have a slash at its end"},
	})
	if n := len(f.Requests("/")); n != 0 {
		t.Errorf("%d requests for what could not be", n)
	}
	status := func(code int) { write(t, f.dir, "status.json", fmt.Sprintf(`{"v3/watchers/enroll":[%d]}`, code)) }
	status(200)
	h.steps([]step{
		{"console enroll KEY", exitGood, "", "~already enrolled, and nothing has changed"},
		{"console enroll KEY -o json", exitGood, "~\"enrolled\": false", "~already enrolled"},
		{"console enroll --quick", exitGood, "", "~already enrolled"},
	})
	if _, err := os.Stat(file); err == nil {
		t.Error("options were switched on though nothing has changed")
	}
	status(403)
	h.steps([]step{{"console enroll KEY", exitFails, "", "~could not enroll instance: v3/watchers/enroll was answered with 403 (\"forced\")"}})
	if _, err := os.Stat(file); err == nil {
		t.Error("options were switched on though the service refused")
	}
	status(201)
	h.steps([]step{
		{"console enroll KEY --name myhost --tags t1 --tags t2 -e custom -d context", exitGood, "", "~Successfully enrolled: accept it in the console, then reload the server"},
		{"console status -o raw", exitGood, "option,enabled\nmanual,true\ncustom,true\ntainted,true\ncontext,false\nconsole_management,false\n", ""},
	})
	all := f.asked("/v3/watchers/enroll")
	if got := fmt.Sprint(all[len(all)-1]["body"]); got != "map[attachment_key:KEY autoenroll:false name:myhost tags:[t1 t2]]" {
		t.Error(got)
	}
	status(200)
	h.steps([]step{{"console enroll KEY --overwrite -e all", exitGood, "", "~Successfully enrolled"},
		{"console status -o raw", exitGood, "~console_management,true", ""}})
	all = f.asked("/v3/watchers/enroll")
	if got := fmt.Sprint(all[len(all)-1]["body"]); !strings.Contains(got, "overwrite:true") {
		t.Error(got)
	}
	status(201)
	h.steps([]step{
		{"console enroll --quick", exitGood, "http://127.0.0.1/accept\n", "re:valid until 20[0-9-]+T"},
		{"console enroll --quick -o json", exitGood, "re:\"url\": \"http://127.0.0.1/accept\",\n \"expire\": \"20", ""},
	})
	for _, nonsense := range []string{"{}", `{"url":"javascript:alert(1)"}`, "[]", "<html>"} {
		f.Faults("v3/watchers/enroll", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = w.Write([]byte(nonsense)) })
		h.steps([]step{{"console enroll --quick", exitFails, "", "~could not enroll instance"}})
	}
	f.Faults("v3/watchers/login", capitest.Redirect(307, "http://127.0.0.1:1/"))
	h.steps([]step{{"console enroll KEY", exitFails, "", "~write the address that it leads to into the credentials file"}})
}
