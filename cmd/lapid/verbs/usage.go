package verbs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lapid/transport/admin"
)

// usageItem is one figure that a bouncer or log processor reported.
type usageItem struct {
	Name   string            `json:"name"`
	Unit   string            `json:"unit"`
	Value  number            `json:"value"`
	Labels map[string]string `json:"labels"`

	at int64 // Unix seconds, by the sender's clock
}

// usageItems are the figures of one report. A report that cannot be read is
// an error that names its sender; the server checked its form when it came.
func usageItems(r *admin.UsageReport) ([]usageItem, error) {
	var metrics []struct {
		Items []usageItem `json:"items"`
		Meta  struct {
			Now int64 `json:"utc_now_timestamp"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(r.Payload, &metrics); err != nil {
		return nil, fmt.Errorf("usage metrics of %s: %w", r.Name, err)
	}
	var out []usageItem
	for _, m := range metrics {
		for _, i := range m.Items {
			i.at = m.Meta.Now
			out = append(out, i)
		}
	}
	return out, nil
}

// identity names one series of figures. Labels are in order, so that two
// reports of a series agree.
func (i *usageItem) identity() string {
	keys := make([]string, 0, len(i.Labels))
	for k, v := range i.Labels {
		keys = append(keys, k+"="+v)
	}
	slices.Sort(keys)
	return i.Name + "\x00" + i.Unit + "\x00" + strings.Join(keys, "\x00")
}

// gauge tells whether the last figure counts instead of the sum. By its name
// alone, for reports do not say: that is what the reference does.
func (i *usageItem) gauge() bool {
	return i.Name == "active_decisions" || strings.HasSuffix(i.Name, "_gauge")
}
