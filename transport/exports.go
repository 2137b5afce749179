package transport

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/export"
)

// exports are the lines about lists for devices that cannot be bouncers. A list that is
// unchanged for its device is answered on a loop; all else has a goroutine, for a list may
// have to be written first.
//
// 401 and 403 are for wrong secrets and foreign addresses alone: some devices let go of what
// they hold then. What is wrong here is 503, and they keep it.
type exports struct{ *core }

const exportsPath = "/exports/{export_name}"

var (
	textType   = []byte("text/plain; charset=utf-8")
	tagName    = []byte("Etag")
	varyName   = []byte("Vary")
	varyValue  = []byte("Accept-Encoding")
	cacheName  = []byte("Cache-Control")
	cacheValue = []byte("no-cache")
	gzipWord   = []byte("gzip")
)

// get answers GET and HEAD of an export by its name.
func (s exports) get(x *exchange) error {
	r := x.request
	if r.MayWait() {
		name, err := x.param()
		if err != nil {
			return err
		}
		one, sum := s.engine.View().Export(name), export.NoSum
		if one == nil {
			name, sum = export.CutSum(name)
			one = s.engine.View().Export(name)
		}
		if one == nil {
			x.told = true
			s.say(x, http.StatusNotFound, "there is no such export")
			return nil
		}
		return s.serve(x, one, sum)
	}
	view := s.engine.View()
	one := view.ExportNamed(r.Path[x.route.prefix:])
	if one == nil {
		return errLater
	}
	b, pulls := s.exports.Known(view, one, x.now)
	if b == nil || b.Held || one.RefuseEmpty && b.Count == 0 || !s.mayHave(x, one) || !s.has(x, b) {
		return errLater
	}
	s.unchanged(x, b)
	pulls.Unchanged304(x.now)
	return nil
}

// at finds the export that is served at a path of its own, or whose digest is.
func (s exports) at(path string) (*engine.Export, export.Sum) {
	view := s.engine.View()
	if one := view.ExportAt(path); one != nil {
		return one, export.NoSum
	}
	path, sum := export.CutSum(path)
	return view.ExportAt(path), sum
}

// serve answers with an export that is there, or with its digest.
func (s exports) serve(x *exchange, one *engine.Export, sum export.Sum) error {
	pull := export.Pull{At: x.now, Address: x.client, Agent: shortly(string(x.request.Agent))}
	b, err := s.answer(x, one, sum, &pull)
	if err != nil {
		return err
	}
	s.exports.Of(one.Name).Note(pull, b)
	return nil
}

// answer does it and notes what it came to.
func (s exports) answer(x *exchange, one *engine.Export, sum export.Sum, pull *export.Pull) (*export.Body, error) {
	refused, err := s.refuses(x, one)
	if err != nil {
		return nil, err
	}
	if refused {
		pull.Status = x.answer.Status()
		return nil, nil
	}
	if one.Auth != engine.ExportNone {
		x.request.Prove()
	}
	asked, err := export.ParseAsked(string(x.request.Query))
	if err != nil {
		x.failure = err.Error()
		pull.Status = http.StatusBadRequest
		s.say(x, pull.Status, err.Error())
		return nil, nil
	}
	view := s.engine.View()
	wait := export.NewWait(func() bool { return x.request.Gone() || s.life.Err() != nil })
	b, err := s.exports.Get(view, one, asked, false, x.now, wait)
	if err == nil && (sum != export.NoSum || !s.has(x, b)) {
		b, err = s.exports.Get(view, one, asked, true, x.now, wait)
	}
	if err == nil && b.Count == 0 && one.RefuseEmpty {
		err = &engine.Error{Kind: engine.ErrBusy, Text: "the list is empty, and is not to be served then"}
	}
	if err != nil {
		x.failure = err.Error()
		pull.Status = http.StatusServiceUnavailable
		x.answer.SetHeader("Retry-After", "60")
		s.say(x, pull.Status, err.Error())
		return b, nil
	}
	if sum != export.NoSum {
		pull.Status, pull.Entries = http.StatusOK, b.Count
		pull.Bytes = s.sendSum(x, b.Sum(sum))
		return b, nil
	}
	if s.has(x, b) {
		pull.Status = http.StatusNotModified
		s.unchanged(x, b)
		return b, nil
	}
	pull.Status, pull.Entries = http.StatusOK, b.Count
	pull.Bytes = s.send(x, b)
	return b, nil
}

