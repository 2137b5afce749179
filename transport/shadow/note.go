package shadow

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// note is what the shadow's folder keeps from run to run: which ids mean the same on both
// sides, and whether requests were on their way when the process ended. It is written when the first request
// of many comes and when the queue has run empty at the end, never for each one.
type note struct {
	dir string

	mu   sync.Mutex
	said noteFile
	bad  bool // it could not be written; said once
}

// noteFile is the note on the disk.
type noteFile struct {
	Kept     *IDs `json:"kept,omitempty"`
	UnderWay bool `json:"under_way"` // requests have passed, and no orderly end has come
}

func (n *note) path() string { return filepath.Join(n.dir, "note.json") }

// begin reads the note. The ids of the first run are kept: later ones may have been made here.
func (n *note) begin(now IDs) (kept IDs, killed bool, err error) {
	text, err := os.ReadFile(n.path())
	if err == nil {
		err = json.Unmarshal(text, &n.said)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return now, false, err
	}
	if n.said.Kept == nil {
		n.said.Kept = &now
	}
	killed, n.said.UnderWay = n.said.UnderWay, false
	return *n.said.Kept, killed, n.write()
}

// dirty notes that requests are under way; true when that has failed for the first time.
func (n *note) dirty() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said.UnderWay {
		return false
	}
	n.said.UnderWay = true
	if n.write() == nil || n.bad {
		return false
	}
	n.bad = true
	return true
}

// end notes an orderly end, if it was one.
func (n *note) end(orderly bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said.UnderWay = !orderly
	_ = n.write() // then the next run is told that this one was cut off
}

func (n *note) write() error {
	text, err := json.Marshal(&n.said)
	if err != nil {
		return err
	}
	fresh := n.path() + ".new"
	if err := os.WriteFile(fresh, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, n.path())
}
