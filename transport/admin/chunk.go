package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// readChunk reads as read does, but the values one by one: all at once they take the
// processor for milliseconds, in which live queries would wait.
func (h *Handler) readChunk(r *http.Request, q *Chunk) error {
	if err := readChunk(r.Body, q, h.engine.Pace); err != nil {
		return unreadable(err)
	}
	return nil
}

// readChunk reads a chunk as encoding/json would, with unknown fields refused; nothing at
// all is the zero chunk. pace is called with the number of each value. Of more values
// than MaxChunk those beyond one more are not kept: there are too many in any case.
func readChunk(from io.Reader, q *Chunk, pace func(int)) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	switch open, err := d.Token(); {
	case err == io.EOF || err == nil && open == nil:
		return nil
	case err != nil:
		return err
	case open != json.Delim('{'):
		return errors.New("json: a chunk is an object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if strings.EqualFold(name, "Items") {
			err = readItems(d, q, pace)
		} else if field := q.field(name); field != nil {
			err = d.Decode(field)
		} else {
			err = fmt.Errorf("json: unknown field %q", name)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.Token() // the end of the object
	return err
}

// field is where a field other than Items goes; nil: there is none of that name.
func (q *Chunk) field(name string) any {
	for _, f := range [...]struct {
		name  string
		place any
	}{
		{"Machine", &q.Machine},
		{"Source", &q.Source},
		{"Scope", &q.Scope},
		{"Type", &q.Type},
		{"Duration", &q.Duration},
		{"Reason", &q.Reason},
		{"Batch", &q.Batch},
		{"First", &q.First},
		{"Dry", &q.Dry},
	} {
		if strings.EqualFold(name, f.name) {
			return f.place
		}
	}
	return nil
}

func readItems(d *json.Decoder, q *Chunk, pace func(int)) error {
	switch open, err := d.Token(); {
	case err != nil:
		return err
	case open == nil:
		q.Items = nil
		return nil
	case open != json.Delim('['):
		return errors.New("json: Items is a list")
	}
	q.Items = make([]Item, 0, itemsAtFirst)
	for i := 0; d.More(); i++ {
		pace(i)
		var item Item
		if err := d.Decode(&item); err != nil {
			return err
		}
		if len(q.Items) <= MaxChunk {
			q.Items = append(q.Items, item)
		}
	}
	_, err := d.Token() // the end of the list
	return err
}

// itemsAtFirst is what there is room for at first: a usual chunk.
const itemsAtFirst = 10_000
