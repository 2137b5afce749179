package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lapid/engine"
)

// A list that is not whole, is not the one that was announced, or is no list changes nothing.
func TestListMustBeWhole(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := NewHandler(d.engine, "test", quiet)
	const head = `{"Name":"l","Scope":"Ip","Type":"ban","Duration":"4h"}` + "\n"
	for name, text := range map[string]string{
		"nothing":            "",
		"a head":             head,
		"no end":             head + `{"Items":[{"v":"192.0.2.1"}]}` + "\n",
		"half a line":        head + `{"Items":[{"v":"192.`,
		"fewer":              head + `{"Items":[{"v":"192.0.2.1"}]}` + "\n" + `{"End":true,"Count":2}` + "\n",
		"no address":         head + `{"Items":[{"v":"x"}]}` + "\n" + `{"End":true,"Count":1}` + "\n",
		"an unknown field":   head + `{"Items":[{"v":"192.0.2.1","z":1}]}` + "\n" + `{"End":true,"Count":1}` + "\n",
		"no name":            `{"Scope":"Ip"}` + "\n" + `{"End":true}` + "\n",
		"a line without end": head + `{"Items":[{"v":"` + strings.Repeat("1", listLine) + `"}]}`,
		"empty":              head + `{"End":true}` + "\n",
	} {
		if a, err := h.putList(context.Background(), strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if d.engine.View().HasBatch(engine.Batch{Name: "l", List: true}) {
		t.Error("something was stored")
	}
	broken := errors.New("broken off")
	_, err := d.ReplaceList(context.Background(), &ListHead{Name: "l", Scope: "Ip", Type: "ban", Duration: "4h"}, func(to *Values) error {
		if err := to.Add(&Item{Value: "192.0.2.1"}); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) || d.engine.View().HasBatch(engine.Batch{Name: "l", List: true}) {
		t.Errorf("broken off: %v", err)
	}
	whole := head + `{"Items":[{"v":"192.0.2.1"},{"v":"192.0.2.1"}]}` + "\n" + `{"End":true,"Count":2}` + "\n"
	if a, err := h.putList(context.Background(), strings.NewReader(whole)); err != nil || a.New != 1 || a.Again != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}
