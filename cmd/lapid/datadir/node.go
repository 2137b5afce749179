package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// nodeName is the name of the file that says which cluster the store is of, in our folder.
const nodeName = "NODE"

// nodeSize bounds what is read of the file, in bytes.
const nodeSize = 64 << 10

// Node is what a node of a cluster must know when it starts, and what cluster init and cluster alone want of it. It is
// beside the store, for a store knows nothing of clusters. The zero value is that of a store of its own. Relays have one too, with Relay alone.
type Node struct {
	// Cluster is the id of the cluster whose history the store has; "": it has its own.
	Cluster string `json:"cluster,omitempty"`
	// Wish is what a verb asked for and the server has not done yet: WishInit or WishAgain; "": nothing. It is written
	// down first, so that whatever ends the process in between, it is done at the next start.
	Wish string `json:"wish,omitempty"`
	// Next is the id that the cluster is to have which was wished for. It is written down before it is used, so that asking
	// twice begins one.
	Next string `json:"next,omitempty"`
	// Trace is what the server knew of etcd when it last said so, for itself.
	Trace json.RawMessage `json:"trace,omitempty"`
	// Relay is the name of the history that the store has a redacted copy of; "": it has none.
	Relay string `json:"relay,omitempty"`
	// Anew has the store be put aside at the next start, and another node's taken: it was found to differ from what most have.
	Anew bool `json:"anew,omitempty"`
	// Failed is why the server could not do it; it is for the verb, which waits. It is done at the next start again.
	Failed string `json:"failed,omitempty"`
}

// What may be wished for.
const (
	WishInit  = "init"       // begin a cluster with this store's history
	WishAgain = "init again" // begin it anew, after etcd was lost or set back
)

// NodeFile is the path of the file.
func (d Dir) NodeFile() string { return filepath.Join(d.Folder(), nodeName) }

// Node reads it. No file is the zero value. No link is followed to it, and no pipe waited for.
func (d Dir) Node() (n Node, err error) {
	f, err := os.OpenFile(d.NodeFile(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return n, nil
	}
	if err != nil {
		return n, Permitted(err, d.NodeFile())
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return n, errors.Join(err, fmt.Errorf("%s is no ordinary file", d.NodeFile()))
	}
	text, err := io.ReadAll(io.LimitReader(f, nodeSize))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return n, fmt.Errorf("%s, which says of which cluster the store is, cannot be read: %w", d.NodeFile(), err)
	}
	return n, nil
}

// NoteNode writes it down, durably. The zero value, where nothing is written down, leaves it at that.
func (d Dir) NoteNode(n Node) error {
	if n.Cluster == "" && n.Wish == "" && n.Relay == "" && Missing(d.NodeFile()) {
		return nil
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := WriteSecret(d.NodeFile(), append(text, '\n')); err != nil {
		return Permitted(err, d.NodeFile())
	}
	return SyncFolder(d.Folder())
}
