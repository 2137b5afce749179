// Package openapitest holds servers to the description of their API, for tests.
//
// A Checker looks at exchanges: is the path described, is the status, is the body what its schema says, with
// no field more, under a content type that is described, are the parameters known. It notes which
// operations were met with which statuses, so that a test can say at its end what was described
// and never seen.
package openapitest
