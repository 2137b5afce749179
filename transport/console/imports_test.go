package console

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// gzipped is a text, packed.
func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

// A list is imported as it is, in every format and packed too; what a dry run says is what comes of it.
func TestImportList(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	b.is(200, "POST", "/admin/v1/allowlists/office/items", `{"items":[{"value":"198.51.100.0/24"}]}`)
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.1"}`)
	const list = "/admin/v1/decisions/import/list?"
	out := b.is(200, "POST", list+"dry_run=true&duration=7d", "192.0.2.1\n192.0.2.2\n# a comment\n192.0.2.2\n198.51.100.7\n\n203.0.113.0/24\n")
	for name, want := range map[string]any{"format": "values", "count": 4., "new": 2., "known": 1., "repeated": 1., "allowlisted": 1., "invalid": 0., "batch": ""} {
		if out[name] != want {
			t.Errorf("a dry run: %s is %v, not %v", name, out[name], want)
		}
	}
	for i, one := range []struct{ query, body, format string }{
		{"", "value,type\n203.0.113.1,captcha\n", "csv"}, {"", `[{"value":"203.0.113.2"}]`, "json"}, {"", "{\"value\":\"203.0.113.3\"}\n", "ndjson"},
		{"format=values", "203.0.113.4", "values"}, {"", gzipped("203.0.113.5\n"), "values"}, {"", "id,source,ip,reason,action,expiration\n7,x,Ip:203.0.113.6,r,ban,3h\n", "csv"},
	} {
		out := b.is(201, "POST", list+one.query, one.body)
		value := fmt.Sprintf("203.0.113.%d", i+1)
		if found := b.is(200, "GET", "/admin/v1/decisions?value="+value, ""); out["count"] != 1. || out["format"] != one.format || found["total"] != 1. {
			t.Errorf("%q: %v, %v", one.body, out, found)
		}
	}
	bad := "203.0.113.7\nnonsense\n203.0.113.8/33\n"
	status, text, _ := b.ask("POST", list, b.tokens[operator], bad)
	if status != 400 || !strings.Contains(text, "2 entries cannot be used, and nothing was imported: line 2: ") || !strings.Contains(text, "line 3: ") {
		t.Errorf("%d %s", status, text)
	}
	if found := b.is(200, "GET", "/admin/v1/decisions?value=203.0.113.7", ""); found["total"] != 0. {
		t.Error("a refused list is stored in part")
	}
	if out := b.is(201, "POST", list+"skip_invalid=true&batch=feed", bad); out["count"] != 1. || out["invalid"] != 2. || out["batch"] != "feed" {
		t.Errorf("%v", out)
	}
	b.is(409, "POST", list+"batch=feed", "203.0.113.9")
	if out := b.is(200, "DELETE", "/admin/v1/decisions?batch=feed", ""); out["count"] != 1. {
		t.Errorf("the batch's end: %v", out)
	}
	for query, body := range map[string]string{
		"": "", "format=xls": "x", "type=Ban": "192.0.2.9", "duration=soon": "192.0.2.9", "batch=%0A": "192.0.2.9", "color=red": "192.0.2.9", "format=json": "192.0.2.9", "format=csv": "a,b\n",
		"dry_run=true": "\xff\xfe1\x00", "scope=Ip": "192.0.2.0/24", "reason=x": "\x1f\x8bnot gzip",
	} {
		b.is(400, "POST", list+query, body)
	}
	if status, text, _ := b.ask("POST", list, b.tokens[operator], gzipped(strings.Repeat("# filler\n", maxImport/8))); status != 413 || !strings.Contains(text, "more than 64 MiB") {
		t.Errorf("a list that is long once it is unpacked: %d %s", status, text)
	}
	for range mostReading {
		b.server.reading <- struct{}{}
	}
	b.is(503, "POST", list, "192.0.2.9")
}

// A list that is too long is refused with one status and one sentence, in the API and on the page.
func TestTooLongLists(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	long := strings.Repeat("# filler\n", maxImport/8)
	const says = "the list has more than 64 MiB, as it is sent or once it is unpacked: give it in parts"
	if status, text, _ := b.ask("POST", "/admin/v1/decisions/import/list", b.tokens[operator], long); status != 413 || !strings.Contains(text, says) {
		t.Errorf("in the API: %d %s", status, text)
	}
	has(t, "on the page", b.visitor().enter(operator).upload(413, "feed.txt", long), says)
}

