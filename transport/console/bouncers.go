package console

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// bouncerShown is a bouncer in a list. Fields have the names that they have in bouncers list -o json, which leaves
// out what is not known, as cscli does; here it is 0.
type bouncerShown struct {
	Name         string          `json:"name"`
	Address      string          `json:"ip_address"`
	AuthType     string          `json:"auth_type"`
	Type         string          `json:"type"`
	Version      string          `json:"version"`
	AutoCreated  bool            `json:"auto_created"`
	Shared       bool            `json:"shared"`
	CreatedAt    *time.Time      `json:"created_at"`
	UpdatedAt    *time.Time      `json:"updated_at"`
	LastPull     *time.Time      `json:"last_pull"`
	Cursor       engine.Revision `json:"cursor"`
	Behind       uint64          `json:"behind"`
	LagRevisions uint64          `json:"lag_revisions"`
	LagSeconds   float64         `json:"lag_seconds"`
	Expected     int             `json:"expected_decisions"`

	Revoked      bool             `json:"revoked"` // never: a bouncer whose key is to open nothing is deleted
	OS           string           `json:"os,omitempty"`
	FeatureFlags []string         `json:"featureflags,omitempty"`
	Acknowledged *engine.Revision `json:"acknowledged,omitempty"`
	Reported     *int64           `json:"reported_decisions,omitempty"`

	Sight map[string]any `json:"sight,omitempty"` // what it may see, by the names of the verbs' flags; left out: everything
	Hold  string         `json:"hold,omitempty"`  // for how long its polls are held, or "off"; left out: if it asks

	Mode   string  `json:"mode,omitempty"`           // stream or live; left out of one that never asked
	Period float64 `json:"period_seconds,omitempty"` // between the polls of a stream, as a rule; left out where that is not known

	// Of one bouncer alone; left out where there are none.
	HoldAdvised string            `json:"hold_advised,omitempty"`
	Asks        *string           `json:"asks,omitempty"` // the parameters of its last poll; left out where none is remembered
	Keys        []admin.ShownKey  `json:"keys,omitempty"`
	Polls       []admin.ShownPoll `json:"polls,omitempty"`
}

func bouncerOf(b *admin.Bouncer) bouncerShown {
	out := bouncerShown{
		Name: b.Name, AuthType: b.AuthType, Type: b.Type, Version: b.Version, AutoCreated: b.AutoCreated, Shared: b.Shared,
		CreatedAt: moment(b.CreatedAt), UpdatedAt: moment(b.UpdatedAt), LastPull: moment(b.LastPull), Cursor: b.Cursor, Behind: b.Behind,
		LagRevisions: b.LagRevisions, LagSeconds: time.Duration(b.Lag).Seconds(), Expected: b.Expected,
	}
	if b.IP.IsValid() {
		out.Address = b.IP.String()
	}
	if out.FeatureFlags = b.FeatureFlags; b.OS.Name != "" || b.OS.Version != "" {
		out.OS = b.OS.Name + "/" + b.OS.Version
	}
	if b.Streams && b.HasAcknowledged {
		out.Acknowledged = &b.Acknowledged
	}
	if b.HasReported {
		out.Reported = &b.Reported
	}
	out.Mode, out.Period = modeOf(b), time.Duration(b.Period).Round(100*time.Millisecond).Seconds()
	out.Sight, out.Hold = admin.SightObject(b.Sight), admin.HoldWord(b.Hold)
	return out
}

// inspected is a bouncer that is looked at alone.
func inspected(b *admin.Bouncer) bouncerShown {
	out := bouncerOf(b)
	out.HoldAdvised, out.Keys, out.Polls = b.HoldAdvice(), b.ShownKeys(), b.ShownPolls()
	if len(b.Polls) > 0 {
		out.Asks = &b.Asks
	}
	return out
}

// listBouncers is a page of bouncers, in order of creation.
func (s *Server) listBouncers(q *request) error {
	p, err := q.counted()
	if err != nil {
		return err
	}
	out := page[bouncerShown]{Items: []bouncerShown{}}
	err = q.admin.EachBouncer(q.Context(), func(b *admin.Bouncer) error {
		take, more := p.next()
		if take {
			out.Items = append(out.Items, bouncerOf(b))
		}
		return more
	})
	if out.Next, err = p.end(err); err != nil {
		return err
	}
	return q.answer(http.StatusOK, out)
}

