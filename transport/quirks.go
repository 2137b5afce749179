package transport

// What is odd here is odd on purpose: somebody depends on it, or the recorded
// cases do. Each quirk names the place that keeps it and the case that proves
// it. Where the contract calls a quirk free (http-api.md section 18) we do the
// sensible thing instead; those are listed at the end.
//
// Kept:
//
//	quirkValidation       An alert that lacks something is 500, not 422; registration
//	                      and usage metrics are 422, a login is 401 (the column
//	                      missing of the table). alert-missing-each, watchers-register-invalid,
//	                      metrics-invalid, login-refused
//	quirkFilters          Filters and addresses that cannot be read are 500 (readStatus,
//	                      allowlisted). decisions-bad, alerts-filter-bad, allowlists-check
//	quirkNotFound         Deleting an alert or a decision that does not exist, asking for
//	                      an unknown allowlist, and unregistering twice are 500 (reply.go).
//	                      alert-delete-id-bad, decision-delete-id-bad, allowlists-get,
//	                      watchers-self-delete
//	quirkBadStreamFilter  A stream with an unusable filter is 200 with two empty lists and
//	                      moves no cursor (stream.go). stream-bad-filter
//	quirkTooLarge         A body that is too large is 400, never 413; on login it is 401
//	                      (requestbody.go, watchers.go). http-body-limit-unauth
//	quirkAgent            A login needs a User-Agent with exactly one slash, and is told that
//	                      its password was wrong (auth.Gate.Login). login-user-agent
//	quirkCheckNamed       GET /v1/allowlists/check is the list named check; DELETE of
//	                      /v1/decisions/stream is the decision of that id (routes.go).
//	                      http-method-not-allowed
//	quirkStreamType       The stream alone says application/json without a charset
//	                      (reply.go). stream-framing
//
// Not kept, being free:
//
//	A live query moves no stream cursor. Deleting an alert announces the end of its
//	decisions. Ends are announced once. Alerts of one request are stored all or none.
//	The token of a machine that was removed is refused (auth.Gate.Machine), except to
//	unregister, where the contract's 500 is kept. A token without id is 401. null in a
//	list is 400. What cannot be read as a request is told why in JSON (conn/framing.go).
