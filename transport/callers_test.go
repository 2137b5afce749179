package transport

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lapid/engine"
	"lapid/transport/auth"
)

// The tables below say what every line of the server's table, and what is not
// in it, answers to every kind of caller. A dash repeats the cell to its left;
// "tls" is a connection that does not come about. What is asked for does not
// exist where that matters, so that the cells do not depend on one another.
// Everybody asks over TLS, except on the socket, of a house that takes
// registrations from its own machine only, trusts 192.0.2.0/24, and takes the
// word of the proxy 127.0.0.1.

// byCredential is asked without a certificate, by
//
//	none    nobody in particular          again   a token of a removed machine whose id is another's now
//	badkey  an unknown key                wait    a token of a machine that was never validated
//	key     a bouncer's key               forged  a token signed with another secret
//	gone    a deleted bouncer's key       cookie  a good token, in the cookie
//	token   a machine's token             bad+t   a bad key and a good token
//	late    an expired token              both    a good key and a good token
//	out     a removed machine's token
const byCredential = `
                                        none badkey key gone token late out again wait forged cookie bad+t both
GET    /health                          200  -      -   -    -     -    -   -     -    -      -      -     -
POST   /v1/watchers                     422  -      -   -    -     -    -   -     -    -      -      -     -
POST   /v1/watchers/login               401  -      -   -    -     -    -   -     -    -      -      -     -
DELETE /v1/watchers/self                401  -      -   -    204   401  500 401   401  401    204    -     -
GET    /v1/refresh_token                401  -      -   -    200   200  401 401   401  401    200    -     -
GET    /v1/heartbeat                    401  -      -   -    200   401  401 401   401  401    200    -     -
GET    /v1/alerts                       401  -      -   -    200   401  401 401   401  401    200    -     -
HEAD   /v1/alerts                       401  -      -   -    200   401  401 401   401  401    200    -     -
POST   /v1/alerts                       401  -      -   -    201   401  401 401   401  401    201    -     -
DELETE /v1/alerts?kind=none             401  -      -   -    200   401  401 401   401  401    200    -     -
GET    /v1/alerts/99                    401  -      -   -    404   401  401 401   401  401    404    -     -
HEAD   /v1/alerts/99                    401  -      -   -    404   401  401 401   401  401    404    -     -
DELETE /v1/alerts/99                    401  -      -   -    500   401  401 401   401  401    500    -     -
GET    /v1/decisions                    403  403    200 403  403   -    -   -     -    -      -      403   200
HEAD   /v1/decisions                    403  403    200 403  403   -    -   -     -    -      -      403   200
GET    /v1/decisions/stream             403  403    200 403  403   -    -   -     -    -      -      403   200
HEAD   /v1/decisions/stream             403  403    200 403  403   -    -   -     -    -      -      403   200
GET    /auth                            403  403    400 403  403   -    -   -     -    -      -      403   400
*      /auth                            403  403    400 403  403   -    -   -     -    -      -      403   400
DELETE /v1/decisions?value=none         401  -      -   -    200   401  401 401   401  401    200    -     -
DELETE /v1/decisions/99                 401  -      -   -    500   401  401 401   401  401    500    -     -
GET    /v1/allowlists                   401  -      -   -    200   401  401 401   401  401    200    -     -
GET    /v1/allowlists/none              401  -      -   -    500   401  401 401   401  401    500    -     -
POST   /v1/allowlists/check             401  -      -   -    400   401  401 401   401  401    400    -     -
GET    /v1/allowlists/check/192.0.2.1   401  -      -   -    200   401  401 401   401  401    200    -     -
HEAD   /v1/allowlists/check/192.0.2.1   401  -      -   -    204   401  401 401   401  401    204    -     -
POST   /v1/usage-metrics                403  403    400 403  400   401  401 401   401  401    403    403   400
GET    /exports/none                    404  -      -   -    -     -    -   -     -    -      -      -     -
HEAD   /exports/none                    404  -      -   -    -     -    -   -     -    -      -      -     -
GET    /openapi.json                    200  -      -   -    -     -    -   -     -    -      -      -     -
HEAD   /openapi.json                    200  -      -   -    -     -    -   -     -    -      -      -     -
GET    /openapi.yaml                    200  -      -   -    -     -    -   -     -    -      -      -     -
HEAD   /openapi.yaml                    200  -      -   -    -     -    -   -     -    -      -      -     -
GET    /docs                            200  -      -   -    -     -    -   -     -    -      -      -     -
HEAD   /docs                            200  -      -   -    -     -    -   -     -    -      -      -     -
GET    /nowhere                         404  -      -   -    -     -    -   -     -    -      -      -     -
PUT    /v1/alerts                       405  -      -   -    -     -    -   -     -    -      -      -     -
GET    /v1/alerts/                      301  -      -   -    -     -    -   -     -    -      -      -     -
`

