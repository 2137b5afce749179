// Package inputs reads the lists of values that people import: CSV with a header, JSON, NDJSON, a value a line, and
// what "decisions list" and cscli print; plain or packed with gzip. The verb decisions import and the console
// read by it, so that both take, refuse and name the same.
//
//	Text, Recognize → Formats → Sink → Judge → what is sent (transport/admin)
//
// Readers keep one entry in memory. What no entry can be made of is told with its place, and the rest is read.
package inputs
