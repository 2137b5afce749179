// Command helm packs the chart beside it (cmd/lapid/dist/chart) into dist/chart, with the release's version, and with
// the rules and dashboards that have one source. The same commit gives the same bytes. It needs no Helm.
//
//	make chart
//
// Its tests have Helm's own program look at the chart, write it out for a dozen files of values, and hold what
// comes of it to the types of Kubernetes and to this server's configuration: make chart-test.
package main
