package program

import (
	"lapid/transport"
	notifications "lapid/transport/notify"
)

// told is what the metrics show of notifications.
func (c *condition) told() []transport.Told {
	n := c.teller.Load()
	if n == nil {
		return nil
	}
	var list []transport.Told
	for _, f := range n.Figures() {
		t := transport.Told{Name: f.Name, Delivered: f.Delivered, Failed: f.Failed, Retried: f.Retried, Skipped: f.Skipped,
			Waiting: f.Waiting, Oldest: f.Oldest, Dropped: map[string]uint64{}}
		for why, dropped := range f.Dropped {
			t.Dropped[notifications.DropReason(why).String()] = dropped
		}
		list = append(list, t)
	}
	return list
}
