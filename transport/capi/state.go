package capi

import (
	"context"
	"encoding/json"
	"time"

	"lapid/engine"
)

// stateSecret is the name under which the engine keeps what a restart has to know.
const stateSecret = "capi.state"

// state is what the jobs know of earlier runs. It is the pull's own.
type state struct {
	Of     string                `json:"of"` // base and login
	Pulled time.Time             `json:"pulled"`
	Asked  string                `json:"asked,omitempty"` // what that pull depended on, a digest
	Lists  map[string]*knownList `json:"lists,omitempty"`
}

// knownList is a third-party list as it was fetched last.
type knownList struct {
	Link    string    `json:"link"` // its digest: another link is another list; "": it is not known
	Fetched time.Time `json:"at"`   // by our own clock: it goes into the next question
}

func loadState(e *engine.Engine, whose string) *state {
	s := &state{}
	if json.Unmarshal(e.View().Secret(stateSecret), s) != nil || s.Of != whose {
		s = &state{Of: whose}
	}
	if s.Pulled.IsZero() && s.Lists == nil {
		s.Lists = movedLists(e)
	}
	if s.Lists == nil {
		s.Lists = map[string]*knownList{}
	}
	return s
}

func (s *state) keep(ctx context.Context, e *engine.Engine) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return e.KeepSecret(engine.As(ctx, central), stateSecret, b)
}
