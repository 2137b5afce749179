package engine

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// To rotate a key, to look one up and to forget it costs the same however many bouncers have rotated, also
// while a start brings memory up: this many would take minutes if each copied, or looked through, the others.
func TestRotatedKeysCostTheSame(t *testing.T) {
	t.Parallel()
	const bouncers = 10_000
	key := func(n, generation int) (k KeyHash) {
		binary.BigEndian.PutUint32(k[:], uint32(n)<<4|uint32(generation))
		return k
	}
	for _, loading := range []bool{true, false} {
		s := newState()
		if !loading {
			s.endLoading()
		}
		for n := range bouncers {
			name := fmt.Sprintf("fw-%d", n)
			(&putBouncer{bouncer: Bouncer{Name: name, AuthType: AuthAPIKey, KeyHash: key(n, 0), Software: &Software{}}}).apply(s, 1)
			s.next.bouncers.shown = s.next.bouncers.loading == nil && n%16 == 0
			for generation := 1; generation < 3; generation++ {
				(&rotateKey{name: name, owner: key(n, 0), key: key(n, generation), at: 10, until: 20}).apply(s, 1)
			}
		}
		held := s.next
		for n := range bouncers {
			if current, list := s.next.CurrentKey(key(n, 0)), s.next.KeysOf(key(n, 0), 11); current != key(n, 2) || len(list) != 3 {
				t.Fatalf("bouncer %d has %d keys", n, len(list))
			}
			s.next.bouncers.shown = s.next.bouncers.loading == nil && n%16 == 0
			(&dropBouncers{[]string{fmt.Sprintf("fw-%d", n)}}).apply(s, 1)
		}
		if set := s.next.bouncers; set.byKey.Len() != 0 || set.rings.Len() != 0 || set.order.Len() != 0 {
			t.Errorf("%d keys and %d rings are left", set.byKey.Len(), set.rings.Len())
		}
		if !loading && held.CurrentKey(key(bouncers-1, 0)) != key(bouncers-1, 2) {
			t.Error("a view that is held has lost a key")
		}
	}
}
