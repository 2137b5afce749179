package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// listing is an answer that ends in a list as long as there are rows of
// something: head is all of it but the list, which each yields. It is
// written item by item, so a million take no more memory than one. each may
// be called once.
type listing[T any] struct {
	head any // an answer whose last field is the list, nil
	each func(yield func(*T) bool)
}

// listBuffer is how many bytes of a list are written at once.
const listBuffer = 64 << 10

// emptyList ends the JSON of an answer whose last field is a nil list.
var emptyList = []byte(`null}`)

// listed makes a handler of a function from request to list. An answer that breaks
// off is no JSON, so the client notices.
func listed[Q, T any](answer func(context.Context, *Q) *listing[T]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := new(Q)
		if err := read(r, q); err != nil {
			fail(w, err)
			return
		}
		l := answer(r.Context(), q)
		head, err := json.Marshal(l.head)
		if err != nil || !bytes.HasSuffix(head, emptyList) {
			fail(w, fmt.Errorf("BUG: the list of %s: %w", head, err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		out := bufio.NewWriterSize(w, listBuffer)
		_, _ = out.Write(bytes.TrimSuffix(head, emptyList))
		_ = out.WriteByte('[')
		first := true
		l.each(func(item *T) bool {
			if !first {
				_ = out.WriteByte(',')
			}
			first = false
			text, err := json.Marshal(item)
			if err == nil {
				_, err = out.Write(text)
			}
			return err == nil && r.Context().Err() == nil
		})
		if r.Context().Err() == nil {
			_, _ = out.WriteString("]}\n")
			_ = out.Flush() // it fails when the client has gone away
		}
	}
}

// askList reads such an answer: all but the list into head, whose last field that is,
// and hands each item to yield, until that returns an error, which ends it.
func askList[T any](ctx context.Context, c *Client, verb string, q, head any, yield func(*T) error) error {
	body, err := c.post(ctx, verb, q)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := readList(body, head, yield); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// readList is the mirror of listed. Items are handed over as they are read.
// An answer without its end is an error, however much of it was handed over.
func readList[T any](body io.Reader, head any, yield func(*T) error) error {
	cut := func(err error) error { return fmt.Errorf("unreadable answer: %w", err) }
	in := bufio.NewReaderSize(body, listBuffer)
	text, err := in.ReadSlice('[')
	if err != nil {
		return cut(err)
	}
	if err := json.Unmarshal(append(bytes.Clone(text[:len(text)-1]), emptyList...), head); err != nil {
		return cut(err)
	}
	d := json.NewDecoder(io.MultiReader(strings.NewReader("["), in))
	if _, err := d.Token(); err != nil {
		return cut(err)
	}
	for d.More() {
		item := new(T)
		if err := d.Decode(item); err != nil {
			return cut(err)
		}
		if err := yield(item); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the end of the list: what breaks off has none
		return cut(err)
	}
	return nil
}
