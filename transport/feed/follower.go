package feed

// follower is one reader on its way through the pieces of a shared answer. It is for
// one goroutine.
type follower struct {
	of   *sharedAnswer
	read int   // how many pieces are behind it
	at   place // where the last of them ends
	over bool
}

// follow is the beginning of a reader; stop is its end.
func (b *sharedAnswer) follow() *follower {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.atPiece++
	return &follower{of: b}
}

// next waits for the next piece, which the reader holds until it asks for another or
// stops. It has no data at the end of the answer. The error is errWithdrawn, or what
// the encoder failed with.
func (r *follower) next() (piece, error) {
	b, i := r.of, r.read
	b.mu.Lock()
	defer b.mu.Unlock()
	if i > b.far {
		b.far = i
		b.changed.Broadcast()
	}
	if b.maySolo && b.readers == 1 && i >= soloAfter {
		b.closed = true
	}
	if i > 0 && i <= len(b.pieces) {
		b.pieces[i-1].read++
		b.drop()
	}
	for len(b.pieces) <= i && !b.done && !b.withdrawn {
		b.changed.Wait()
	}
	switch {
	case b.withdrawn:
		return piece{}, errWithdrawn
	case i < len(b.pieces):
		return b.pieces[i], nil
	}
	return piece{}, b.err
}

// has says that the reader has a piece behind it.
func (r *follower) has(p piece) {
	r.read++
	r.at = p.end
}

// stop is the end of the reader. It may be called more than once.
func (r *follower) stop() {
	if r.over {
		return
	}
	r.over = true
	b := r.of
	b.mu.Lock()
	defer b.mu.Unlock()
	b.atPiece--
	b.settle()
	for i := b.dropped; i < min(r.read, len(b.pieces)); i++ {
		b.pieces[i].read--
	}
}
