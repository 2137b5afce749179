package export_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/export"
)

var rewrite = flag.Bool("golden", false, "write the golden files anew")

// decided is one decision of a test: scope, value, type, origin, scenario, duration.
type decided [6]string

// add stores decisions, simulated ones in an alert of their own.
func add(t testing.TB, r *enginetest.Rig, simulated bool, list ...decided) {
	t.Helper()
	a := &engine.Alert{Scenario: "s", StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now()), Simulated: simulated, Source: engine.Source{Scope: "Ip", Value: "203.0.113.250"}}
	for _, d := range list {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: d[0], Value: d[1], Type: d[2], Origin: d[3], Scenario: d[4], Duration: d[5]})
	}
	if _, err := r.AddAlerts(context.Background(), "edge-1", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
}

// hostile is what a machine may call a scenario.
const hostile = "a\"b';$(reboot)]\n`x`,{}=\\<é>\r\n:global x 1"

// some has a little of everything.
func some(t testing.TB) *enginetest.Rig {
	r := enginetest.NewRig(t, nil)
	add(t, r, false,
		decided{"Ip", "192.0.2.7", "ban", "crowdsec", "crowdsecurity/ssh-bf", "4h"},
		decided{"Ip", "192.0.2.7", "ban", "cscli", "manual", "1h"}, // ends sooner: not told
		decided{"Ip", "10.0.0.2", "ban", "CAPI", "http:scan", "24h"},
		decided{"Ip", "9.0.0.1", "ban", "cscli", hostile, "90m"},
		decided{"Range", "198.51.100.0/24", "ban", "cscli", "=1+1", "48h"},
		decided{"Range", "203.0.113.7/24", "ban", "lists", "drop", "400d"}, // with host bits
		decided{"Ip", "203.0.113.9", "ban", "crowdsec", "http", "4h"},
		decided{"Ip", "2001:DB8:0:0::7", "ban", "crowdsec", "ssh", "4h"},
		decided{"Range", "2001:db8:0:1::/64", "ban", "lists", "drop", "1h"},
		decided{"Ip", "255.255.255.255", "ban", "cscli", "odd", "4h"},
		decided{"Ip", "192.0.2.9", "captcha", "crowdsec", "http", "4h"},
		decided{"Ip", "192.0.2.10", "ban", "crowdsec", "http", "3s"},
		decided{"Country", "FR", "ban", "cscli", "manual", "4h"},
		decided{"username", "root", "ban", "cscli", "manual", "4h"})
	add(t, r, true, decided{"Ip", "192.0.2.66", "ban", "crowdsec", "ssh", "4h"})
	return r
}