// newBouncer asks for a bouncer.
type newBouncer struct {
	Name   string `json:"name"`
	Key    string `json:"key"` // made up when it is empty
	Shared bool   `json:"shared"`

	Sight sightAsked `json:"sight"`
	Hold  *string    `json:"hold"`
}

// sightAsked is what changes of what a bouncer may see, by the names of the verbs' flags. What is left away stays,
// an empty value takes one away.
type sightAsked struct {
	Origins       *[]string `json:"origins,omitempty"`
	NotOrigins    *[]string `json:"not-origins,omitempty"`
	Scopes        *[]string `json:"scopes,omitempty"`
	Types         *[]string `json:"types,omitempty"`
	Containing    *[]string `json:"scenarios-containing,omitempty"`
	NotContaining *[]string `json:"not-containing,omitempty"`
	Allowlist     *[]string `json:"allowlist,omitempty"`
	MaxEntries    *int      `json:"max-entries,omitempty"`
	Priority      *string   `json:"priority,omitempty"`
	MaxDuration   *string   `json:"max-duration,omitempty"`
	MinDuration   *string   `json:"min-duration,omitempty"`
	Canonical     *bool     `json:"canonical,omitempty"`
}

// edit is the same as the verbs ask for it.
func (a *sightAsked) edit(hold *string) (*admin.BouncerEdit, error) {
	e := &admin.BouncerEdit{Canonical: a.Canonical, MaxEntries: a.MaxEntries}
	for name, list := range map[string]*[]string{"origins": a.Origins, "not-origins": a.NotOrigins, "scopes": a.Scopes, "types": a.Types,
		"scenarios-containing": a.Containing, "not-containing": a.NotContaining, "allowlist": a.Allowlist} {
		if list != nil {
			if err := e.SetList(name, *list); err != nil {
				return nil, bad(err.Error())
			}
		}
	}
	for _, one := range []struct {
		name string
		text *string
	}{{"priority", a.Priority}, {"max-duration", a.MaxDuration}, {"min-duration", a.MinDuration}, {"hold", hold}} {
		if one.text != nil {
			if err := e.Set(one.name, *one.text); err != nil {
				return nil, bad(err.Error())
			}
		}
	}
	return e, nil
}

// addBouncer adds one, and shows the key, this once.
func (s *Server) addBouncer(q *request) error {
	var n newBouncer
	if err := q.read(&n); err != nil {
		return err
	}
	key, hash, err := bouncerKey(n.Key)
	if err != nil {
		return err
	}
	edit, err := n.Sight.edit(n.Hold)
	if err != nil {
		return err
	}
	done, err := q.admin.AddEdited(q.Context(), &admin.NewBouncer{Name: n.Name, KeyHash: hash, Shared: n.Shared, Edit: *edit})
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, bouncerAdded{n.Name, key, done.Warnings})
}

// bouncerAdded is a bouncer that was made, with its key, this once.
type bouncerAdded struct {
	Name     string   `json:"name"`
	Key      string   `json:"key"`
	Warnings []string `json:"warnings,omitempty"`
}

// bouncerEdit asks for another sight or hold.
type bouncerEdit struct {
	SeeAll bool       `json:"see_all"` // all that its sight hides or changes is taken away, before the rest
	Sight  sightAsked `json:"sight"`
	Hold   *string    `json:"hold"` // a duration, "off" or "default"
}

// bouncerEdited is what was changed.
type bouncerEdited struct {
	Name     string   `json:"name"`
	Rows     []string `json:"rows"` // that were made from its key, and have it too
	Warnings []string `json:"warnings"`
}