// byCertificate is asked with a client certificate,
//
//	bouncer  a bouncer's              late     one that expired in 2021
//	agent    a machine's              foreign  one of an authority that is not ours
//	other    of another unit          oth+key  of another unit, and a bouncer's key
//	revoked  a revoked bouncer's      oth+tok  of another unit, and a machine's token
//	                                  bou+tok  a bouncer's, and a machine's token
const byCertificate = `
                                        bouncer agent other revoked late foreign oth+key oth+tok bou+tok
GET    /health                          200     -     -     -       tls  tls     200     -       -
POST   /v1/watchers                     422     -     -     -       tls  tls     422     -       -
POST   /v1/watchers/login               401     200   401   401     tls  tls     401     -       -
DELETE /v1/watchers/self                401     -     -     -       tls  tls     401     204     -
GET    /v1/refresh_token                401     -     -     -       tls  tls     401     200     -
GET    /v1/heartbeat                    401     -     -     -       tls  tls     401     200     -
GET    /v1/alerts                       401     -     -     -       tls  tls     401     200     -
HEAD   /v1/alerts                       401     -     -     -       tls  tls     401     200     -
POST   /v1/alerts                       401     -     -     -       tls  tls     401     201     -
DELETE /v1/alerts?kind=none             401     -     -     -       tls  tls     401     200     -
GET    /v1/alerts/99                    401     -     -     -       tls  tls     401     404     -
HEAD   /v1/alerts/99                    401     -     -     -       tls  tls     401     404     -
DELETE /v1/alerts/99                    401     -     -     -       tls  tls     401     500     -
GET    /v1/decisions                    200     403   -     -       tls  tls     403     -       200
HEAD   /v1/decisions                    200     403   -     -       tls  tls     403     -       200
GET    /v1/decisions/stream             200     403   -     -       tls  tls     403     -       200
HEAD   /v1/decisions/stream             200     403   -     -       tls  tls     403     -       200
GET    /auth                            400     403   -     -       tls  tls     403     -       400
*      /auth                            400     403   -     -       tls  tls     403     -       400
DELETE /v1/decisions?value=none         401     -     -     -       tls  tls     401     200     -
DELETE /v1/decisions/99                 401     -     -     -       tls  tls     401     500     -
GET    /v1/allowlists                   401     -     -     -       tls  tls     401     200     -
GET    /v1/allowlists/none              401     -     -     -       tls  tls     401     500     -
POST   /v1/allowlists/check             401     -     -     -       tls  tls     401     400     -
GET    /v1/allowlists/check/192.0.2.1   401     -     -     -       tls  tls     401     200     -
HEAD   /v1/allowlists/check/192.0.2.1   401     -     -     -       tls  tls     401     204     -
POST   /v1/usage-metrics                400     403   -     -       tls  tls     403     400     -
GET    /exports/none                    404     -     -     -       tls  tls     404     -       -
HEAD   /exports/none                    404     -     -     -       tls  tls     404     -       -
GET    /openapi.json                    200     -     -     -       tls  tls     200     -       -
HEAD   /openapi.json                    200     -     -     -       tls  tls     200     -       -
GET    /openapi.yaml                    200     -     -     -       tls  tls     200     -       -
HEAD   /openapi.yaml                    200     -     -     -       tls  tls     200     -       -
GET    /docs                            200     -     -     -       tls  tls     200     -       -
HEAD   /docs                            200     -     -     -       tls  tls     200     -       -
GET    /nowhere                         404     -     -     -       tls  tls     404     -       -
PUT    /v1/alerts                       405     -     -     -       tls  tls     405     -       -
GET    /v1/alerts/                      301     -     -     -       tls  tls     301     -       -
`

