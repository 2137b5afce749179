package export

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"lapid/engine"
)

// Asked is what a device asks for beside the name of an export. It narrows what the
// definition gives, and never widens it. The zero Asked is nothing.
type Asked struct {
	Part
	Family  engine.Family
	Origins []string
	Types   []string
	List    string // name of the list, for mikrotik: nothing else is in the mirror's power

	nothing bool // families or the like exclude each other
}

// ParseAsked reads a query: those of the blocklist mirror (ipv4only, ipv6only, nosort, origin,
// supported_decisions_types, listname), of hosted integrations (page, page_size) and shard.
// token is somebody else's, other words are ignored, as the mirror does. What cannot be read
// is engine.ErrInvalid.
func ParseAsked(query string) (*Asked, error) {
	w := &Asked{}
	if query == "" {
		return w, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, invalid("the query cannot be read: %v", err)
	}
	four, six := values.Has("ipv4only"), values.Has("ipv6only")
	switch {
	case four && six:
		w.nothing = true
	case four:
		w.Family = engine.IPv4
	case six:
		w.Family = engine.IPv6
	}
	if w.Origins, err = listed(values["origin"]); err != nil {
		return nil, err
	}
	if w.Types, err = listed(values["supported_decisions_types"]); err != nil {
		return nil, err
	}
	if w.List = values.Get("listname"); w.List != "" {
		w.List = string(appendPlain(nil, w.List))
	}
	w.Part, err = ParsePart(values.Get("page"), values.Get("page_size"), values.Get("shard"))
	return w, err
}

// mostListed is how many words a list has at most.
const mostListed = 16

// listed are the words of a list. What cannot be looked at is refused: without it the list would be
// another than was asked for.
func listed(values []string) (words []string, err error) {
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word == "" {
				continue
			}
			if len(word) > longestWord || len(words) == mostListed {
				return nil, invalid("a list has at most %d words of %d bytes", mostListed, longestWord)
			}
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}

// Key is the same for those that ask for the same; "" for all of the list.
func (w *Asked) Key() string { return w.Part.key(w.listKey()) }

// listKey is Key without the part.
func (w *Asked) listKey() string {
	if w.Family == engine.BothFamilies && len(w.Origins)+len(w.Types) == 0 && w.List == "" && !w.nothing {
		return ""
	}
	return fmt.Sprintf("%s %q %q %q %v", w.Family, w.Origins, w.Types, w.List, w.nothing)
}

// key is that of a part of a list.
func (p *Part) key(list string) string {
	if *p == (Part{}) {
		return list
	}
	return fmt.Sprintf("%s/%d %d %d %d", list, p.Page, p.Size, p.Shard, p.Of)
}

// narrow is the definition as far as the words let it, and whether they leave nothing of it.
func (w *Asked) narrow(x *engine.Export) (n *engine.Export, nothing bool, err error) {
	f, err := FormatOf(x.Format)
	if err != nil {
		return nil, false, err
	}
	has := f.family(x) // which may be one, also where the definition names none
	nothing = w.nothing || w.Family != engine.BothFamilies && has != engine.BothFamilies && w.Family != has
	if w.listKey() == "" {
		return x, nothing, nil
	}
	one := *x
	n = &one
	if w.Family != engine.BothFamilies && !nothing {
		n.Family = w.Family
	}
	types := x.Types
	if len(types) == 0 {
		types = []string{ban}
	}
	var noOrigin, noType bool
	n.Origins, noOrigin = fewer(x.Origins, w.Origins)
	n.Types, noType = fewer(types, w.Types)
	if w.List != "" && x.Format == mikrotik.Name {
		n.Options = slices.DeleteFunc(slices.Clone(x.Options), func(o string) bool { return strings.HasPrefix(o, "list=") })
		n.Options = append(n.Options, "list="+w.List)
	}
	return n, nothing || noOrigin || noType, nil
}

// fewer is what of all is asked for, case ignored; an empty all is everything. none: nothing is.
func fewer(all, asked []string) (both []string, none bool) {
	if len(asked) == 0 {
		return all, false
	}
	if len(all) == 0 {
		return spelledOrigins(asked), false
	}
	both = slices.DeleteFunc(slices.Clone(all), func(has string) bool {
		return !slices.ContainsFunc(asked, func(a string) bool { return strings.EqualFold(a, has) })
	})
	if len(both) == 0 {
		return all, true
	}
	return both, false
}

// spelledOrigins are origins as they are stored.
func spelledOrigins(asked []string) (origins []string) {
	for _, a := range asked {
		for _, known := range []string{engine.OriginCAPI, engine.OriginCrowdsec, engine.OriginImport, engine.OriginLists, engine.OriginManual} {
			if strings.EqualFold(a, known) {
				a = known
			}
		}
		origins = append(origins, a)
	}
	return origins
}

// shortestSecret is how many characters a password or token of an export has at least. It is kept as a
// plain hash, so it must be nobody's guess.
const shortestSecret = 16

// SecretFits is the error of what cannot be a password or token of an export, engine.ErrInvalid. It does
// not name it.
func SecretFits(secret string) error {
	if len(secret) < shortestSecret || strings.ContainsAny(secret, " \t\r\n") {
		return invalid("a password or token must have %d characters or more and no blanks", shortestSecret)
	}
	return nil
}

// ParsePrefixes reads addresses and ranges; engine.ErrInvalid.
func ParsePrefixes(words []string) (list []netip.Prefix, err error) {
	for _, w := range words {
		if a, err := netip.ParseAddr(w); err == nil && a.Zone() == "" {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, invalid("'%.60s' is no address and no range", w)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}
