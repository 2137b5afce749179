package engine

import (
	"context"
	"fmt"
	"math"
)

// Allowlists that the console manages come and go by its word alone: what changes lists
// otherwise refuses them. Such a list is told apart by the console's id of it, so it may be
// called and described anew there; one without an id, as another server may have had it, by
// its name.

// ConsoleAllowlist returns the list that the console manages under an id, nil when there is
// none. Read only.
func (v *View) ConsoleAllowlist(id string) *Allowlist {
	for _, l := range v.allowlists.order {
		if l.FromConsole && l.ConsoleID == id && id != "" {
			return l
		}
	}
	return nil
}

// AllowlistChange is what came of PutConsoleAllowlist.
type AllowlistChange struct {
	Made    bool // the list is new
	Added   int  // items that are new, or were changed
	Removed int  // items that went, the old ones of those that were changed among them
	Ended   int  // running decisions that overlap what was added
}

// PutConsoleAllowlist makes a list of the console hold what l says, and nothing else, in one
// commit, with the ends of the running decisions that overlap what is new. l is read only;
// its FromConsole is taken for granted. Times of it and of its items that are 0 become now,
// UpdatedAt moves only with a change, and what is as it was is not written again. Items that
// have expired are left out, and of those of one value the first counts. Errors: ErrExists
// when a list that is another one has the name; ErrInvalid as in AddToAllowlist.
func (e *Engine) PutConsoleAllowlist(ctx context.Context, l *Allowlist, now int64) (change AllowlistChange, err error) {
	head := *l
	head.FromConsole, head.Items = true, nil
	if err := head.fits(); err != nil {
		return change, err
	}
	if err := itemsFit(l.Items); err != nil {
		return change, err
	}
	o := &reviseAllowlist{}
	err = e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		*o = reviseAllowlist{head: head}
		old := v.consoleAllowlist(&head)
		if named := v.Allowlist(head.Name); named != nil && named != old {
			return nil, exists(NounAllowlist, head.Name)
		}
		o.compare(old, l.Items, now)
		change = AllowlistChange{Made: old == nil, Added: len(o.items), Removed: len(o.values)}
		if !o.changes(old) {
			return nil, nil
		}
		if n := v.allowlists.live - len(o.values); n+len(o.items) > mostItems {
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("allowlists have %d items, and at most %d: these are %d more", n, mostItems, len(o.items))}
		}
		o.ends.at, o.ends.ids = now, v.overlapped(o.items, now)
		return o, nil
	}})
	if err != nil {
		return AllowlistChange{}, err
	}
	change.Ended = o.ends.ended
	return change, nil
}

// consoleAllowlist is the list that stands for another one of the console's.
func (v *View) consoleAllowlist(l *Allowlist) *Allowlist {
	if l.ConsoleID != "" {
		return v.ConsoleAllowlist(l.ConsoleID)
	}
	if named := v.Allowlist(l.Name); named != nil && named.FromConsole && named.ConsoleID == "" {
		return named
	}
	return nil
}

// DropConsoleAllowlist removes the list that the console manages under an id, and returns
// its name. Decisions that it has ended do not come back. ErrNotFound when there is none.
func (e *Engine) DropConsoleAllowlist(ctx context.Context, id string) (name string, err error) {
	err = e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		l := v.ConsoleAllowlist(id)
		if l == nil {
			return nil, &Error{Kind: ErrNotFound, Text: fmt.Sprintf("the console manages no allowlist with the id %q here", id)}
		}
		name = l.Name
		return &dropAllowlist{name: name}, nil
	}})
	return name, err
}

// refusesLocal is the error of a change that is the console's to make, nil for any other
// list.
func (l *Allowlist) refusesLocal() error {
	if !l.FromConsole {
		return nil
	}
	return &Error{Kind: ErrRefused, Noun: NounAllowlist, Name: l.Name,
		Text: fmt.Sprintf("allowlist '%s' is managed by the console: it can be changed there only", l.Name)}
}

// reviseAllowlist makes a list, or changes its name, its description and its items, and
// ends the decisions that overlap what is new, in one commit.
type reviseAllowlist struct {
	name   string    // the list's before; "": it is new
	head   Allowlist // without items
	values []string  // that go
	items  []AllowlistItem
	ends   endDecisions
}

