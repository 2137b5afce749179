//go:build linux

package peers

import (
	"context"
	"crypto/sha512"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"lapid/transport/admin"
)

// AddBouncers makes count bouncers of a running lapid and gives their keys. It
// speaks through the operator's socket: a process for each would take minutes.
// Keys follow from group and number, so a run can be told from another in the store.
// edits, if there are any, are what the bouncers may see, in turn.
func (l *LAPI) AddBouncers(ctx context.Context, group string, count int, edits ...admin.BouncerEdit) ([]string, error) {
	c, err := admin.Dial(ctx, filepath.Join(l.Data(), "lapid", "admin.sock"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	keys := make([]string, count)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(32)
	for i := range keys {
		keys[i] = fmt.Sprintf("bench-%s-%026d", group, i)
		work.Go(func() error {
			hash := sha512.Sum512([]byte(keys[i]))
			b := &admin.NewBouncer{Name: fmt.Sprintf("%s-%d", group, i), KeyHash: hash[:]}
			if len(edits) > 0 {
				b.Edit = edits[i%len(edits)]
			}
			return c.AddBouncer(ctx, b)
		})
	}
	if err := work.Wait(); err != nil {
		return nil, fmt.Errorf("adding %d bouncers: %w", count, err)
	}
	return keys, nil
}
