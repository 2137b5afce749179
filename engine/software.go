package engine

// softwareTable keeps each description of bouncers once: a million rows are of a
// handful of programs. Owned by the committer.
type softwareTable struct {
	known map[string]*sharedSoftware // by its encoding
	key   []byte                     // scratch
}

type sharedSoftware struct {
	Software
	rows int
}

// acquire returns the shared description that is equal to sw, and counts one more row
// of it; nil is the empty one.
func (t *softwareTable) acquire(sw *Software) *Software {
	if sw == nil {
		sw = &Software{}
	}
	t.key = sw.append(t.key[:0])
	one := t.known[string(t.key)]
	if one == nil {
		if t.known == nil {
			t.known = map[string]*sharedSoftware{}
		}
		one = &sharedSoftware{Software: *sw}
		t.known[string(t.key)] = one
	}
	one.rows++
	return &one.Software
}

// release is the mirror of acquire; a description without rows is forgotten.
func (t *softwareTable) release(sw *Software) {
	t.key = sw.append(t.key[:0])
	one := t.known[string(t.key)]
	if one.rows--; one.rows == 0 {
		delete(t.known, string(t.key))
	}
}

func (sw *Software) append(dst []byte) []byte {
	dst = appendString(appendString(dst, sw.Type), sw.Version)
	return appendStrings(sw.OS.append(dst), sw.FeatureFlags)
}

func (sw *Software) decode(d *decoder) {
	sw.Type, sw.Version = d.string(), d.string()
	sw.OS.decode(d)
	sw.FeatureFlags = d.strings()
}
