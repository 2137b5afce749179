package movein

import (
	"context"
	"slices"

	"lapid/engine"
)

// Allowlist is an allowlist with those of its items that have not expired.
type Allowlist struct {
	engine.Allowlist
	Number  int64
	Console bool // managed by the console
	Items   []AllowlistItem
	Unread  bool // items of it are not among them, because they could not be read
}

// AllowlistItem is one item with the number of its row.
type AllowlistItem struct {
	engine.AllowlistItem
	Number int64
}

// Columns of the three tables of allowlists.
const (
	listID = iota
	listCreated
	listUpdated
	listName
	listConsole
	listDescription
	listConsoleID
)

const (
	itemID = iota
	itemCreated
	itemExpires
	itemComment
	itemValue
	itemStart
	itemEnd
	itemStartSuffix
	itemEndSuffix
	itemSize
)

const (
	joinList = iota
	joinItem
)

// allowlists hands over the lists. They are read whole: they are small.
func (r *reader) allowlists(ctx context.Context) error {
	var lists []*Allowlist
	byNumber := map[int64]*Allowlist{}
	tally := r.tally.table(listsTable)
	if err := r.source.all(ctx, listsTable, "id", func(row *row) error {
		tally.Read++
		l := &Allowlist{Number: row.id(listID), Console: row.flag(listConsole)}
		l.Name, l.Description = row.text(listName), row.text(listDescription)
		l.CreatedAt, l.UpdatedAt = row.moment(listCreated), row.moment(listUpdated)
		if l.FromConsole = l.Console; l.Console {
			l.ConsoleID = row.text(listConsoleID)
		}
		if l.Name == "" && row.bad == "" {
			row.bad = "name is empty"
		}
		if row.bad != "" {
			tally.damage(l.Number, row.bad)
			r.tally.spare(listsTable, l.Name)
			return nil
		}
		if slices.ContainsFunc(lists, func(other *Allowlist) bool { return other.Name == l.Name }) {
			tally.damage(l.Number, twice)
			return nil
		}
		lists, byNumber[l.Number] = append(lists, l), l
		return nil
	}); err != nil {
		return err
	}
	listOf, err := r.joins(ctx, byNumber)
	if err != nil {
		return err
	}
	if err := r.items(ctx, byNumber, listOf); err != nil {
		return err
	}
	items := r.tally.table(itemsTable)
	for _, l := range lists {
		err := r.spare(listsTable, l.Name, r.to.Allowlist(ctx, l))
		if err := r.hand(tally, l.Number, err, func() {
			if l.Console {
				tally.remark(l.Number, "is managed by the console")
			}
		}); err != nil {
			return err
		}
		for _, item := range l.Items {
			if item.Number == 0 {
				continue // counted with the first list that it is on
			}
			if err := r.hand(items, item.Number, err, func() {}); err != nil {
				return err
			}
		}
	}
	return nil
}

// joins reads which items belong to which lists.
func (r *reader) joins(ctx context.Context, lists map[int64]*Allowlist) (map[int64][]int64, error) {
	listOf := map[int64][]int64{}
	tally := r.tally.table(joinTable)
	err := r.source.all(ctx, joinTable, "allow_list_item_id, allow_list_id", func(row *row) error {
		tally.Read++
		list, item := row.id(joinList), row.id(joinItem)
		switch {
		case row.bad != "":
			tally.damage(item, row.bad)
			unreadItem(lists, []int64{list})
		case lists[list] == nil:
			tally.leave(item, "belongs to no list that is there")
		default:
			listOf[item] = append(listOf[item], list)
			tally.took()
		}
		return nil
	})
	return listOf, err
}

// unreadItem notes an item that could not be read, of some lists, or of nobody knows which.
func unreadItem(lists map[int64]*Allowlist, of []int64) {
	known := false
	for _, number := range of {
		if l := lists[number]; l != nil {
			l.Unread, known = true, true
		}
	}
	if known {
		return
	}
	for _, l := range lists {
		l.Unread = true
	}
}

// items reads the items into their lists; one may be on several.
func (r *reader) items(ctx context.Context, lists map[int64]*Allowlist, listOf map[int64][]int64) error {
	tally := r.tally.table(itemsTable)
	return r.source.all(ctx, itemsTable, "id", func(row *row) error {
		tally.Read++
		item := AllowlistItem{Number: row.id(itemID)}
		item.Value, item.Comment = row.text(itemValue), row.text(itemComment)
		item.CreatedAt, item.ExpiresAt = row.moment(itemCreated), row.moment(itemExpires)
		p, err := engine.ParseTarget(item.Value)
		if item.Prefix = p; err != nil {
			row.fault(itemValue, "is no address or range")
		}
		of := listOf[item.Number]
		switch {
		case row.bad != "":
			tally.damage(item.Number, row.bad)
			unreadItem(lists, of)
		case len(of) == 0:
			tally.leave(item.Number, "belongs to no list, so it protects nothing")
		case item.Expired(r.now):
			tally.leave(item.Number, "expired")
		default:
			stored := bounds{row.number(itemStart), row.number(itemEnd), row.number(itemStartSuffix), row.number(itemEndSuffix), row.number(itemSize)}
			if what := remarkOn("Ip", item.Value, stored, !row.null(itemSize)); what != "" {
				tally.remark(item.Number, what)
			}
			if len(of) > 1 {
				tally.remark(item.Number, "is on several lists")
			}
			for i, list := range of {
				copied := item
				if i > 0 {
					copied.Number = 0 // counted once
				}
				lists[list].Items = append(lists[list].Items, copied)
			}
		}
		return nil
	})
}
