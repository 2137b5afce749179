package capitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check looks at one request: what it must be like is the contract of the Central API, as
// the servers in the field keep it. body is unpacked.
type check struct {
	r        *http.Request
	body     []byte
	packed   bool
	problems []string
}

// Check says what a request does otherwise than the contract has it; nil: nothing. What
// does not lie below v1/ or v3/ is taken for a link, which is asked for without credentials.
// body is the unpacked body, and packed whether it came in gzip.
func Check(r *http.Request, body []byte, packed bool) []string {
	c := &check{r: r, body: body, packed: packed}
	path := c.path()
	if path == "" {
		c.link()
		return c.problems
	}
	c.heads(path)
	switch r.Method + " " + path {
	case "POST v3/watchers/login":
		c.login()
	case "POST v3/watchers":
		c.register()
	case "POST v3/watchers/enroll":
		c.enroll()
	case "GET v3/decisions/stream":
		c.query("startup", "^true$", "community_pull", "^false$", "additional_pull", "^false$")
	case "POST v3/signals":
		c.signals()
	case "POST v3/metrics/":
		c.presence()
	case "POST v3/usage-metrics":
		c.usage()
	case "POST v3/decisions/delete":
		c.deletions()
	case "GET v1/decisions/stream/poll":
		c.query("since_time", "^-?[0-9]+$", "timeout", "^[0-9]+$")
	case "GET v1/permissions":
		c.query()
	default:
		c.bad("nobody asks for %s %s", r.Method, r.URL.Path)
	}
	return c.problems
}

// path is that of the service, "" for a link. The base may have a path of its own.
func (c *check) path() string {
	at := regexp.MustCompile(`(^|/)(v[13]/.*)$`).FindStringSubmatch(c.r.URL.Path)
	if at == nil {
		return ""
	}
	return at[2]
}

func (c *check) bad(format string, args ...any) {
	c.problems = append(c.problems, c.r.Method+" "+c.r.URL.Path+": "+fmt.Sprintf(format, args...))
}

func (c *check) link() {
	h := c.r.Header
	if c.r.Method != http.MethodGet || len(c.body) > 0 {
		c.bad("a link is fetched with GET and without a body")
	}
	for _, name := range []string{"Authorization", "Cookie", "Referer"} {
		if h.Get(name) != "" {
			c.bad("a link is asked for with %s", name)
		}
	}
	if strings.HasPrefix(c.r.UserAgent(), "crowdsec") {
		c.bad("a link is asked for as %q", c.r.UserAgent())
	}
}

// heads are what every request to the service has.
func (c *check) heads(path string) {
	h := c.r.Header
	if !regexp.MustCompile(`^crowdsec/[^ ]*-[a-z]+$`).MatchString(c.r.UserAgent()) {
		c.bad("User-Agent is %q", c.r.UserAgent())
	}
	if h.Get("Content-Type") != "application/json" {
		c.bad("Content-Type is %q", h.Get("Content-Type"))
	}
	_, token := h["Authorization"]
	login := path == "v3/watchers/login" || path == "v3/watchers"
	if login == token {
		c.bad("with a token: %v", token)
	} else if token && !regexp.MustCompile(`^Bearer [!-~]+$`).MatchString(h.Get("Authorization")) {
		c.bad("Authorization is %q", h.Get("Authorization"))
	}
	if want := len(c.body) > 5<<10 && !login; c.packed != want {
		c.bad("%d bytes, packed: %v", len(c.body), c.packed)
	}
	if c.r.Method == http.MethodGet {
		if len(c.body) > 0 {
			c.bad("it has a body")
		}
		return
	}
	c.query()
	if !json.Valid(c.body) || !bytes.HasSuffix(c.body, []byte("\n")) {
		c.bad("its body is no JSON with an end of line: %.200q", c.body)
	}
	if bytes.Contains(c.body, []byte(`\u003c`)) || bytes.Contains(c.body, []byte(`\u0026`)) {
		c.bad("its body is escaped for HTML: %.200q", c.body)
	}
}

// query: pairs of a name and what its value is like; no others may be there.
func (c *check) query(pairs ...string) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.bad("query: %v", err)
	}
	for name, values := range query {
		at := slices.Index(pairs, name)
		if at < 0 || at%2 != 0 || len(values) != 1 || !regexp.MustCompile(pairs[at+1]).MatchString(values[0]) {
			c.bad("query %s=%q", name, values)
		}
	}
}

// object is a body or a part of one with the fields that it must have, and may have.
func (c *check) object(where string, v any, must, may string) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		c.bad("%s is no object", where)
		return nil
	}
	allowed := append(strings.Fields(must), strings.Fields(may)...)
	for name := range m {
		if !slices.Contains(allowed, name) {
			c.bad("%s has %q", where, name)
		}
	}
	for _, name := range strings.Fields(must) {
		if _, ok := m[name]; !ok {
			c.bad("%s lacks %q", where, name)
		}
	}
	return m
}

// each looks at the entries of a list; how many there may be.
func (c *check) each(where string, v any, least, most int, look func(where string, entry any)) {
	list, ok := v.([]any)
	if !ok || len(list) < least || len(list) > most {
		c.bad("%s is no list of %d to %d: %.100v", where, least, most, v)
		return
	}
	for i, entry := range list {
		look(where+"["+strconv.Itoa(i)+"]", entry)
	}
}

