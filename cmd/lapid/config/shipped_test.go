package config

import (
	"reflect"
	"testing"

	"lapid/engine/profile"
)

// TestShippedProfiles: the file that packages put into /etc/lapid says what holds without one.
func TestShippedProfiles(t *testing.T) {
	t.Parallel()
	specs, _, err := readProfiles("../dist/package/profiles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := profile.Default(); !reflect.DeepEqual(specs, want) {
		t.Errorf("the file says\n%+v\nwithout one it is\n%+v", specs, want)
	}
}
