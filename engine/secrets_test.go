package engine_test

import (
	"context"
	"errors"
	"testing"

	"lapid/engine/enginetest"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	never := func() ([]byte, error) { t.Error("made twice"); return nil, nil }
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			broken := errors.New("no chance left")
			_, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return nil, broken })
			wants(t, err, broken)
			s, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return []byte("first"), nil })
			if err != nil || string(s) != "first" {
				t.Errorf("%q, %v", s, err)
			}
		},
		func(t *testing.T, r *enginetest.Rig) {
			if s, err := r.Secret(ctx, "tokens", never); err != nil || string(s) != "first" {
				t.Errorf("%q, %v", s, err)
			}
			made := make(chan string)
			for i := range 8 {
				go func() {
					s, _ := r.Secret(ctx, "other", func() ([]byte, error) { return []byte{byte(i)}, nil })
					made <- string(s)
				}()
			}
			one := <-made
			for range 7 {
				if s := <-made; s != one {
					t.Errorf("secrets %q and %q under one name", s, one)
				}
			}
		},
	)
}