func (c *check) texts(where string, m map[string]any, names string) {
	for _, name := range strings.Fields(names) {
		if v, there := m[name]; there {
			if _, ok := v.(string); !ok {
				c.bad("%s.%s is no text: %v", where, name, v)
			}
		}
	}
}

func (c *check) times(where string, m map[string]any, names string) {
	for _, name := range strings.Fields(names) {
		if v, there := m[name]; there {
			text, _ := v.(string)
			if _, err := time.Parse(time.RFC3339, text); err != nil {
				c.bad("%s.%s is no time: %v", where, name, v)
			}
		}
	}
}

func (c *check) text(where string, v any) {
	if _, ok := v.(string); !ok {
		c.bad("%s is no text: %v", where, v)
	}
}

func (c *check) decoded() (v any) {
	if err := json.Unmarshal(c.body, &v); err != nil {
		c.bad("%v", err)
	}
	return v
}

func (c *check) login() {
	m := c.object("login", c.decoded(), "machine_id password scenarios", "")
	c.texts("login", m, "machine_id password")
	c.each("scenarios", m["scenarios"], 0, 10_000, c.text)
}

func (c *check) register() {
	m := c.object("registration", c.decoded(), "machine_id password", "")
	if id, _ := m["machine_id"].(string); !regexp.MustCompile(`^[a-zA-Z0-9]{48}$`).MatchString(id) {
		c.bad("machine_id is %q", id)
	}
	if pw, _ := m["password"].(string); len(pw) != 64 {
		c.bad("a password of %d letters", len(pw))
	}
}

func (c *check) enroll() {
	m := c.object("enrolment", c.decoded(), "name tags autoenroll", "attachment_key overwrite")
	c.texts("enrolment", m, "name attachment_key")
	c.each("tags", m["tags"], 0, 1000, c.text)
	if _, key := m["attachment_key"]; key == (m["autoenroll"] == true) {
		c.bad("with a key: %v, autoenroll: %v", key, m["autoenroll"])
	}
	if over, there := m["overwrite"]; there && over != true {
		c.bad("overwrite is %v", over)
	}
}

func (c *check) signals() {
	c.each("signals", c.decoded(), 1, 50, func(where string, entry any) {
		m := c.object(where, entry, "message scenario scenario_hash scenario_version start_at stop_at source context",
			"machine_id uuid scenario_trust kind created_at decisions")
		c.texts(where, m, "message scenario scenario_hash scenario_version machine_id uuid scenario_trust kind")
		c.times(where, m, "start_at stop_at created_at")
		src := c.object(where+".source", m["source"], "scope value", "ip range as_number as_name cn latitude longitude")
		c.texts(where+".source", src, "scope value ip range as_number as_name cn")
		if m["context"] != nil {
			c.each(where+".context", m["context"], 0, 10_000, func(where string, entry any) {
				c.texts(where, c.object(where, entry, "key value", ""), "key value")
			})
		}
		if m["decisions"] != nil {
			c.each(where+".decisions", m["decisions"], 1, 1000, c.decision)
		}
	})
}

func (c *check) decision(where string, entry any) {
	m := c.object(where, entry, "duration id origin scenario scope type value uuid", "until simulated")
	c.texts(where, m, "duration origin scenario scope type value uuid until")
	if text, _ := m["duration"].(string); m["id"] != 0.0 || !parses(text) {
		c.bad("%s: id %v, duration %q", where, m["id"], text)
	}
}

func parses(duration string) bool { _, err := time.ParseDuration(duration); return err == nil }

func (c *check) presence() {
	m := c.object("metrics", c.decoded(), "apil_version machines bouncers", "")
	c.each("machines", m["machines"], 0, 50_000, func(where string, entry any) {
		one := c.object(where, entry, "name", "version last_push last_update")
		c.texts(where, one, "name version")
		c.times(where, one, "last_push last_update")
	})
	c.each("bouncers", m["bouncers"], 0, 50_000, func(where string, entry any) {
		one := c.object(where, entry, "custom_name", "name version last_pull")
		c.texts(where, one, "custom_name name version")
		c.times(where, one, "last_pull")
	})
}

func (c *check) usage() {
	const base = "feature_flags metrics os utc_startup_timestamp version "
	look := func(where string, v any, must, may string) map[string]any {
		m := c.object(where, v, base+must, may)
		c.each(where+".feature_flags", m["feature_flags"], 0, 1000, c.text)
		c.each(where+".metrics", m["metrics"], 0, 100_000, func(where string, entry any) {
			c.object(where, entry, "items meta", "")
		})
		c.texts(where+".os", c.object(where+".os", m["os"], "family name version", ""), "family name version")
		return m
	}
	m := c.object("usage", c.decoded(), "lapi log_processors remediation_components", "")
	lapi := look("lapi", m["lapi"], "console_options", "")
	c.each("console_options", lapi["console_options"], 1, 1, c.text)
	c.each("log_processors", m["log_processors"], 0, 50_000, func(where string, entry any) {
		one := look(where, entry, "name last_push last_update datasources hub_items", "")
		c.texts(where, one, "name")
	})
	c.each("remediation_components", m["remediation_components"], 0, 50_000, func(where string, entry any) {
		one := look(where, entry, "name", "type last_pull")
		c.texts(where, one, "name type")
	})
}

func (c *check) deletions() { c.each("deletions", c.decoded(), 1, 50, c.text) }