// editBouncer changes what one may see and how long its polls are held, as the verb does.
func (s *Server) editBouncer(q *request) error {
	var n bouncerEdit
	if err := q.read(&n); err != nil {
		return err
	}
	edit, err := n.Sight.edit(n.Hold)
	if err != nil {
		return err
	}
	if edit.SeeAll = n.SeeAll; edit.IsNothing() {
		return bad("say what is to change, by sight, hold or see_all")
	}
	name := q.PathValue("name")
	tags, err := q.ifMatch()
	if err != nil {
		return err
	}
	done, err := q.admin.EditBouncer(q.Context(), &admin.EditedBouncer{Name: name, If: tags, Edit: *edit})
	if err != nil {
		return err
	}
	if done.Stale {
		return errStale
	}
	out := bouncerEdited{name, append([]string{}, done.Rows...), append([]string{}, done.Warnings...)}
	if b, err := q.admin.Bouncer(q.Context(), name); err == nil {
		if doubt := b.HoldDoubt(); doubt != "" {
			out.Warnings = append(out.Warnings, doubt)
		}
	}
	return q.answer(http.StatusOK, out)
}

// errStale is told to who asks for a change of what has changed since it was looked at.
var errStale = &fault{http.StatusPreconditionFailed, "nothing was done, for it is not any more as If-Match says: GET it again"}

// tagged gives an answer the ETag that If-Match takes.
func (q *request) tagged(tag string) { q.w.Header().Set("ETag", `"`+tag+`"`) }

// ifMatch are the tags of If-Match, without their quotes; none: it is not there, or is *, which is any.
func (q *request) ifMatch() (tags []string, err error) {
	text := strings.Join(q.Header.Values("If-Match"), ",")
	switch text = strings.TrimSpace(text); {
	case text == "" && len(q.Header.Values("If-Match")) > 0:
		return nil, bad("If-Match is empty, and nothing was done: give the ETag of what was looked at")
	case text == "" || text == "*":
		return nil, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		tag := strings.TrimSpace(one)
		if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			return nil, bad(fmt.Sprintf("If-Match: %.100s is no ETag of this API, which are in quotes", tag))
		}
		tags = append(tags, tag[1:len(tag)-1])
	}
	return tags, nil
}

// bouncerKey is a key that was given, or one that is made up where it is empty, with its hash.
func bouncerKey(given string) (key string, hash []byte, err error) {
	if given == "" {
		b := make([]byte, 32)
		_, _ = rand.Read(b)
		given = base64.RawStdEncoding.EncodeToString(b)
	}
	sum := sha512.Sum512([]byte(given))
	return given, sum[:], admin.UsableKey(given)
}

// keyRotation asks for another key of a bouncer.
type keyRotation struct {
	Key   string  `json:"key"`   // made up when it is empty
	Grace *string `json:"grace"` // for how long the keys before it stay good: a duration, "0" ends them at once; nil: an hour
}

// lasts is the grace.
func (k *keyRotation) lasts() (time.Duration, error) {
	switch {
	case k.Grace == nil:
		return time.Hour, nil
	case *k.Grace == "0":
		return 0, nil
	}
	lasts, err := engine.ParseDuration(*k.Grace)
	if err != nil || lasts < 0 || lasts > engine.LongestGrace {
		return 0, bad("grace: give a duration from 0 to 90d, such as 1h")
	}
	return lasts, nil
}

// rotateBouncer gives one another key, and shows it, this once.
func (s *Server) rotateBouncer(q *request) error {
	var n keyRotation
	if err := q.read(&n); err != nil {
		return err
	}
	grace, err := n.lasts()
	if err != nil {
		return err
	}
	key, hash, err := bouncerKey(n.Key)
	if err != nil {
		return err
	}
	name := q.PathValue("name")
	if err := q.admin.RotateBouncer(q.Context(), &admin.KeyRotation{Name: name, KeyHash: hash, Grace: int64(grace)}); err != nil {
		return err
	}
	return q.answer(http.StatusCreated, map[string]any{"name": name, "key": key, "grace_seconds": grace.Seconds()})
}

func (s *Server) getBouncer(q *request) error {
	b, err := q.admin.Bouncer(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	q.tagged(admin.SightTag(b.Sight, b.Hold))
	return q.answer(http.StatusOK, inspected(b))
}

func (s *Server) deleteBouncer(q *request) error {
	names, err := q.admin.DeleteBouncer(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]any{"count": len(names), "names": names})
}