// byAddress is asked with a good key and a good token, from
//
//	here     127.0.0.1                          forged   127.0.0.2, which says it speaks for 127.0.0.1
//	trusted  a trusted address, by the proxy    socket   the Unix socket
//	far      another address, by the proxy      sock+fa  the socket, which says it speaks for a far address
//	peer     127.0.0.2, which is not trusted    sock-no  the socket, without key and token
const byAddress = `
                                        here trusted far peer forged socket sock+fa sock-no
GET    /health                          200  -       -   -    -      -      -       200
POST   /v1/watchers                     422  403     403 403  403    422    422     422
POST   /v1/watchers/login               401  -       -   -    -      -      -       401
DELETE /v1/watchers/self                204  -       -   -    -      -      -       401
GET    /v1/refresh_token                200  -       -   -    -      -      -       401
GET    /v1/heartbeat                    200  -       -   -    -      -      -       401
GET    /v1/alerts                       200  -       -   -    -      -      -       401
HEAD   /v1/alerts                       200  -       -   -    -      -      -       401
POST   /v1/alerts                       201  -       -   -    -      -      -       401
DELETE /v1/alerts?kind=none             200  200     403 403  403    200    200     401
GET    /v1/alerts/99                    404  -       -   -    -      -      -       401
HEAD   /v1/alerts/99                    404  -       -   -    -      -      -       401
DELETE /v1/alerts/99                    500  500     403 403  403    500    500     401
GET    /v1/decisions                    200  -       -   -    -      -      -       403
HEAD   /v1/decisions                    200  -       -   -    -      -      -       403
GET    /v1/decisions/stream             200  -       -   -    -      -      -       403
HEAD   /v1/decisions/stream             200  -       -   -    -      -      -       403
GET    /auth                            400  200     200 400  400    400    200     403
*      /auth                            400  200     200 400  400    400    200     403
DELETE /v1/decisions?value=none         200  -       -   -    -      -      -       401
DELETE /v1/decisions/99                 500  -       -   -    -      -      -       401
GET    /v1/allowlists                   200  -       -   -    -      -      -       401
GET    /v1/allowlists/none              500  -       -   -    -      -      -       401
POST   /v1/allowlists/check             400  -       -   -    -      -      -       401
GET    /v1/allowlists/check/192.0.2.1   200  -       -   -    -      -      -       401
HEAD   /v1/allowlists/check/192.0.2.1   204  -       -   -    -      -      -       401
POST   /v1/usage-metrics                400  -       -   -    -      -      -       403
GET    /exports/none                    404  -       -   -    -      -      -       -
HEAD   /exports/none                    404  -       -   -    -      -      -       -
GET    /openapi.json                    200  -       -   -    -      -      -       200
HEAD   /openapi.json                    200  -       -   -    -      -      -       200
GET    /openapi.yaml                    200  -       -   -    -      -      -       200
HEAD   /openapi.yaml                    200  -       -   -    -      -      -       200
GET    /docs                            200  -       -   -    -      -      -       200
HEAD   /docs                            200  -       -   -    -      -      -       200
GET    /nowhere                         404  -       -   -    -      -      -       404
PUT    /v1/alerts                       405  -       -   -    -      -      -       405
GET    /v1/alerts/                      301  -       -   -    -      -      -       301
`

// TestWhoMayDoWhat asks for every line as every kind of caller.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	bothWays(t, testWhoMayDoWhat)
}

