package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lapid/cmd/lapid/docs"
)

// runPages are the pages whose blocks are run beside one server. Others have a test of their own, or belong to
// devices that are not here.
var runPages = map[string]bool{
	"quick-start": true, "configuration": true, "tls": true, "bouncers": true, "profiles": true, "allowlists": true, "operations": true,
	"security": true, "faq": true, "comparison": true, "limits": true,
}

// TestTopicPages pastes every block of these pages into shells, one page after the other, beside one server:
// commands, and files of configuration, which the commands behind them use. A page with a block that is neither,
// or with commands outside of blocks, fails.
func TestTopicPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	asCommand := regexp.MustCompile(`(?m)^ {4}`)
	for _, topic := range docs.Topics() {
		if !runPages[topic.Name] {
			continue
		}
		page, dir := topic.Text, t.TempDir()
		if asCommand.MatchString(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(page, "")) {
			t.Errorf("%s has a block that is set in, and not run", topic.Name)
		}
		if !strings.Contains(page, "```sh") {
			continue
		}
		places := map[string]string{
			"CONFIG": h.file, "PROFILES": filepath.Join(h.dir, "profiles.yaml"), "URL": fmt.Sprintf("http://127.0.0.1:%d", h.port),
			"METRICS": fmt.Sprintf("http://127.0.0.1:%d", h.metrics), "BACKUPS": filepath.Join(dir, "backups"),
		}
		if strings.Contains(page, "\nADDR=") { // it starts one of its own, to show how
			places["DIR"], places["ADDR"], places["METRICS"] = filepath.Join(dir, "try"), fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
		}
		t.Run(topic.Name, func(t *testing.T) { runPage(t, topic.Name+".md", page, dir, placesOf(page, places)) })
	}
}

// placesOf is the first block of a page with other places in it.
func placesOf(page string, places map[string]string) string {
	first := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindStringSubmatch(page)[1]
	return regexp.MustCompile(`(?m)^([A-Z]+)=.*$`).ReplaceAllStringFunc(first, func(line string) string {
		name, _, _ := strings.Cut(line, "=")
		return name + "=" + places[name]
	})
}
