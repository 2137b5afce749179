package program

import "testing"

func TestMountOf(t *testing.T) {
	t.Parallel()
	const mounts = `22 1 0:20 / / rw,relatime - overlay overlay rw
31 22 8:1 /v/_data /var/lib/lapid rw,relatime shared:1 - ext4 /dev/sda1 rw
32 22 0:30 / /with\040blank rw - tmpfs tmpfs rw
33 22 0:31 / /twice rw - ext4 /dev/sdb rw
34 22 0:32 / /twice rw master:2 - tmpfs tmpfs rw
broken line
`
	for path, want := range map[string][2]string{
		"/":                {"/", "overlay"},
		"/var/lib":         {"/", "overlay"},
		"/var/lib/lapid":   {"/var/lib/lapid", "ext4"},
		"/var/lib/lapid/x": {"/var/lib/lapid", "ext4"},
		"/var/lib/lapidus": {"/", "overlay"},
		"/with blank/a":    {"/with blank", "tmpfs"},
		"/twice":           {"/twice", "tmpfs"},
	} {
		if point, kind := mountOf([]byte(mounts), path); point != want[0] || kind != want[1] {
			t.Errorf("%s is on %s %s, want %v", path, point, kind, want)
		}
	}
	if point, kind := mountOf(nil, "/"); point != "" || kind != "" {
		t.Errorf("%s %s", point, kind)
	}
}