func testWhoMayDoWhat(t *wireTest) {
	t.Parallel()
	c := newCertificates(t)
	h := newHouse(t, func(b *build) {
		c.serve(b)
		b.server.Socket = filepath.Join(t.TempDir(), "lapi.sock")
		b.gate.Rules.LocalRegistration = true
		b.gate.Rules.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		b.gate.Rules.TrustedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	for _, grid := range []struct {
		name, text string
		callers    map[string]testCaller
	}{
		{"credential", byCredential, h.byCredential(c)},
		{"certificate", byCertificate, h.byCertificate(c)},
		{"address", byAddress, h.byAddress(c)},
	} {
		lines := strings.Split(strings.Trim(grid.text, "\n"), "\n")
		columns := strings.Fields(lines[0])
		h.everyLine(grid.name, lines[1:])
		for _, line := range lines[1:] {
			cells := strings.Fields(line)
			if len(cells) != len(columns)+2 {
				t.Fatalf("by %s: %s %s has %d cells, not %d", grid.name, cells[0], cells[1], len(cells)-2, len(columns))
			}
			for i, want := range cells[2:] {
				if want == "-" {
					want = cells[i+1]
					cells[i+2] = want
				}
				h.cell(columns[i], grid.callers[columns[i]], cells[0], cells[1], want)
			}
		}
	}
}

// everyLine checks that a grid has every line of the server's table.
func (h *house) everyLine(name string, grid []string) {
	h.t.Helper()
	for i := range h.server.routes.lines {
		r := &h.server.routes.lines[i]
		if r.path == "" {
			continue // of what matches none
		}
		if !slices.ContainsFunc(grid, func(line string) bool {
			cells := strings.Fields(line)
			path, _, _ := strings.Cut(cells[1], "?")
			inside := r.prefix < len(r.path) && strings.HasPrefix(path, r.path[:r.prefix])
			return cells[0] == r.method && (path == r.path || inside)
		}) {
			h.t.Errorf("by %s: no row for %s %s", name, r.method, r.path)
		}
	}
}

// cell asks once.
func (h *house) cell(name string, c testCaller, method, path, want string) {
	h.t.Helper()
	body := map[string]string{
		"/v1/alerts": "[]", "/v1/watchers": "{}", "/v1/watchers/login": "{}", "/v1/usage-metrics": "{}", "/v1/allowlists/check": "{}",
	}[path]
	if c.client == nil {
		h.t.Fatalf("nobody is called %s", name)
	}
	url := h.url
	if c.socket {
		url = "http://socket"
	}
	got, err := h.tryBy(c.client, url, method, path, body, c.header...)
	status := strconv.Itoa(got.status)
	if err != nil {
		status = "tls"
	}
	if status != want {
		h.t.Errorf("%s %s as %s: %s %s %v, want %s", method, path, name, status, got.body, err, want)
	}
	if challenged := got.header.Get("WWW-Authenticate") != ""; challenged != (want == "401") {
		h.t.Errorf("%s %s as %s: challenged %v", method, path, name, challenged)
	}
	if want == "204" && path == "/v1/watchers/self" { // it is gone, and needed for the next cell
		h.addMachine(testMachine, true)
	}
}

// testCaller is somebody with certain credentials at a certain place.
type testCaller struct {
	client *http.Client
	socket bool
	header []string
}

// sign makes a token, good or not.
func (h *house) sign(secret []byte, id string, ends time.Duration) string {
	now := h.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"id": id, "exp": now.Add(ends).Unix(), "orig_iat": now.Add(-time.Minute).Unix()}).SignedString(secret)
	h.must(err)
	return text
}

// supplanted is the token of a machine that was removed, and whose id somebody
// else has now.
func (h *house) supplanted() string {
	h.t.Helper()
	h.addMachine("again", true)
	g, err := h.gate.Login(h.t.Context(), auth.Credentials{MachineID: "again", Password: testPassword}, netip.MustParseAddr("127.0.0.1"), []byte("tester/1.0"))
	h.must(err)
	h.must(h.DeleteMachine(h.t.Context(), "again"))
	h.Advance(time.Second)
	h.addMachine("again", true)
	return g.Token
}

const bearer = "Authorization: Bearer "

func (h *house) byCredential(c *certificates) map[string]testCaller {
	h.addBouncer("gone", "a-key-that-is-gone", false)
	h.must(h.DeleteBouncer(h.t.Context(), "gone"))
	client := c.client(h.t, nil)
	good, key := h.sign(testSecret, testMachine, time.Hour), "X-Api-Key: "+testKey
	all := map[string]testCaller{}
	for name, header := range map[string][]string{
		"none":   nil,
		"badkey": {"X-Api-Key: nonsense"},
		"key":    {key},
		"gone":   {"X-Api-Key: a-key-that-is-gone"},
		"token":  {bearer + good},
		"late":   {bearer + h.sign(testSecret, testMachine, -time.Second)},
		"out":    {bearer + h.sign(testSecret, "nobody", time.Hour)},
		"again":  {bearer + h.supplanted()},
		"wait":   {bearer + h.sign(testSecret, "stranger", time.Hour)},
		"forged": {bearer + h.sign([]byte("another"), testMachine, time.Hour)},
		"cookie": {"Cookie: jwt=" + good},
		"bad+t":  {"X-Api-Key: nonsense", bearer + good},
		"both":   {key, bearer + good},
	} {
		all[name] = testCaller{client: client, header: header}
	}
	return all
}

