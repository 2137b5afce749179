package verbs

import (
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sample is one figure of an exposition.
type sample struct {
	family string
	labels map[string]string
	value  float64
}

// parseSamples reads the text exposition of Prometheus, version 0.0.4: counters,
// gauges and what has no type. Summaries and histograms are left out, for no table
// shows them. Text that is no exposition, or is cut off, is an error that names the
// line; there are no samples then, since half of the figures would look like all.
func parseSamples(in io.Reader) ([]sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(in)
	if err != nil {
		return nil, err
	}
	var out []sample
	for _, name := range sortedKeys(families) {
		for _, m := range families[name].GetMetric() {
			value, single := singleValue(m)
			if !single {
				continue
			}
			s := sample{family: name, labels: make(map[string]string, len(m.GetLabel())), value: value}
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// singleValue gives the figure of a metric that has one alone.
func singleValue(m *dto.Metric) (value float64, single bool) {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue(), true
	case m.Gauge != nil:
		return m.Gauge.GetValue(), true
	case m.Untyped != nil:
		return m.Untyped.GetValue(), true
	}
	return 0, false
}
