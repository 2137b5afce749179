package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"time"
)

// decision is one of a list, as far as it is compared.
type decision struct {
	ID        int64  `json:"id"`
	Duration  string `json:"duration"`
	Origin    string `json:"origin"`
	Scenario  string `json:"scenario"`
	Scope     string `json:"scope"`
	Type      string `json:"type"`
	Value     string `json:"value"`
	Simulated bool   `json:"simulated"`
}

// target is what a bouncer acts on, in words.
func (d *decision) target() string { return d.Type + " " + d.Scope + " " + d.Value }

func (d *decision) String() string {
	return fmt.Sprintf("%s on %s %s of %s, %q, for %s", d.Type, d.Scope, d.Value, d.Origin, d.Scenario, d.Duration)
}

// left is the duration in whole seconds; what cannot be read is the smallest number.
func (d *decision) left() int32 {
	n, err := time.ParseDuration(d.Duration)
	if err != nil {
		return math.MinInt32
	}
	return int32(max(min(n.Round(time.Second)/time.Second, math.MaxInt32), math.MinInt32+1))
}

// seed has each process hash in its own way: nobody can make two decisions look like one.
var seed = maphash.MakeSeed()

// sum is a hash of words that are told apart.
func sum(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, w := range words {
		_, _ = h.WriteString(w)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func (d *decision) sum() uint64       { return sum(d.Scope, d.Type, d.Value, d.Origin, d.Scenario) }
func (d *decision) targetSum() uint64 { return sum(d.Type, d.Scope, d.Value) }

// source reads the decisions of one answer from the beginning, one by one; the same one is used again.
type source func(each func(*decision)) error

// errForm: an answer is not what the contract has.
var errForm = errors.New("it is not of the form that the contract has")

// readArray reads a list or null, value by value.
func readArray(d *json.Decoder, each func(*decision)) error {
	open, err := d.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('[') {
		return errForm
	}
	var one decision
	for d.More() {
		one = decision{}
		if err := d.Decode(&one); err != nil {
			return err
		}
		each(&one)
	}
	_, err = d.Token()
	return err
}

// listOf reads the answer to a live query.
func listOf(open func() io.Reader) source {
	return func(each func(*decision)) error { return readArray(json.NewDecoder(open()), each) }
}

// streamOf reads one of the two lists of the stream.
func streamOf(open func() io.Reader, list string) source {
	return func(each func(*decision)) error {
		d := json.NewDecoder(open())
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return errors.Join(errForm, err)
		}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return err
			}
			wanted := each
			if name != list {
				wanted = func(*decision) {}
			}
			if err := readArray(d, wanted); err != nil {
				return err
			}
		}
		return nil
	}
}

// nothing tells whether an answer is null.
func nothing(c *capture) bool { return string(c.start(5)) == "null" }