// Who is refused early and sends on finds the answer all the same, whether he waits to be told to go on or not.
func TestRefusedUploads(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	const size = 8 << 20
	for i, c := range []struct{ path, token, head, want string }{
		{"/decisions/import/list", b.tokens[viewer], "Expect: 100-continue\r\n", "403"}, {"/decisions/import/list", b.tokens[viewer], "", "403"}, {"/decisions/import/list", "x", "Expect: 100-continue\r\n", "401"},
		{"/decisions/import/list?format=json", b.tokens[operator], "Expect: 100-continue\r\n", "400"}, {"/decisions/import/list?color=red", b.tokens[operator], "", "400"}, {"/decisions", b.tokens[operator], "Expect: 100-continue\r\n", "4"},
		{"/nothing", b.tokens[operator], "Expect: 100-continue\r\n", "404"},
	} {
		conn, err := net.Dial("tcp", b.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "POST /admin/v1%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n%s\r\n", c.path, c.token, size, c.head)
		_, _ = io.Copy(conn, io.LimitReader(zeros{}, size)) // all of it, before the answer is looked at; it fails where the server has given up
		answers := bufio.NewReader(conn)
		got, err := http.ReadResponse(answers, nil)
		if err == nil && got.StatusCode == http.StatusContinue {
			got, err = http.ReadResponse(answers, nil)
		}
		if err != nil || !strings.HasPrefix(got.Status, c.want) {
			t.Errorf("%d, %s: %v %v, want %s", i, c.path, got, err, c.want)
			continue
		}
		if text, err := io.ReadAll(got.Body); err != nil || !strings.Contains(string(text), "request_id") {
			t.Errorf("%d, %s: %q, %v", i, c.path, text, err)
		}
	}
	for path, size := range map[string]int{"/decisions": maxBody + 1, "/decisions/import/list": maxImport + 1} { // a body that nothing is sent of: it is not asked for
		conn, err := net.Dial("tcp", b.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "POST /admin/v1%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", path, b.tokens[operator], size)
		if got, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || got.StatusCode != 413 {
			t.Errorf("%s: %v %v", path, got, err)
		}
	}
}

// zeros are without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// upload sends the form of a list with a file, as a browser does; "": without one.
func (v *visitor) upload(want int, file, content string, fields ...string) string {
	v.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	if file != "" {
		part, _ := w.CreateFormFile("file", file)
		_, _ = part.Write([]byte(content))
	}
	_ = w.Close()
	r, err := http.NewRequestWithContext(v.t.Context(), "POST", v.base+"/decisions/import", &body)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.Header.Set("Origin", v.server.scheme+"://"+r.URL.Host)
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(answer.Body)
	if answer.StatusCode != want {
		v.t.Errorf("%s: %d, want %d\n%.2000s", file, answer.StatusCode, want, text.String())
	}
	return text.String()
}

// On the page a list is looked at, imported by the name that is given, and taken back.
func TestImportPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	v := b.visitor().enter(operator)
	prepared := func(page string) string {
		t.Helper()
		found := regexp.MustCompile(`name="prepared" value="(\d+)"`).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("nothing waits: %.3000s", page)
		}
		return found[1]
	}
	has(t, "the form", v.get("/decisions/import"), `enctype="multipart/form-data"`, `name="file"`)
	page := v.upload(200, "feed.csv", "value,colour\n192.0.2.1,red\nnonsense,blue\n", "format", "", "type", "ban", "duration", "7d", "list", "\r\n")
	has(t, "what it would do", page, "read as csv", "line 3", "colour", "Import 1, leave 1 out", "<dt>New</dt><dd>1</dd>")
	first := prepared(page)
	has(t, "without a word for the bad one", v.read("POST", "/decisions/import/do", form([]string{"prepared", first}), 400), "1 entries cannot be used", `name="prepared"`)
	page = v.send("/decisions/import", "list", "192.0.2.1\n192.0.2.2\n", "type", "ban", "duration", "7d")
	has(t, "a list that was pasted", page, "read as values", "Import 2")
	v.read("POST", "/decisions/import/do", form([]string{"prepared", first}), 410) // another took its place
	second := prepared(page)
	has(t, "a bad name", v.read("POST", "/decisions/import/do", form([]string{"prepared", second, "batch", "a\nb"}), 400), "notice bad", `name="prepared"`)
	second = prepared(v.send("/decisions/import", "list", "192.0.2.1\n192.0.2.2\n"))
	has(t, "done", v.send("/decisions/import/do", "prepared", second, "batch", "partners"), "2 decisions are imported, as the batch partners", ">Undo<", "192.0.2.2")
	v.read("POST", "/decisions/import/do", form([]string{"prepared", second, "batch", "again"}), 410)
	third := prepared(v.send("/decisions/import", "list", "192.0.2.3"))
	has(t, "the name again", v.read("POST", "/decisions/import/do", form([]string{"prepared", third, "batch", "partners"}), 409), "notice bad", `name="prepared"`)
	has(t, "taken back", v.send("/decisions/import/undo", "batch", "partners"), "2 decisions of the batch partners have ended")
	has(t, "nothing", v.read("POST", "/decisions/import", form([]string{"list", ""}), 400), "paste a list, or choose a file")
	has(t, "nothing good", v.send("/decisions/import", "list", "nonsense"), "Nothing of it can be imported", "line 1")
	has(t, "a word behind the list", v.upload(400, "", "", "list", "192.0.2.1\n", "type", "captcha"), "comes behind the list")
	has(t, "both", v.upload(400, "feed.txt", "192.0.2.1\n", "list", "192.0.2.2"), "not both")
	last := prepared(v.send("/decisions/import", "list", "192.0.2.4"))
	b.rig.Advance(preparedFor + time.Second)
	v.read("POST", "/decisions/import/do", form([]string{"prepared", last}), 410)
}

