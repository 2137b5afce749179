// Package contract is a folder of pages: what bouncers, log processors, the stock
// cscli, dashboards and configuration files expect of a Local API, as far as code
// and tests of this module refer to it. There is no code in it.
//
//	http-api.md   the wire: routes, credentials, alerts, decisions, the stream
//	config.md     config.yaml and what goes with it
//	profiles.md   the operator's rules
//	metrics.md    the Prometheus families and how they count
//	cli.md        what the operator's verbs print
//	clients.md    which details of the wire real clients break on
//
// A comment cites a page as "http-api.md section 13". Section numbers are for ever:
// a new section gets the next number, one that says nothing any more stays as a
// heading with the reason. TestCitations finds citations without a section.
//
// The pages say what is so; which recorded case proves it stands in
// transport/quirks.go and transport/conformance.
package contract
