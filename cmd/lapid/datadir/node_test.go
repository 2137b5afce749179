package datadir

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestNode(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	if err := d.MakeFolder(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Node(); err != nil || !reflect.DeepEqual(n, Node{}) {
		t.Errorf("without a file: %+v, %v", n, err)
	}
	file := Dir(d.NodeFile())
	if n, err := file.Node(); err != nil || !reflect.DeepEqual(n, Node{}) {
		t.Errorf("below what is no folder: %+v, %v", n, err)
	}
	want := Node{Cluster: "00ff", Wish: WishInit, Failed: "etcd is away", Trace: []byte(`{"a":1}`)}
	if err := d.NoteNode(want); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Node(); err != nil || !reflect.DeepEqual(n, want) {
		t.Errorf("read back: %+v, %v", n, err)
	}
	if err := os.WriteFile(d.NodeFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Node(); err == nil || !strings.Contains(err.Error(), d.NodeFile()) {
		t.Errorf("a file that is cut off: %v", err)
	}
	_ = os.Remove(d.NodeFile())
	if err := os.Symlink("/etc/passwd", d.NodeFile()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Node(); err == nil {
		t.Error("a link was followed")
	}
}
