package shadow

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// compareHeads compares status and headers. It gives true when the bodies need not be looked at.
func compareHeads(x *exchange) (list []difference, over bool) {
	theirs, ours := &x.answers[Theirs], &x.answers[Ours]
	if theirs.status != ours.status {
		return []difference{judgeStatus(x, theirs, ours)}, true
	}
	for _, name := range []string{"Content-Type", "Allow", "Location"} {
		a, b := theirs.header.Get(name), ours.header.Get(name)
		if name == "Allow" {
			a, b = sortedWords(a), sortedWords(b)
		}
		if a == b {
			continue
		}
		d := difference{kind: "header " + name, what: fmt.Sprintf("%q and %q", a, b)}
		if olderForm(x, name, a) {
			d.reason = whyOlderForm
		}
		list = append(list, d)
	}
	return list, false
}

// olderForm tells whether a header is one that older servers send otherwise: the stream and HEAD had the Content-Type of all
// other answers, redirects had a page, and Allow was not sent.
func olderForm(x *exchange, name, theirs string) bool {
	switch name {
	case "Allow":
		return theirs == ""
	case "Content-Type":
		return x.route.kind == streamKind && strings.HasPrefix(theirs, "application/json") || x.method == http.MethodHead ||
			x.answers[Theirs].status == http.StatusMovedPermanently || x.answers[Theirs].status == http.StatusTemporaryRedirect
	}
	return false
}

// newerRoute tells whether a route is one that servers before 1.6 do not have.
func newerRoute(r *route) bool {
	return strings.Contains(r.name, "/v1/allowlists") || strings.Contains(r.name, "/v1/usage-metrics")
}

// judgeStatus says why two statuses may differ.
func judgeStatus(x *exchange, theirs, ours *answer) difference {
	d := difference{kind: fmt.Sprintf("status %d and %d", theirs.status, ours.status)}
	switch {
	case theirs.status == http.StatusNotFound && newerRoute(x.route) && theirs.body.n == 0:
		d.reason = whyOlderRoute
	case theirs.status == http.StatusInternalServerError && theirs.body.n == 0 && ours.status >= 400 && x.method != http.MethodHead:
		d.reason = whyCrash
	case strings.HasSuffix(x.route.name, "/stream") && theirs.status == http.StatusInternalServerError && ours.status == http.StatusOK && ours.body.n < 64:
		d.reason = whyOlderStatus // a filter that cannot be used: two empty lists by now
	case x.route.name == "POST /v1/watchers" && theirs.status == http.StatusInternalServerError && ours.status == http.StatusUnprocessableEntity:
		d.reason = whyOlderStatus
	case theirs.status < 400 && ours.status == http.StatusForbidden && x.header.Get("X-Api-Key") != "":
		d.kind = "lapid does not know a key that the old server knows: run 'lapid movein' again or, if it was rotated here, give the bouncer the new one"
	case theirs.status == http.StatusForbidden && ours.status < 400 && x.header.Get("X-Api-Key") != "":
		d.kind = "the old server does not know a key that lapid knows: it was made or rotated here ('lapid bouncers add', 'rotate')"
	case theirs.status < 400 && ours.status == http.StatusUnauthorized:
		d.kind = "lapid does not know a machine, its password or its token, which the old server knows: run 'lapid movein' again"
	}
	return d
}

// errorClasses are what errors are about, by words that their messages have in every version. The first that fits counts.
var errorClasses = []struct{ class, words string }{
	{"forbidden", "access forbidden"}, {"token", "cookie token is empty"}, {"token", "token"}, {"token", "signature"}, {"token", "signing"},
	{"form", "validation failure list"}, {"form", "input format error"}, {"form", "missing:"}, {"form", "unexpected eof"}, {"form", "invalid character"}, {"form", "cannot unmarshal"},
	{"form", "eof"}, {"form", "too large"}, {"form", "gzip"},
	{"password", "incorrect username or password"}, {"machine", "ent: machine"}, {"machine", "not validated"}, {"machine", "already exist"},
	{"filter", "invalid filter"}, {"filter", "unable to convert"}, {"filter", "invalid ip"}, {"filter", "parsing"}, {"filter", "unable to parse"}, {"filter", "unable to query"},
	{"unknown", "not found"}, {"unknown", "doesn't exist"}, {"unknown", "does not exist"}, {"number", "must be valid integer"}, {"duration", "duration"},
}

// errorClass is what an error is about; "" for one that is not known.
func errorClass(body []byte) (class, message string) {
	var e struct{ Message string }
	if json.Unmarshal(body, &e) != nil {
		return "", string(body)
	}
	low := strings.ToLower(e.Message)
	for _, c := range errorClasses {
		if strings.Contains(low, c.words) {
			return c.class, e.Message
		}
	}
	return "", e.Message
}

// compareErrors compares two errors of one status: the message by class.
func compareErrors(theirs, ours []byte) []difference {
	a, aText := errorClass(theirs)
	b, bText := errorClass(ours)
	switch {
	case a == b && (a != "" || strings.EqualFold(aText, bText)):
		return nil
	case len(theirs) == 0 && len(ours) > 0:
		return []difference{{kind: "error", reason: whyCrash}}
	case a == "form" || b == "form":
		return []difference{{kind: "error", reason: whyWords}}
	}
	return []difference{{kind: "errors of another class", what: fmt.Sprintf("%q and %q", aText, bText)}}
}

// sortedWords are the words of a list in order.
func sortedWords(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	for i := range words {
		for j := i; j > 0 && words[j] < words[j-1]; j-- {
			words[j], words[j-1] = words[j-1], words[j]
		}
	}
	return strings.Join(words, ",")
}