// send gives the whole list.
func (s exports) send(x *exchange, b *export.Body) int {
	body, tag := b.Plain, b.Tag
	a := x.answer
	if x.wantsGzip() {
		body, tag = b.Gzip(), b.Packed
		a.SetHeader("Content-Encoding", "gzip")
	}
	x.shared([]byte(b.Format.ContentType()), body)
	a.Tell(tagName, tag)
	a.Tell(varyName, varyValue)
	a.Tell(cacheName, cacheValue)
	a.SetHeader("Last-Modified", time.Unix(0, b.Modified).UTC().Format(http.TimeFormat))
	a.SetHeader("X-Content-Type-Options", "nosniff")
	if n := b.Left.Omitted(); n > 0 {
		a.SetHeader("X-Lapid-Omitted", strconv.Itoa(n))
	}
	if x.request.IsHead() {
		return 0
	}
	return len(body)
}

// sendSum gives the digest of a list as it is without compression, alone on its line.
func (s exports) sendSum(x *exchange, sum []byte) int {
	body := append(slices.Clone(sum), '\n')
	x.shared(textType, body)
	x.answer.Tell(cacheName, cacheValue)
	x.answer.SetHeader("X-Content-Type-Options", "nosniff")
	if x.request.IsHead() {
		return 0
	}
	return len(body)
}

// unchanged says that the device has it. It allocates nothing.
func (s exports) unchanged(x *exchange, b *export.Body) {
	tag := b.Tag
	if x.wantsGzip() {
		tag = b.Packed
	}
	x.empty(http.StatusNotModified)
	x.answer.Tell(tagName, tag)
	x.answer.Tell(varyName, varyValue)
	x.answer.Tell(cacheName, cacheValue)
}

// say answers with a sentence, as devices show it in their logs.
func (s exports) say(x *exchange, status int, text string) {
	x.answer.Copy(status, textType, append([]byte(text), '\n'))
}

// has reports whether the device has the list already, by what it says. A tag wins over a
// moment.
func (s exports) has(x *exchange, b *export.Body) bool {
	if match := x.request.Match; len(match) > 0 {
		return hasTag(match, b.Tag) || hasTag(match, b.Packed)
	}
	if len(x.request.Since) == 0 {
		return false
	}
	since, err := http.ParseTime(string(x.request.Since))
	return err == nil && since.Unix() >= b.Modified/int64(time.Second)
}

// hasTag reports whether a list of tags has one, weak or not.
func hasTag(list, tag []byte) bool {
	tag = bytes.TrimPrefix(tag, []byte("W/"))
	for len(list) > 0 {
		one := list
		if comma := bytes.IndexByte(list, ','); comma >= 0 {
			one, list = list[:comma], list[comma+1:]
		} else {
			list = nil
		}
		one = bytes.TrimPrefix(bytes.TrimSpace(one), []byte("W/"))
		if bytes.Equal(one, tag) || len(one) == 1 && one[0] == '*' {
			return true
		}
	}
	return false
}

// wantsGzip reports whether gzip was asked for by name, and not with a weight of nothing or one
// that cannot be read.
func (x *exchange) wantsGzip() bool {
	list := x.request.Packing
	for len(list) > 0 {
		one := list
		if comma := bytes.IndexByte(list, ','); comma >= 0 {
			one, list = list[:comma], list[comma+1:]
		} else {
			list = nil
		}
		name, rest, _ := cutOutside(one, ';')
		if !bytes.EqualFold(bytes.TrimSpace(name), gzipWord) {
			continue
		}
		weight, good := weightOf(rest)
		return good && weight > 0
	}
	return false
}

