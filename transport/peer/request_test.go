package peer

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"lapid/engine"
)

// FuzzRequests: whatever comes is a request as it was sent, or refused.
func FuzzRequests(f *testing.F) {
	for _, r := range []*Request{
		{},
		{Kind: Verb, ID: engine.RequestID{After: 7, Name: [8]byte{1, 2}}, Method: "POST", Target: "/decisions/import", Who: "root", Socket: true},
		{Kind: Note, Method: "\xff", Target: strings.Repeat("/", 300), Client: netip.MustParseAddr("2001:db8::1"), Agent: "a/1"},
	} {
		b, err := r.append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte("\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := bytes.NewReader(b)
		r, err := readHead(rest)
		if err != nil {
			if !errors.Is(err, errHead) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := r.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := readHead(bytes.NewReader(again))
		if err != nil || twice.Target != r.Target || twice.Client != r.Client || twice.ID != r.ID || twice.Who != r.Who || twice.Socket != r.Socket {
			t.Fatalf("%+v became %+v, %v", r, twice, err)
		}
	})
}