// compare finds out which items come and which go.
func (o *reviseAllowlist) compare(old *Allowlist, items []AllowlistItem, now int64) {
	held := map[string]*AllowlistItem{}
	if old != nil {
		o.name = old.Name
		for i := range old.Items {
			held[old.Items[i].Value] = &old.Items[i]
		}
	}
	wanted := make(map[string]bool, len(items))
	for _, it := range items {
		if wanted[it.Value] || it.Expired(now) {
			continue
		}
		wanted[it.Value] = true
		was := held[it.Value]
		if was != nil && was.Prefix == it.Prefix && was.ExpiresAt == it.ExpiresAt && was.Comment == it.Comment {
			continue
		}
		if was != nil {
			o.values = append(o.values, it.Value)
		}
		if it.CreatedAt == 0 {
			it.CreatedAt = now
		}
		o.items = append(o.items, it)
	}
	if old != nil {
		for i := range old.Items {
			if value := old.Items[i].Value; !wanted[value] {
				o.values = append(o.values, value)
			}
		}
	}
	o.date(old, now)
}

// date fills in the times of the list.
func (o *reviseAllowlist) date(old *Allowlist, now int64) {
	h := &o.head
	switch {
	case old != nil:
		h.CreatedAt = old.CreatedAt
	case h.CreatedAt == 0:
		h.CreatedAt = now
	}
	if h.UpdatedAt == 0 || old != nil {
		h.UpdatedAt = now
	}
}

// changes tells whether there is anything to write.
func (o *reviseAllowlist) changes(old *Allowlist) bool {
	return old == nil || len(o.values)+len(o.items) > 0 || old.Name != o.head.Name || old.Description != o.head.Description
}

func (*reviseAllowlist) number() byte { return numberReviseAllowlist }
func (o *reviseAllowlist) append(dst []byte) []byte {
	dst = o.head.appendHead(appendString(dst, o.name))
	dst = appendItems(appendStrings(dst, o.values), o.items)
	return endRow(o.ends.append(dst), len(dst))
}
func (o *reviseAllowlist) decode(d *decoder) {
	o.name = d.string()
	o.head.decodeHead(d)
	o.values = d.strings()
	o.items = decodeItems(d)
	o.ends.decodeRow(d)
}
func (o *reviseAllowlist) apply(s *state, rev Revision) {
	s.next.allowlists = s.next.allowlists.revised(o.name, &o.head, withValues(o.values), o.items)
	o.ends.applyFor(s, rev, o.head.Name)
}

// changed yields what it is to readers. A list that is called or described anew is put
// without items: it has those that it had.
func (o *reviseAllowlist) changed(yield func(Change) bool) bool {
	name := o.head.Name
	renamed := o.name != "" && o.name != name
	if o.name == "" {
		return yield(Change{Kind: AllowlistPut, Name: name, Items: spellings(o.items)})
	}
	if renamed && !yield(Change{Kind: AllowlistDropped, Name: o.name}) {
		return false
	}
	if (renamed || len(o.values)+len(o.items) == 0) && !yield(Change{Kind: AllowlistPut, Name: name}) {
		return false
	}
	if len(o.values) > 0 && !yield(Change{Kind: AllowlistReduced, Name: name, Items: o.values}) {
		return false
	}
	return len(o.items) == 0 || yield(Change{Kind: AllowlistExtended, Name: name, Items: spellings(o.items)})
}

// withValues tells which items have one of the values.
func withValues(values []string) func(*AllowlistItem) bool {
	all := make(map[string]bool, len(values))
	shortest, longest := math.MaxInt, 0 // most items are told apart by their length alone
	for _, value := range values {
		all[value] = true
		shortest, longest = min(shortest, len(value)), max(longest, len(value))
	}
	return func(it *AllowlistItem) bool {
		n := len(it.Value)
		return n >= shortest && n <= longest && all[it.Value]
	}
}

// appendConsole writes what a list of the console has more than others, at the end of its
// head; nothing for others, so that they stay as older programs wrote them. A field that is
// added behind these needs them to be there.
func (l *Allowlist) appendConsole(dst []byte) []byte {
	if l.ConsoleID == "" && !l.FromConsole {
		return dst
	}
	return appendBool(appendString(dst, l.ConsoleID), l.FromConsole)
}

func (l *Allowlist) decodeConsole(d *decoder) {
	if d.version > firstVersion && len(d.rest) > 0 {
		l.ConsoleID, l.FromConsole = d.string(), d.bool()
	}
}