// refuses answers those who may not have an export, and says whether it did. The error is
// the engine's, while a bouncer is looked up.
func (s exports) refuses(x *exchange, one *engine.Export) (bool, error) {
	if !fromAllowed(one, x.client) {
		x.deny(&auth.Refusal{Reason: auth.ExportFrom, Who: one.Name})
		x.told = true
		s.say(x, http.StatusForbidden, "this export may not be had from "+x.client.String())
		return true, nil
	}
	if s.shows(x, one) {
		return false, nil
	}
	switch one.Auth {
	case engine.ExportKey, engine.ExportCertificate:
		err := s.admitDevice(x, one)
		var refusal *auth.Refusal
		if err == nil || !errors.As(err, &refusal) {
			return false, err
		}
	}
	x.deny(&auth.Refusal{Reason: auth.ExportSecret, Who: one.Name})
	x.told = true
	switch one.Auth {
	case engine.ExportBasic:
		x.answer.SetHeader("WWW-Authenticate", `Basic realm="lapid", charset="UTF-8"`)
	case engine.ExportToken:
		x.answer.SetHeader("WWW-Authenticate", `Bearer realm="lapid"`)
	}
	s.say(x, http.StatusUnauthorized, "this export needs "+needs[one.Auth])
	return true, nil
}

// needs is what a device has to show.
var needs = map[engine.ExportAuth]string{
	engine.ExportBasic: "its user and password (Basic)", engine.ExportToken: "its token (Bearer, or token= in the query)",
	engine.ExportKey: "a bouncer's key in X-Api-Key", engine.ExportCertificate: "a client certificate of one of its units",
}

// admitDevice lets bouncers in, by their key or certificate.
func (s exports) admitDevice(x *exchange, one *engine.Export) error {
	p := x.certificate()
	if one.Auth == engine.ExportKey {
		if len(x.request.Key) == 0 && p == nil {
			return &auth.Refusal{Reason: auth.NoKey}
		}
		err := x.admitBouncer()
		if err == nil && !x.request.IsHead() { // HEAD leaves no trace, and may have no row
			x.bouncer.Visit(x.now)
		}
		return err
	}
	if p == nil {
		return &auth.Refusal{Reason: auth.BadCertificate}
	}
	return s.gate.Certified(p, one.OUs)
}

// mayHave is what a loop may find out: false is for a goroutine.
func (s exports) mayHave(x *exchange, one *engine.Export) bool {
	return fromAllowed(one, x.client) && s.shows(x, one)
}

func fromAllowed(one *engine.Export, client netip.Addr) bool {
	if len(one.AllowFrom) == 0 {
		return true
	}
	for i := range one.AllowFrom {
		if one.AllowFrom[i].Contains(client) {
			return true
		}
	}
	return false
}

// shows reports whether the request has what an export needs, as far as the export itself
// says what that is.
func (s exports) shows(x *exchange, one *engine.Export) bool {
	switch one.Auth {
	case engine.ExportAddress, engine.ExportNone:
		return true
	case engine.ExportBasic, engine.ExportToken:
	default:
		return false
	}
	scheme, value, _ := bytes.Cut(x.request.Authorization, []byte(" "))
	value = bytes.TrimSpace(value)
	var space [longestCredentials]byte
	switch {
	case bytes.EqualFold(scheme, []byte("basic")):
		n, ok := 0, base64.StdEncoding.DecodedLen(len(value)) <= len(space)
		if ok {
			var err error
			n, err = base64.StdEncoding.Decode(space[:], value)
			ok = err == nil
		}
		user, password, both := bytes.Cut(space[:n], []byte(":"))
		isUser := one.Auth == engine.ExportToken || one.User == "" || subtle.ConstantTimeCompare(user, []byte(one.User)) == 1
		return isSecret(one, password) && ok && both && isUser
	case bytes.EqualFold(scheme, []byte("bearer")):
		return one.Auth == engine.ExportToken && isSecret(one, value)
	case one.Auth == engine.ExportToken && len(x.request.Query) > 0:
		values, _ := url.ParseQuery(string(x.request.Query)) // what else it says is looked at later
		return isSecret(one, []byte(values.Get("token")))
	}
	return false
}

// longestCredentials is how many bytes a user and a password have together at most.
const longestCredentials = 1024

// isSecret compares with each secret that is valid, in the same time for each.
func isSecret(one *engine.Export, shown []byte) bool {
	hash, is := sha512.Sum512(shown), 0
	for i := range one.Secrets {
		is |= subtle.ConstantTimeCompare(hash[:], one.Secrets[i].Hash[:])
	}
	return is == 1 && len(shown) > 0
}
