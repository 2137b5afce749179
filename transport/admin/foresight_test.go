package admin

import (
	"context"
	"fmt"
	"testing"

	"lapid/engine"
)

// A dry run says for which bouncers there would be more than they may hold, and counts
// what they would really be told of: their view, and each target once.
func TestDryRunNamesWhoWouldOverflow(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), context.Background()
	for i, s := range []*engine.Sight{
		{MaxEntries: 3}, {MaxEntries: 3}, {MaxEntries: 100}, {MaxEntries: 1, Types: []string{"captcha"}}, {Types: []string{"ban"}}, nil,
	} {
		_, err := d.engine.AddBouncer(ctx, &engine.Bouncer{Name: fmt.Sprint("b", i), KeyHash: engine.KeyHash{byte(i + 1)}, AuthType: engine.AuthAPIKey, Sight: s})
		d.must(err)
	}
	d.must(second(d.AddDecision(ctx, &NewDecision{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Duration: "4h"})))
	d.must(second(d.AddDecision(ctx, &NewDecision{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Duration: "5h"})))
	head, items := &ImportHead{Scope: "Ip", Type: "ban", Duration: "4h", Reason: "r", Dry: true}, []Item{
		{Value: "192.0.2.1"}, {Value: "192.0.2.2"}, {Value: "192.0.2.3"}, {Value: "192.0.2.3", Again: true}, {Value: "192.0.2.3", Type: "captcha"},
	}
	got, err := d.importOne(ctx, head, items)
	d.must(err)
	if got.Stored != 5 || got.Alert != 0 || got.Outlook.New != 3 || got.Outlook.Known != 1 || got.Outlook.Again != 1 {
		t.Errorf("%+v, %+v", got, got.Outlook)
	}
	want := []Overflow{{"b0", 1, 3, 1, 3}, {"b2", 0, 100, 1, 3}, {"b3", 0, 1, 0, 1}}
	if fmt.Sprint(got.Outlook.Overflows) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got.Outlook.Overflows, want)
	}
	before := d.engine.View()
	if alerts, _ := before.Counts(); alerts != 2 {
		t.Errorf("%d alerts", alerts)
	}
	head.Dry = false
	if got, err = d.importOne(ctx, head, items); err != nil || got.Stored != 5 || got.Alert != 3 {
		t.Errorf("the import then: %+v, %v: a number was used up", got, err)
	}
}
