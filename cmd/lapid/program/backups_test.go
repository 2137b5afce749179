package program

import (
	"os"
	"path/filepath"
	"testing"
)

// A folder for backups is within the store by whatever path it is named, also before it is there.
func TestBackupsWithinTheStore(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	at := func(path string) string { return filepath.Join(top, path) }
	for _, dir := range []string{"data/store/inner", "data/elsewhere", "stored"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"store-link": "data/store", "inner-link": "data/store/inner", "data-link": "data", "out-link": "data/elsewhere"} {
		if err := os.Symlink(at(to), at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(at("data/elsewhere"), at("data/store/leads-out")); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{
		"data/store": true, "data/store/inner": true, "data/store/new/newer": true, "store-link": true, "store-link/new": true, "inner-link": true,
		"inner-link/new/newer": true, "data-link/store": true, "data-link/store/new": true,
		"data": false, "data/stored": false, "data/elsewhere": false, "data-link/elsewhere": false, "out-link/new": false, "stored": false, "new/newer": false, "data/store/leads-out": false,
	} {
		for _, store := range []string{"data/store", "store-link", "data-link/store"} {
			if within(at(dir), at(store)) != want {
				t.Errorf("%s is within %s: %v", dir, store, !want)
			}
		}
	}
	if within(at("data"), at("missing")) || !oneDevice(at("data"), at("stored")) || oneDevice(at("data"), at("missing")) {
		t.Error("what is missing is within, or two folders of one disk are not on one")
	}
}
