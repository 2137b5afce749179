package engine

import (
	"hash/maphash"
	"slices"
	"unsafe"
)

// inventories keeps once what many machines report: texts, and lists of hub items.
// A fleet runs a few versions with the same few hundred items, and every machine names
// them all. It holds only what some machine has, so the bounds of machines (bounds.go)
// are its own. Owned by the committer; what it hands out is shared and never changed.
type inventories struct {
	words map[string]*sharedWord
	lists map[uint64][]*sharedItems // by hash
}

type sharedWord struct {
	text string
	uses int // by machines and by lists
}

type sharedItems struct {
	items    []HubItem
	machines int
}

var itemsSeed = maphash.MakeSeed()

// acquire enters a machine, and has it share what others have too. Only m itself
// is changed: its flags and its hub items become new ones.
func (v *inventories) acquire(m *Machine) {
	if v.words == nil {
		v.words, v.lists = map[string]*sharedWord{}, map[uint64][]*sharedItems{}
	}
	for _, text := range m.reported() {
		*text = v.acquireWord(*text)
	}
	m.FeatureFlags = slices.Clone(m.FeatureFlags)
	for i, flag := range m.FeatureFlags {
		m.FeatureFlags[i] = v.acquireWord(flag)
	}
	if m.HubItems == nil {
		return
	}
	shared := make(map[string][]HubItem, len(m.HubItems))
	for kind, items := range m.HubItems {
		shared[v.acquireWord(kind)] = v.acquireItems(items)
	}
	m.HubItems = shared
}

// release is the mirror of acquire.
func (v *inventories) release(m *Machine) {
	for _, text := range m.reported() {
		v.releaseWord(*text)
	}
	for _, flag := range m.FeatureFlags {
		v.releaseWord(flag)
	}
	for kind, items := range m.HubItems {
		v.releaseWord(kind)
		v.releaseItems(items)
	}
}

// reported are the texts of which machines of a fleet have the same few.
func (m *Machine) reported() [5]*string {
	return [...]*string{&m.Version, &m.Scenarios, &m.OS.Name, &m.OS.Version, &m.OS.Family}
}

func (v *inventories) acquireWord(text string) string {
	if text == "" {
		return ""
	}
	one := v.words[text]
	if one == nil {
		one = &sharedWord{text: text}
		v.words[text] = one
	}
	one.uses++
	return one.text
}

func (v *inventories) releaseWord(text string) {
	if one := v.words[text]; one != nil {
		if one.uses--; one.uses == 0 {
			delete(v.words, text)
		}
	}
}

func (v *inventories) acquireItems(items []HubItem) []HubItem {
	if len(items) == 0 {
		return items
	}
	hash := itemsHash(items)
	if one := v.find(hash, items); one != nil {
		one.machines++
		return one.items
	}
	one := &sharedItems{items: slices.Clone(items), machines: 1}
	for i := range one.items {
		for _, text := range one.items[i].texts() {
			*text = v.acquireWord(*text)
		}
	}
	v.lists[hash] = append(v.lists[hash], one)
	return one.items
}

func (v *inventories) releaseItems(items []HubItem) {
	if len(items) == 0 {
		return
	}
	hash := itemsHash(items)
	one := v.find(hash, items)
	if one == nil {
		return
	}
	if one.machines--; one.machines > 0 {
		return
	}
	for i := range one.items {
		for _, text := range one.items[i].texts() {
			v.releaseWord(*text)
		}
	}
	if v.lists[hash] = slices.DeleteFunc(v.lists[hash], func(o *sharedItems) bool { return o == one }); len(v.lists[hash]) == 0 {
		delete(v.lists, hash)
	}
}

func (v *inventories) find(hash uint64, items []HubItem) *sharedItems {
	for _, one := range v.lists[hash] {
		if unsafe.SliceData(one.items) == unsafe.SliceData(items) && len(one.items) == len(items) || slices.Equal(one.items, items) {
			return one
		}
	}
	return nil
}

func (i *HubItem) texts() [3]*string { return [...]*string{&i.Name, &i.Version, &i.Status} }

// itemsHash ends each text, so that two texts in a row do not run together.
func itemsHash(items []HubItem) uint64 {
	var h maphash.Hash
	h.SetSeed(itemsSeed)
	for i := range items {
		for _, text := range items[i].texts() {
			h.WriteString(*text)
			h.WriteByte(0)
		}
	}
	return h.Sum64()
}
