package shadow

// The reasons for which answers may differ: the allow list of the comparer. Each says why it is right so. What is not here
// is unexplained.
const (
	// Known deviations of lapid, and of older servers from the contract.
	whyOlderRoute  = "the old server is of an older version and does not have this route"
	whyOlderForm   = "the old server is of an older version, which writes this another way: stream, HEAD, redirects, Allow"
	whyOlderField  = "the old server is of an older version and does not show this field"
	whyOlderStatus = "the old server is of an older version, which answers this mistake with another status"
	whyCrash       = "the old server fails without a word (500, no body) where lapid refuses with a reason"
	whySpread      = "the old server finds and deletes alerts by an address that is spread over several decisions; lapid looks at each decision"
	whySilent      = "decisions of a deleted alert: lapid announces their end, the old server does not, and bouncers keep them"
	whyCursor      = "a live query moves this bouncer's place in the stream at the old server, which then leaves out what came in between; lapid does not"
	whyDoubles     = "the old server names one of several decisions on one target, or hides one behind another that the filters leave out; lapid filters first"
	whyZone        = "the alert's times have a zone other than UTC, which the old server compares as text"

	whyMissed = "an older server moves a bouncer's place in the stream to when it has answered, and never tells of what was stored or ended while it answered"
	whyHalf   = "a push that the old server refused, for its database was locked, left decisions without an alert there, or an alert without decisions"

	// What follows from there being two servers.
	whyRaced      = "a request that changes something was under way at the same moment"
	whyEnding     = "a decision that ended in the seconds between the two answers"
	whyLimit      = "the list is cut at a number of entries, and neither server promises an order"
	whyOwn        = "made at the old server itself, not through the shadow (its own cscli, its lists from the Central API): 'lapid movein' again brings lapid level"
	whyEndedThere = "ended or deleted at the old server itself, not through the shadow: 'lapid movein' again brings lapid level"
	whyAgain      = "an alert that came through the shadow was moved in beside itself, by 'lapid movein' while the shadow was there"
	whyFlushed    = "old alerts are flushed at different moments"
	whyLater      = "it reached the second server later, from the queue"
	whyWords      = "the words of a decoder's error"
)
