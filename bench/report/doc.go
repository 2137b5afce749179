// Package report turns measurements into a page: one table of what was to be
// reached, what was measured, where, and whether it is (or why nobody can tell), the figures behind it, and plots as
// SVG files. It measures nothing itself.
package report
