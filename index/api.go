// Package index answers "which ones?" in memory: one writer, many readers that never lock or wait.
package index

import "net/netip"

// Slot names a record of a Slab; 0 means none.
type Slot uint32

type Slab[T any] struct{ chunks [][]T }

func (s *Slab[T]) At(n Slot) *T    { return &s.chunks[n>>12][n&4095] }
func (s *Slab[T]) New() (Slot, *T) { return 0, nil }
func (s *Slab[T]) Free(n Slot)     {}
func (s *Slab[T]) End() Slot       { return 0 }
func (s *Slab[T]) Len() int        { return 0 }

type Hosts struct{}

func (h *Hosts) Get(a netip.Addr) Slot                                    { return 0 }
func (h *Hosts) Set(a netip.Addr, n Slot)                                 {}
func (h *Hosts) Within(p netip.Prefix, yield func(netip.Addr, Slot) bool) {}
func (h *Hosts) Len() int                                                 { return 0 }

type Ranges struct{}

func (r *Ranges) Get(p netip.Prefix) Slot                                    { return 0 }
func (r *Ranges) Set(p netip.Prefix, n Slot)                                 {}
func (r *Ranges) Publish()                                                   {}
func (r *Ranges) Covering(dst []Slot, p netip.Prefix) []Slot                 { return dst }
func (r *Ranges) Within(p netip.Prefix, yield func(netip.Prefix, Slot) bool) {}
func (r *Ranges) Len() int                                                   { return 0 }

type Values struct{}

func (v *Values) Get(scope, value uint32) Slot    { return 0 }
func (v *Values) Set(scope, value uint32, n Slot) {}
func (v *Values) Len() int                        { return 0 }

type Strings struct{}

func (s *Strings) Lookup(text string) (uint32, bool) { return 0, false }
func (s *Strings) At(n uint32) string                { return "" }
func (s *Strings) Plain(n uint32) bool               { return false }
func (s *Strings) Acquire(text string) uint32        { return 0 }
func (s *Strings) Release(n uint32)                  {}
func (s *Strings) Len() int                          { return 0 }

type Deadlines struct{ at func(Slot) int64 }

func NewDeadlines(at func(Slot) int64) *Deadlines   { return &Deadlines{at: at} }
func (d *Deadlines) Add(n Slot)                     {}
func (d *Deadlines) Due(now int64, take func(Slot)) {}
func (d *Deadlines) Next() (at int64, ok bool)      { return 0, false }
func (d *Deadlines) Len() int                       { return 0 }

// Event is a record that began or ended: slot<<1 | ended.
type Event uint32

func (e Event) Slot() Slot  { return Slot(e >> 1) }
func (e Event) Ended() bool { return e&1 != 0 }

type Revisions struct{}
type Window struct{}

func (r *Revisions) Append(rev uint64, n Slot, ended bool)    {}
func (r *Revisions) Publish(rev uint64)                       {}
func (r *Revisions) Window(after, upto uint64) (Window, bool) { return Window{}, false }
func (r *Revisions) Floor() uint64                            { return 0 }
func (r *Revisions) Len() int                                 { return 0 }
func (r *Revisions) Trim(keep int, gone func(Event))          {}
func (r *Revisions) Reset(floor uint64)                       {}
func (w Window) Len() int                                     { return 0 }
func (w Window) At(i int) Event                               { return 0 }
