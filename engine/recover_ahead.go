package engine

import (
	"context"
	"fmt"
)

// aheadBytes is how many bytes of the journal are decoded at once, or one commit, and
// aheadCommits how many commits at most; decoded they may take ten times as much. While some are
// applied the next ones are decoded, and no more: of the largest commits two are in memory.
const (
	aheadBytes   = 256 << 10
	aheadCommits = 1024
)

// decodedCommit is a commit of the journal that is to be applied.
type decodedCommit struct {
	*commit
	rev  Revision
	size int // of its record, in bytes
}

// ahead reads and decodes the journal on a goroutine of its own, while what came before
// is applied.
type ahead struct {
	batches chan []decodedCommit
	cancel  context.CancelFunc
	err     error // why it ended; for those who have seen the end of batches
}

func (e *Engine) decodeAhead(ctx context.Context, after uint64) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{batches: make(chan []decodedCommit), cancel: cancel}
	go func() {
		defer close(a.batches)
		a.err = a.read(ctx, e, after)
	}()
	return a
}

// read hands over whole commits up to the first that is damaged.
func (a *ahead) read(ctx context.Context, e *Engine, after uint64) error {
	var batch []decodedCommit
	bytes := 0
	give := func() error {
		select {
		case a.batches <- batch:
			batch, bytes = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := e.store.Replay(after, func(rev uint64, record []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := decodeCommit(record)
		if err != nil {
			return fmt.Errorf("commit %d: %w", rev, err)
		}
		batch = append(batch, decodedCommit{c, Revision(rev), len(record)})
		if bytes += len(record); bytes < aheadBytes && len(batch) < aheadCommits {
			return nil
		}
		return give()
	})
	if len(batch) > 0 {
		if ended := give(); err == nil {
			err = ended
		}
	}
	return err
}

// each hands the commits over in order, until one fails or all that can be read were handed over;
// the error is that of apply, or why no more can be read. When it returns nothing is
// read any more.
func (a *ahead) each(apply func(decodedCommit) error) (err error) {
	defer a.cancel()
	for batch := range a.batches {
		for i := range batch {
			if err == nil {
				err = apply(batch[i])
			}
			batch[i].commit = nil // it may be large
		}
		if err != nil {
			a.cancel()
		}
	}
	if err == nil {
		err = a.err
	}
	return err
}