// Lists that wait make room for newer ones.
func TestPreparedLists(t *testing.T) {
	t.Parallel()
	now := int64(1)
	l := preparedLists{now: func() int64 { return now }}
	var ids []string
	for i := range mostPrepared + 2 {
		now++
		ids = append(ids, l.keep(fmt.Sprint(i), &preparedList{packed: make([]byte, 8)}))
	}
	for i, id := range ids {
		if found := l.look(fmt.Sprint(i), id) != nil; found != (i >= 2) {
			t.Errorf("list %d waits: %v", i, found)
		}
	}
	now++
	large := l.keep("x", &preparedList{packed: make([]byte, mostPreparedBytes+1)})
	if len(l.of) != 1 || l.take("y", large) != nil || l.take("x", large) == nil || l.take("x", large) != nil {
		t.Errorf("%d wait", len(l.of))
	}
}

// What is refused is said in the words of who asked: no flags of the command line, no types of the program.
func TestRefusalsInOwnWords(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	b.is(200, "POST", "/admin/v1/allowlists/office/items", `{"items":[{"value":"198.51.100.0/24"}]}`)
	b.is(201, "POST", "/admin/v1/decisions/import/list?batch=feed", "203.0.113.3")
	for line, says := range map[string]string{
		"/decisions/import/list?batch=feed 203.0.113.4":                     "give another name",
		`/decisions/import/list [{"value":7}]`:                              `\"value\" is of the kind number, and a string is asked for`,
		`/decisions {"value":"198.51.100.7"}`:                               "bypass_allowlist adds the decision anyway",
		`/decisions {"value":7}`:                                            `\"value\" is of the kind number, and a string is asked for`,
		`/decisions {"value":"192.0.2.1","dry_run":"yes"}`:                  `\"dry_run\" is of the kind string, and true or false is asked for`,
		`/decisions/import {"items":[{"value":"192.0.2.1","duration":{}}]}`: "a string is asked for",
		`/bouncers {"name":"x","sight":{"origins":"crowdsec"}}`:             "a list is asked for",
		`/bouncers []`: "an object is asked for",
		`/bouncers/prune {"silence":"24h","names":null}`:                             `\"names\" is null`,
		`/machines/prune {"silence":"24h","dry_run":true,"dry_run":false}`:           `\"dry_run\" is given twice`,
		`/machines/prune {"silence":"24h","dry_run":true,"DRY_RUN":false}`:           `unknown field \"DRY_RUN\": the case of letters counts`,
		`/bouncers {"Name":"x"}`:                                                     `unknown field \"Name\"`,
		`/bouncers {"name":"x","sight":{"Types":["a"]}}`:                             `unknown field \"Types\"`,
		`/decisions/import {"items":[{"VALUE":"x"}]}`:                                `unknown field \"VALUE\"`,
		`/decisions/extend {"duration":"4h","origin":"cscli","value":null}`:          `\"value\" is null`,
		`/decisions/import {"items":[{"value":"192.0.2.1"},null]}`:                   `\"items\" is null`,
		`/bouncers {"name":"x","sight":{"types":["ban"]},"sight":{"scopes":["ip"]}}`: `\"sight\" is given twice`,
		`/decisions null`: "the body is null",
		`/exports {"name":"x","format":"plain_text","limit":1.5}`:                  `\"limit\" is 1.5, and a whole number is asked for`,
		`/exports {"name":"x","format":"plain_text","limit":1e3}`:                  `\"limit\" is 1e3, and a whole number is asked for`,
		`/exports {"name":"x","format":"plain_text","limit":99999999999999999999}`: `and a whole number is asked for, not too large`,
		`/decisions/import/list?dry_run=true `:                                     "there is no decision in it",
		`/bouncers {"name":"a\u200bb"}`:                                            "holds U+200B",
		`/machines {"name":"\u202eabc"}`:                                           "holds U+202E",
		`/allowlists {"name":"\ufeff"}`:                                            "holds U+FEFF",
		`/operators {"name":"\ud800","role":"viewer"}`:                             "holds U+FFFD",
	} {
		path, body, _ := strings.Cut(line, " ")
		status, text, _ := b.ask("POST", "/admin/v1"+path, b.tokens[admins], body)
		if status/100 != 4 || !strings.Contains(text, says) || strings.Contains(text, "--") || strings.Contains(text, "Go ") {
			t.Errorf("%s: %d %s", line, status, text)
		}
	}
	page := b.visitor().enter(operator).read("POST", "/decisions/add", form([]string{"value", "198.51.100.7", "type", "ban", "duration", "4h"}), 409)
	has(t, "a page", page, "tick “Also if an allowlist covers it”")
}
