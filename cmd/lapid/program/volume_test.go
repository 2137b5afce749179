package program

import (
	"strings"
	"testing"
)

func TestMountOf(t *testing.T) {
	t.Parallel()
	const mounts = `22 1 0:20 / / rw,relatime - overlay overlay rw
31 22 8:1 /v/_data /var/lib/lapid rw,relatime shared:1 - ext4 /dev/sda1 rw
32 22 0:30 / /with\040blank rw - tmpfs tmpfs rw
33 22 0:31 / /twice rw - ext4 /dev/sdb rw
34 22 0:32 / /twice rw master:2 - tmpfs tmpfs rw
broken line
`
	for path, want := range map[string]mount{
		"/":                {"/", "/", "overlay"},
		"/var/lib":         {"/", "/", "overlay"},
		"/var/lib/lapid":   {"/v/_data", "/var/lib/lapid", "ext4"},
		"/var/lib/lapid/x": {"/v/_data", "/var/lib/lapid", "ext4"},
		"/var/lib/lapidus": {"/", "/", "overlay"},
		"/with blank/a":    {"/", "/with blank", "tmpfs"},
		"/twice":           {"/", "/twice", "tmpfs"},
	} {
		if got := mountOf([]byte(mounts), path); got != want {
			t.Errorf("%s is on %+v, want %+v", path, got, want)
		}
	}
	if got := mountOf(nil, "/"); got != (mount{}) {
		t.Errorf("%+v", got)
	}
}

// TestNameless: a volume that nobody named is one, whatever names people give to theirs.
func TestNameless(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("041af7a0c8c2f265", 4)
	for root, want := range map[string]bool{
		"/var/lib/docker/volumes/" + id + "/_data":               true,
		"/@/var/lib/containers/storage/volumes/" + id + "/_data": true,
		"/var/lib/docker/volumes/lapid-data/_data":               false,
		"/var/lib/docker/volumes/" + id[1:] + "/_data":           false,
		"/srv/" + id: false,
		"/":          false,
	} {
		if got := nameless.MatchString(root); got != want {
			t.Errorf("%s has no name: %v, want %v", root, got, want)
		}
	}
}
