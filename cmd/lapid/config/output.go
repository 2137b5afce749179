package config

// Formats of what verbs show: the words of cscli.output and of --output.
const (
	Human = "human" // tables and sentences for a person; the default
	JSON  = "json"
	Raw   = "raw" // CSV, or the bare value
)

// Outputs are these words. They are not to be changed.
var Outputs = []string{Human, JSON, Raw}
