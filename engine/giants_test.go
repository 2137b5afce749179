//go:build !race

// The race detector looks at every byte of every giant, which takes it a quarter
// of an hour; nothing here happens side by side.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

const (
	giantText = 5 << 20 // bytes of a text that no record should hold
	giantList = 20_000  // elements of a list that no record should hold
)

// stretches calls do once for every way to make a record too large: each of its
// texts a giant, each of its lists endless. fresh makes a record that is small and
// good. A field that is added to a record takes part by itself.
func stretches(t *testing.T, fresh func() any, do func(t *testing.T, what string, record any)) {
	t.Helper()
	for n := 0; ; n++ {
		record := fresh()
		s := stretcher{at: n}
		s.value(reflect.ValueOf(record).Elem(), reflect.TypeOf(record).Elem().Name())
		if s.done == "" {
			if n == 0 {
				t.Error("nothing was found to stretch")
			}
			return
		}
		do(t, s.done, record)
	}
}

// stretcher stretches what is found as number at.
type stretcher struct {
	at   int
	seen int
	done string
}

func (s *stretcher) now(what string) bool {
	s.seen++
	if s.seen-1 != s.at {
		return false
	}
	s.done = what
	return true
}

func (s *stretcher) value(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if s.now(path + " is giant") {
			v.SetString(strings.Repeat("x", giantText))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[netip.Prefix]() {
				s.value(v.Field(i), path+"."+f.Name)
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		s.value(v.Elem(), path)
	case reflect.Slice:
		s.list(v, path)
	case reflect.Map:
		s.lists(v, path)
	}
}

func (s *stretcher) list(v reflect.Value, path string) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if s.now(path + " is giant") {
			v.SetBytes(make([]byte, giantText))
		}
		return
	}
	if v.Len() == 0 {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	}
	first := v.Index(0)
	if s.now(path + " is endless") {
		many := reflect.MakeSlice(v.Type(), giantList, giantList)
		for i := range giantList {
			many.Index(i).Set(first)
		}
		v.Set(many)
		return
	}
	s.value(first, path+"[0]")
}

func (s *stretcher) lists(v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	if s.now(path + " is endless") {
		for i := range giantList {
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint(i)), reflect.Zero(v.Type().Elem()))
		}
		return
	}
	key := "key"
	if s.now(path + " has a giant key") {
		key = strings.Repeat("k", giantText)
	}
	list := reflect.New(v.Type().Elem()).Elem()
	s.value(list, path+"[key]")
	v.SetMapIndex(reflect.ValueOf(key), list)
}

// Whatever a record is filled with, at whichever door, what is stored of it is
// small: in the journal, on disk and in a snapshot. It is refused, or cut.
func TestEveryTextIsBounded(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "b", AuthType: engine.AuthAPIKey})
	wants(t, err, nil)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "m"}, false), nil)
	wants(t, r.CreateAllowlist(ctx, "list", "", now), nil)
	number := 0
	name := func() string { number++; return fmt.Sprint("n", number) }
	for _, door := range []struct {
		name  string
		fresh func() any
		most  int64 // bytes that may be stored
		in    func(record any) error
	}{
		{"AddMachine", func() any { return &engine.Machine{ID: name()} }, 2 << 20, func(record any) error { return r.AddMachine(ctx, record.(*engine.Machine), false) }},
		{"ChangeMachine", func() any { return &engine.Machine{} }, 2 << 20, func(record any) error {
			return r.ChangeMachine(ctx, "m", func(m *engine.Machine) { *m = *record.(*engine.Machine) })
		}},
		{"AddBouncer", func() any { return &engine.Bouncer{Name: name()} }, 128 << 10, func(record any) error {
			_, err := r.AddBouncer(ctx, record.(*engine.Bouncer))
			return err
		}},
		{"ChangeBouncer", func() any { return &engine.Bouncer{} }, 128 << 10, func(record any) error {
			return r.ChangeBouncer(ctx, "b", func(b *engine.Bouncer) {
				if *b = *record.(*engine.Bouncer); b.Software == nil {
					b.Software = &engine.Software{}
				}
			})
		}},
		{"CreateAllowlist", func() any { return &engine.Allowlist{Name: name()} }, 4 << 10, func(record any) error {
			l := record.(*engine.Allowlist)
			return r.CreateAllowlist(ctx, l.Name, l.Description, now)
		}},
		{"AddToAllowlist", func() any { return &engine.AllowlistItem{Value: name(), Prefix: netip.MustParsePrefix("10.0.0.1/32")} }, 4 << 10, func(record any) error {
			_, _, err := r.AddToAllowlist(ctx, "list", []engine.AllowlistItem{*record.(*engine.AllowlistItem)}, now)
			return err
		}},
		{"AddUsage of a bouncer", func() any { return &engine.Usage{Name: "b"} }, 2 << 20, func(record any) error {
			u := record.(*engine.Usage)
			u.Kind, u.ReceivedAt = engine.UsageBouncer, now+int64(number)
			return r.AddUsage(ctx, u)
		}},
		{"AddUsage of a machine", func() any { return &engine.Usage{Name: "m"} }, 4 << 20, func(record any) error {
			u := record.(*engine.Usage)
			u.Kind, u.ReceivedAt = engine.UsageMachine, now+int64(number)
			return r.AddUsage(ctx, u)
		}},
		{"AddAlerts", func() any {
			return &engine.Alert{Decisions: []engine.NewDecision{{Scope: "user", Value: "bob", Type: "ban", Duration: "4h"}}}
		}, 8 << 20, func(record any) error {
			_, err := r.AddAlerts(ctx, "m", []*engine.Alert{record.(*engine.Alert)}, now)
			return err
		}},
	} {
		stretches(t, door.fresh, func(t *testing.T, what string, record any) {
			before := r.Store().Metrics().AppendBytes
			err := door.in(record)
			if err != nil && !errors.Is(err, engine.ErrInvalid) && !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("%s, %s: %.200v", door.name, what, err)
			}
			if err != nil && len(err.Error()) > 4<<10 && !strings.Contains(what, "Duration") && !strings.Contains(what, "Name is giant") {
				t.Errorf("%s, %s: the error has %d bytes", door.name, what, len(err.Error()))
			}
			if stored := r.Store().Metrics().AppendBytes - before; int64(stored) > door.most {
				t.Errorf("%s, %s: %d bytes are stored", door.name, what, stored)
			}
		})
	}
	survives(t, r)
}
