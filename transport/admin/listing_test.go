package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"lapid/engine"
)

// TestListings: a list that is written item by item is the JSON that it would be as
// a whole, also an empty one; and one that breaks off anywhere is an error.
func TestListings(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctx, handler := t.Context(), NewHandler(d.engine, "test", quiet)
	answer := func(verb string) string {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, verb, strings.NewReader("{}")))
		return w.Body.String()
	}
	for n := range 4 {
		whole := &Bouncers{}
		text := answer("/bouncers/list")
		d.must(json.Unmarshal([]byte(text), whole))
		streamed, err := d.Bouncers(ctx)
		d.must(err)
		if len(whole.Bouncers) != n || whole.Now != d.engine.Now() || whole.Revision != d.engine.View().Revision() ||
			len(streamed.Bouncers) != n || streamed.Now != whole.Now || streamed.Revision != whole.Revision ||
			n > 0 && !reflect.DeepEqual(whole.Bouncers, streamed.Bouncers) {
			t.Errorf("%d: %s is read as %+v and as %+v", n, text, whole, streamed)
		}
		for cut := range len(text) - len("}\n") {
			rest := &Bouncers{}
			err := readList(strings.NewReader(text[:cut]), rest, func(*Bouncer) error { return nil })
			if err == nil {
				t.Errorf("%q is taken for a whole list", text[:cut])
			}
		}
		d.must(d.AddBouncer(ctx, &NewBouncer{Name: fmt.Sprint("[b", n), KeyHash: bytes.Repeat([]byte{byte(n)}, 64)}))
		d.must(d.AddMachine(ctx, &NewMachine{ID: fmt.Sprint("m", n)}))
	}
	list, err := d.Machines(ctx)
	if err != nil || len(list.Machines) != 4 || list.Now != d.engine.Now() {
		t.Errorf("%+v, %v", list, err)
	}
	enough := errors.New("enough")
	seen := 0
	if err := d.EachBouncer(ctx, func(*Bouncer) error { seen++; return enough }); !errors.Is(err, enough) || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	_, err = d.StaleBouncers(ctx, &Prune{Silence: -1})
	if err != nil && !errors.Is(err, engine.ErrInvalid) {
		t.Error(err)
	}
}