func write(t testing.TB, r *enginetest.Rig, x *engine.Export, query string) *export.Body {
	t.Helper()
	asked, err := export.ParseAsked(query)
	if err != nil {
		t.Fatal(err)
	}
	b, err := export.Write(r.View(), x, asked, r.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every format writes what its golden file has, and its reader takes it.
func TestFormats(t *testing.T) {
	t.Parallel()
	r, empty := some(t), enginetest.NewRig(t, nil)
	extra := map[string]*engine.Export{
		"mikrotik-mirror": {Format: "mikrotik", Options: []string{"list=CrowdSec", "replace=mirror"}}, "mikrotik-renew": {Format: "mikrotik", Options: []string{"replace=renew"}},
		"mikrotik-swap": {Format: "mikrotik", Options: []string{"replace=swap", "list=blocked"}}, "nftables-chain": {Format: "nftables", Options: []string{"chain=input,forward"}},
		"nftables-one": {Format: "nftables", Options: []string{"sets=one"}}, "nftables-off": {Format: "nftables", Options: []string{"timeout=off"}, Aggregate: true},
		"f5-scenario": {Format: "f5", Options: []string{"category=scenario"}}, "ipset-six": {Format: "ipset", Family: engine.IPv6},
		"csv-import": {Format: "csv", Options: []string{"columns=value,scope,type,duration,reason"}}, "rbldnsd-six": {Format: "rbldnsd", Family: engine.IPv6},
		"rpz-answer": {Format: "rpz", Options: []string{"action=nxdomain", "trigger=answer"}}, "nginx_geo4-type": {Format: "nginx_geo4", Options: []string{"value=type"}},
	}
	for _, f := range export.Formats() {
		extra[f.Name] = &engine.Export{Format: f.Name}
	}
	for name, x := range extra {
		t.Run(name, func(t *testing.T) {
			x.Name = name
			file, body := filepath.Join("testdata", name+".txt"), write(t, r, x, "").Plain
			if *rewrite {
				if err := os.WriteFile(file, body, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || !bytes.Equal(body, want) {
				t.Errorf("%v; got\n%s\nwant\n%s", err, body, want)
			}
			for _, body := range [][]byte{body, write(t, empty, x, "").Plain} {
				quotes := x.Format == "csv" || strings.HasSuffix(x.Format, "json")
				if !quotes && bytes.Contains(body, []byte("reboot)")) || bytes.ContainsAny(body, "\r\x00\xff") || len(body) > 0 && body[len(body)-1] != '\n' {
					t.Errorf("not plain text: %q", body)
				}
				grammar(t, x.Format, body)
			}
		})
	}
}

// swapLine is how a file begins and ends that fills a second list.
const swapLine = `:global lapid(Next|Last) "[\w.-]+"|:if \(\[:len \[/ip(v6)? firewall (filter|raw) find src-address-list="[\w.-]+"\]\] > 0\) do=\{ :set lapidNext "[\w.-]+"; :set lapidLast "[\w.-]+" \}|` +
	`/ip(v6)? firewall (filter|raw) set \[find src-address-list=\$lapidLast\] src-address-list=\$lapidNext|/ip(v6)? firewall address-list remove \[find where list=\$lapid(Next|Last)\]|` +
	`:do \{ add list=\$lapidNext address=[0-9a-f:./]+ timeout=[0-9wdhms]+ comment="[\w./:-]*" \} on-error=\{\}|`

// lineOf is how a line of a format looks that no program here reads.
var lineOf = map[string]string{
	"mikrotik": swapLine + `#.*|/ip(v6)? firewall address-list( remove \[find where list="[\w.-]+"\])?|:global \w+|:set \w+ do=\{ [^"]*"\$2"[^"]*\}|` +
		`:do \{ add list=[\w.-]+ address=[0-9a-f:./]+ timeout=[0-9wdhms]+ comment="[\w./:-]*" \} on-error=\{( set \[find list=[\w.-]+ address=[0-9a-f:./]+\] timeout=[0-9wdhms]+ )?\}|\$CrowdSecAddIP(v6)? "[0-9a-f:./]+" "[\w./:-]*" "[0-9wdhms]+"`,
	"f5":         `[0-9a-f:.]+,\d+,bl,[\w./:-]+`,
	"juniper":    `[0-9a-f:.]+/\d+`,
	"checkpoint": `#.*|lapid-[0-9a-f]{8}(-\d+)?,[0-9.]+(,IP|-[0-9.]+,IP Range),high,high,AB,[\w./:-]+`,
	"rpz":        `\$TTL 60|;.*|@ (SOA localhost\. root\.localhost\. \d+ 60 60 604800 60|NS localhost\.)|\d+(\.[0-9a-z]+){4,9}\.rpz-(client-)?ip CNAME (rpz-drop)?\.`,
	"rbldnsd":    `#.*|:127\.0\.0\.2:blocked|[0-9a-f:.]+(/\d+)?`,
	"apache":     `#.*|Require not ip [0-9a-f:.]+(/\d+)?`,
	"caddy":      `remote_ip [0-9a-f:.]+/\d+`,
	"nginx_geo4": `#.*|[0-9.]+-[0-9.]+ \w+;`, "nginx_geo6": `#.*|[0-9a-f:]+(/\d+)? \w+;`, "nginx_deny": `#.*|deny [0-9a-f:.]+(/\d+)?;`,
	"haproxy_map": `#.*|[0-9a-f:.]+(/\d+)? [\w./:-]+`,
	"ipset":       `#.*|(create|flush|add|swap|destroy) [\w-]+.*`,
	"nftables":    `#.*|table inet lapid \{|\t(set|chain) [\w-]+ \{ .* \}|\}|(flush set|flush chain|add element|add rule) inet lapid [\w-]+.*`,
	"sophos":      `[0-9.]+`,
}

const plainLine = `#.*|[0-9a-f:.]+(/\d+)?`

// grammar checks each line; documents are read by their own readers.
func grammar(t *testing.T, format string, body []byte) {
	t.Helper()
	switch format {
	case "csv":
		if rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll(); err != nil || len(rows) == 0 {
			t.Errorf("%v: %s", err, body)
		}
		return
	case "json", "aws_ipset", "cloudflare_list", "envoy_rbac":
		if !json.Valid(body) {
			t.Errorf("no JSON: %s", body)
		}
		return
	}
	pattern, ok := lineOf[format]
	if !ok {
		pattern = plainLine
	}
	line := regexp.MustCompile(`^(` + pattern + `)$`)
	for text := range strings.Lines(string(body)) {
		if text = strings.TrimSuffix(text, "\n"); format == "ndjson" && json.Valid([]byte(text)) {
			continue
		}
		if !line.MatchString(text) {
			t.Errorf("%s: %q", format, text)
		}
	}
}

// What is on a list is what is enforced: bans that run, allowlists cut out, by the definition
// and by what is asked, which narrows it.
func TestSelection(t *testing.T) {
	t.Parallel()
	r, ctx := some(t), context.Background()
	is := func(x engine.Export, query string, want ...string) {
		t.Helper()
		if x.Format == "" {
			x.Format = "plain_text"
		}
		x.Name = "x"
		b := write(t, r, &x, query)
		if got := strings.Fields(string(b.Plain)); fmt.Sprint(got) != fmt.Sprint(want) || b.Count != len(want) {
			t.Errorf("%+v %s: %v, %d\nwant %v", x, query, got, b.Count, want)
		}
	}
	four := []string{"9.0.0.1", "10.0.0.2", "192.0.2.7", "192.0.2.10", "198.51.100.0/24", "203.0.113.0/24", "203.0.113.9", "255.255.255.255"}
	six := []string{"2001:db8::7", "2001:db8:0:1::/64"}
	is(engine.Export{}, "", append(four[:8:8], six...)...)
	is(engine.Export{}, "ipv4only&nosort=1&token=x", four...)
	is(engine.Export{Family: engine.IPv6}, "", six...)
	is(engine.Export{Family: engine.IPv6}, "ipv4only")
	is(engine.Export{}, "ipv4only&ipv6only")
	is(engine.Export{Types: []string{"captcha"}}, "", "192.0.2.9")
	is(engine.Export{}, "supported_decisions_types=captcha")
	is(engine.Export{Types: []string{"ban", "captcha"}}, "supported_decisions_types=Captcha", "192.0.2.9")
	is(engine.Export{Origins: []string{"lists"}}, "", "203.0.113.0/24", "2001:db8:0:1::/64")
	is(engine.Export{Origins: []string{"lists", "CAPI"}}, "origin=capi", "10.0.0.2")
	is(engine.Export{Origins: []string{"lists"}}, "origin=capi")
	is(engine.Export{}, "origin=capi", "10.0.0.2")
	is(engine.Export{Containing: []string{"SSH"}}, "", "192.0.2.7", "2001:db8::7")
	is(engine.Export{Limit: 3}, "", "198.51.100.0/24", "255.255.255.255", "2001:db8::7")
	is(engine.Export{Limit: 2, Order: engine.Longest}, "", "198.51.100.0/24", "203.0.113.0/24")
	is(engine.Export{}, "page=2&page_size=4", four[4:]...)
	is(engine.Export{Format: "sophos"}, "ipv6only")
	for _, query := range []string{"ipv6only", "ipv4only&ipv6only"} { // one file is of one family, IPv4 unless the definition says IPv6
		if b := write(t, r, &engine.Export{Name: "x", Format: "rbldnsd"}, query); b.Count != 0 || bytes.Contains(b.Plain, []byte("2001")) {
			t.Errorf("rbldnsd?%s gives more than the definition:\n%s", query, b.Plain)
		}
	}
	is(engine.Export{Aggregate: true}, "ipv4only", "9.0.0.1", "10.0.0.2", "192.0.2.7", "192.0.2.10", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255")

	if err := r.CreateAllowlist(ctx, "office", "", r.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"origin=" + strings.Repeat("o", 65), "origin=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "page=0", "page_size=x", "shard=3/2", "%zz"} {
		if _, err := export.ParseAsked(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	// An item does not end what is banned later: the list is cut.
	item := engine.AllowlistItem{Value: "198.51.200.129", Prefix: netip.MustParsePrefix("198.51.200.129/32"), ExpiresAt: r.Now().Add(time.Hour).UnixNano()}
	if _, _, err := r.AddToAllowlist(ctx, "office", []engine.AllowlistItem{item}, r.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	add(t, r, false, decided{"Range", "198.51.200.128/30", "ban", "other", "cut", "4h"}, decided{"Range", "0.0.0.0/0", "ban", "all", "all", "4h"})
	is(engine.Export{Origins: []string{"other"}}, "", "198.51.200.128", "198.51.200.130/31")
	is(engine.Export{Origins: []string{"other"}, NoAllowlists: true}, "", "198.51.200.128/30")
	is(engine.Export{Origins: []string{"other"}, Allowlists: []string{"nothing"}}, "", "198.51.200.128/30")
	is(engine.Export{Origins: []string{"all"}, NoAllowlists: true}, "", "0.0.0.0/1", "128.0.0.0/1")
	r.Advance(2 * time.Hour)
	is(engine.Export{Origins: []string{"other"}}, "", "198.51.200.128/30")
}

// A tag changes with what is on the list, and with nothing else.
func TestTags(t *testing.T) {
	t.Parallel()
	r := some(t)
	all, lists := &engine.Export{Name: "a", Format: "plain_text"}, &engine.Export{Name: "b", Format: "plain_text", Origins: []string{"lists"}}
	timed := &engine.Export{Name: "c", Format: "ipset"}
	was, wasLists, wasTimed := write(t, r, all, ""), write(t, r, lists, ""), write(t, r, timed, "")
	if bytes.Equal(was.Tag, was.Packed) || bytes.Equal(was.Tag, wasLists.Tag) || !strings.HasPrefix(string(wasTimed.Tag), `W/"`) || strings.HasPrefix(string(was.Tag), "W/") {
		t.Errorf("%s %s %s %s", was.Tag, was.Packed, wasLists.Tag, wasTimed.Tag)
	}
	r.Advance(4 * time.Second) // one host is over
	if now := write(t, r, all, ""); bytes.Equal(now.Tag, was.Tag) || now.Count != was.Count-1 {
		t.Error("an end of one that is seen changes nothing")
	}
	if now := write(t, r, lists, ""); !bytes.Equal(now.Tag, wasLists.Tag) || !bytes.Equal(now.Plain, wasLists.Plain) {
		t.Error("an end of one that is not seen changes the tag")
	}
	wasTimed = write(t, r, timed, "")
	r.Advance(time.Second)
	if now := write(t, r, timed, ""); !bytes.Equal(now.Tag, wasTimed.Tag) || bytes.Equal(now.Plain, wasTimed.Plain) {
		t.Error("of a timed list the bytes change and the tag does not")
	}
	r.Advance(30 * 24 * time.Hour) // 400 days are more than ipset takes, and than its sets hold without another pull
	add(t, r, false, decided{"Ip", "192.0.2.99", "ban", "cscli", "manual", "9000h"})
	was = write(t, r, timed, "")
	r.Advance(time.Hour)
	if now := write(t, r, timed, ""); !bytes.Equal(now.Tag, was.Tag) && !bytes.Contains(now.Plain, []byte("2147483")) {
		t.Error("a time that is cut changes the tag at once")
	}
	r.Advance(14 * 24 * time.Hour)
	if now := write(t, r, timed, ""); bytes.Equal(now.Tag, was.Tag) {
		t.Error("a device is told for two weeks that nothing has changed, and lets go of what is banned for a year")
	}
	wasLists = write(t, r, lists, "")
	r.Restart()
	if now := write(t, r, lists, ""); !bytes.Equal(now.Tag, wasLists.Tag) {
		t.Error("a restart changes the tag")
	}
}

// What a definition may say is checked by name.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, x := range []engine.Export{
		{Format: "plain"}, {Format: "f5", Options: []string{"category"}}, {Format: "f5", Options: []string{"category=a b"}}, {Format: "f5", Options: []string{"list=x"}},
		{Format: "plain_text", Options: []string{"a=b"}}, {Format: "ipset", Options: []string{"timeout=no"}}, {Format: "ipset", Options: []string{"set=" + strings.Repeat("x", 26)}},
		{Format: "csv", Options: []string{"columns=value,id"}}, {Format: "rbldnsd", Options: []string{"txt=a\nb"}}, {Format: "sophos", Family: engine.IPv6},
		{Format: "nftables", Options: []string{"chain=output"}}, {Format: "nftables", Options: []string{"chain=input", "family=netdev"}},
		{Format: "ipset", Options: []string{"merge_slack=10m"}}, {Format: "ipset", Aggregate: true, Options: []string{"merge_slack=soon"}}, {Format: "ipset", Aggregate: true, Options: []string{"merge_slack=-1s"}},
		{Format: "ipset", Aggregate: true, Options: []string{"merge_slack=25h"}}, {Format: "nftables", Aggregate: true, Options: []string{"merge_slack=1m", "timeout=off"}},
		{Format: "f5", Options: []string{"category=a", "category=b"}}, {Format: "nginx_geo6", Family: engine.IPv4},
	} {
		if _, err := export.Check(&x); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
	for _, name := range []string{"nginx", "haproxy"} {
		if _, err := export.Check(&engine.Export{Format: name}); err != nil {
			t.Error(err)
		}
	}
}