func (h *house) byCertificate(c *certificates) map[string]testCaller {
	token, key := bearer+h.sign(testSecret, testMachine, time.Hour), "X-Api-Key: "+testKey
	foreign := newCertificates(h.t).bouncer
	as := func(own *tls.Certificate, header ...string) testCaller {
		return testCaller{client: c.client(h.t, own), header: header}
	}
	return map[string]testCaller{
		"bouncer": as(c.bouncer), "agent": as(c.agent), "other": as(c.other), "revoked": as(c.revoked),
		"late": as(c.late), "foreign": as(foreign),
		"oth+key": as(c.other, key), "oth+tok": as(c.other, token), "bou+tok": as(c.bouncer, token),
	}
}

func (h *house) byAddress(c *certificates) map[string]testCaller {
	good := []string{bearer + h.sign(testSecret, testMachine, time.Hour), "X-Api-Key: " + testKey}
	here, there, socket := c.client(h.t, nil), c.clientFrom(h.t, "127.0.0.2", nil), h.overSocket()
	from := func(address string) []string { return append([]string{"X-Forwarded-For: " + address}, good...) }
	return map[string]testCaller{
		"here":    {client: here, header: good},
		"trusted": {client: here, header: from("192.0.2.9")},
		"far":     {client: here, header: from("203.0.113.9")},
		"peer":    {client: there, header: good},
		"forged":  {client: there, header: from("127.0.0.1")},
		"socket":  {client: socket, socket: true, header: good},
		"sock+fa": {client: socket, socket: true, header: from("203.0.113.9")},
		"sock-no": {client: socket, socket: true},
	}
}

// TestSelf removes a machine by its own token, twice.
func TestSelf(t *testing.T) {
	t.Parallel()
	bothWays(t, testSelf)
}

func testSelf(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	token := bearer + h.token()
	h.wants(h.ask("DELETE", "/v1/watchers/self", "", token), 204, "")
	h.wants(h.ask("DELETE", "/v1/watchers/self", "", token), 500, `{"message":"'a-machine' does not exist"}`)
	h.wants(h.ask("POST", "/v1/alerts", "[]", token), 401, `{"code":401,"message":"machine a-machine does not exist"}`)
	h.wants(h.ask("POST", "/v1/watchers/login", `{"machine_id":"stranger","password":"a-password"}`), 401, `{"code":401,"message":"machine stranger not validated"}`)
}

// TestCertificateEnds keeps a connection open until the certificate it was
// opened with is over.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	bothWays(t, testCertificateEnds)
}

func testCertificateEnds(t *wireTest) {
	t.Parallel()
	c := newCertificates(t)
	h := newHouse(t, c.serve)
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	client := c.client(t, c.bouncer)
	h.wants(h.askBy(client, h.url, "GET", "/v1/decisions?ip=192.0.2.1", ""), 200, "null")
	h.Advance(40 * 365 * 24 * time.Hour)
	h.wants(h.askBy(client, h.url, "GET", "/v1/decisions?ip=192.0.2.1", ""), 403, `{"message":"access forbidden"}`)
}

// TestCertified has an agent log in and a bouncer poll by certificate.
func TestCertified(t *testing.T) {
	t.Parallel()
	bothWays(t, testCertified)
}

func testCertified(t *wireTest) {
	t.Parallel()
	c := newCertificates(t)
	h := newHouse(t, c.serve)
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	got := h.askBy(c.client(t, c.agent), h.url, "POST", "/v1/watchers/login", `{"scenarios":["a/b"]}`)
	if m := h.View().Machine("lp@127.0.0.1"); got.status != 200 || m == nil || m.Scenarios != "a/b" || m.AuthType != engine.AuthTLS {
		t.Errorf("login: %d %s", got.status, got.body)
	}
	h.wants(h.askBy(c.client(t, c.agent), h.url, "POST", "/v1/watchers/login", ``), 401, `{"code":401,"message":"missing scenarios list in login request for TLS auth: EOF"}`)
	h.wants(h.askBy(c.client(t, c.other), h.url, "POST", "/v1/watchers/login", `{}`), 401, `{"code":401,"message":"client certificate OU [others] doesn't match expected OU [agents]"}`)
	client := c.client(t, c.bouncer)
	for range 3 {
		h.wants(h.askBy(client, h.url, "GET", "/v1/decisions?ip=192.0.2.1", ""), 200, "null")
	}
	if row := h.View().Bouncer("fw@127.0.0.1"); row == nil {
		t.Error("no row for the certificate")
	}
}
