// Package engine decides what is true and in which order it became true.
//
// There is one history. Every change, be it an alert with its decisions, a
// deletion, an expiry or a new bouncer, is part of one commit and gets the
// next Revision. The journal is the history written down; a View is the state
// after some revision; a bouncer's stream, a snapshot and a restart are
// readers of the history with a bookmark.
//
//	AddAlerts, EndDecisions …  ──► queue ──► committer: journal ─► apply ─► publish ─► answer
//	Find, Changes …            ──► View (one atomic load, no lock)
//	Open                       ──► newest snapshot ─► replay of the journal, by the same apply
//	Commits, Changed           ──► the history itself, from a bookmark on (history.go, bookmark.go)
//	Lead, Yield                ──► which engine writes a history that is shared (journal.go, follow.go)
//
// # How memory is shared
//
// The committer edits one state in place while readers look at it. What makes
// that safe is that everything is stamped: a record carries the revision that
// began it and the one that ended it, and a reader overlooks what is younger
// than its view. The indexes below (package index) never show anything torn.
// A record whose alert is gone stays as a tombstone until no bouncer can still
// hold it unknowingly, and its memory is given back when the last view that
// could lead to it has been collected (graves.go); chunks of records in which none
// is left go back to the machine (reclaim.go). Against copying what a
// commit touches, this costs readers two comparisons a record and saves every
// commit its garbage.
//
// # Invariants
//
//  1. Order: commits are journaled, applied and published in one order; a
//     revision is a place in it.
//  2. Durability: no write is answered before its commit is in the journal,
//     synced unless configured otherwise. Ids are given out by apply.
//  3. Visibility: a view shows all of a commit or none of it.
//  4. Agreement: a stored decision is found by id, by target, by deadline and,
//     when it names addresses, by prefix; nothing else is found. Check derives
//     it anew.
//  5. Streams: a full state plus every later delta equals a fresh full state. A
//     cursor is behind what its bouncer was told, in memory; on disk it is never
//     behind what may not have been heard (delivery.go). What is said to be
//     acknowledged, the bouncer has (acknowledge.go).
//  6. Time: the clock is read at the door and by the committer; apply and
//     replay never read it. An ended decision is in no answer.
//  7. Values: a decision, once committed, is never modified but by its end;
//     machines, bouncers and allowlists are replaced, never changed.
//  8. Limits: every queue, buffer, history and retry has a bound, and the
//     bound's comment says what happens there.
//  9. Actors: every operation, and every end of a decision before its time, names
//     its actor (actor.go), but for what older programs wrote.
//  10. Readers: what leaves by the history leaves from a durable bookmark, at least
//     once, in order, and within a bound.
//
// # What a bouncer may see
//
// A bouncer's row may have a Sight: filters, a bound of entries, bounds of durations,
// allowlists that hide from it alone (sight.go). Live queries and streams obey it, but for
// the bound of entries in live queries; a question narrows it and never widens it. A sight
// is a value: equal ones are one pointer, and who has one sight shares one answer.
//
// What a bouncer is to hold is a function of a revision, its question and its sight. So a row
// keeps the sights that its cursor may stand under (sight_past.go), and the delta after an
// edit is the difference of two such sets: what has left its sight is told as deleted, what
// has come in as new (sight_change.go). Where an earlier sight is forgotten everything is told.
// Durations that are cut are told again before they are over (sight_renewal.go).
//
// # Time
//
// Ends are moments of the wall clock, but a clock that jumps does not lift
// bans: time is taken from the wall clock once and goes on by the steady clock
// of the machine; a step of the wall clock is followed only after the two have
// disagreed by the same amount for ten minutes (clock.go). A decision's end is
// committed within a tick of the deadlines' wheel (an eighth of a second) after
// its time; from that time on no answer shows it. What must happen every so
// often (visits, retention, snapshots) goes by the steady clock alone.
//
// Promised: a step, be it an hour or to 1970, that is taken back within ten
// minutes changes nothing. One that stays and leads back in time lifts nothing:
// what was decided before it runs longer by as much, what is decided after it
// ends when it should; a commit says so first (setBack), the history goes on with
// earlier times, and the wheel is set back. Streams stay consistent throughout. Else
// the time of a commit is never earlier than that of the one before.
//
// Not promised: after a step forward that stays, what is over by the new time is
// lifted, for it may well be over. A start believes the wall
// clock at once, whatever it says: in the past nothing is lifted, and ten minutes
// after the clock was set all is as it should be; in the future, see before. A
// machine that was suspended is behind for ten minutes after it wakes.
//
// But what cannot be brought back is not deleted by one look at a clock (leap.go).
// A start more than a month ahead of the last commit, or more than the shortest age
// that the operator has anything kept for if that is longer, deletes nothing for its
// age until the clocks have agreed for ten minutes; it says so in the log and in
// Troubles. When the clock is set to a likely time meanwhile it is believed at once,
// and but for ended decisions all is as before. A second start with the same clock
// is no proof: a note in the history keeps what was believed. And at any start,
// silence of bouncers and machines counts only when they could have been heard for
// ten minutes. A clock that is years ahead and stays so is believed in the end:
// then alerts and usage metrics go, and bouncers and machines that were silent in those
// ten minutes.
//
// # Goroutines and ownership
//
// Run is the committer; it owns the state's write side, the next numbers and
// the journal. What it does is of two kinds: writes, which add to the history, and
// chores (a trim, the beginning of a backup, a look at the disk), which do not. It starts
// one more goroutine, the snapshotter, which only walks a view; and while it follows,
// one that listens to the journal. Everything else is the caller's. Shared are one atomic pointer to
// the newest View, the atomics on rows and records named in record.go, the tally of
// metrics, a sync.Map that readers range over, and a few lists: of proposals, of
// answers that a bouncer may not have heard, of troubles, of lines for the log, of
// what senders of usage metrics may still send. Each has a lock of its own; while it
// is held no other is taken and nothing is waited for. What bouncers hold that may hold so
// many entries alone, and how many entries there are, is kept up by those who ask (shelf.go,
// census.go), each kind of question under a lock that who asks another never waits for.
//
// # Promises
//
// Each with the tests that attack it; go test -run NAME ./engine, or where else
// the test is said to be.
//
// Of a whole process, in cmd/lapid/...:
//
//	killed at any moment, nothing that was answered is lost, nothing that was not
//	  is half there, no bouncer misses anything         TestCrash (make crash), TestKill
//	a delta is told until it was heard                  TestStoppedServer, and in transport: TestClosings,
//	                                                    TestManyOnOneConnection, TestBrokenPoll
//	what was heard is not told again                    in transport: TestLastBrace, TestOrderlyEnd
//	busy for long, every answer is right, and memory,
//	  goroutines and files stay where they are          TestSoak (make soak)
//	an end by SIGTERM answers or refuses each write     TestShutdown
//	a full or read-only disk refuses writes, and says
//	  so; reads are served, also by a server that
//	  starts there; it recovers by itself               TestDiskFull, TestDiskReadOnly
//	what is missing is named, and changes nothing; a
//	  loss is accepted in words alone, and settled then TestMissingIsMissed, TestAcceptLoss, TestAcceptedLossIsSettled
//	whatever happened to a file of a store: it is named,
//	  with what to do next, and a restore helps         TestEveryFileHarmed, TestBadBackups
//	a lock outlives the file LOCK; the holder of a store
//	  is named                                          TestLockTakenAway, TestHeldStoreIsNamed
//	a start ends within a second of SIGTERM             TestStartObeysSIGTERM, TestStartObeysSIGTERMInOneCommit
//	root's server leaves nothing in another's folder    TestRootServerIsRefused
//	writers faster than the disk are told to come back  TestWritersFasterThanTheDisk
//	a backup of a running server is one moment of it,
//	  and a restore all of it or nothing                TestBackupVerbs, TestCutBackup, TestKilledRestore
//	after a restore every bouncer is told everything    TestRestoreReachesBouncers
//	a check names what is damaged and changes nothing   TestCheckVerb
//	it says whether it is ready, and why not, from its
//	  first moment on; a committer that does not come
//	  round is noticed, a disk that refuses is no such    TestReady, TestStuckCommitter
//
//	what was decided, refused and changed is told in the
//	  log, within bounds; no secret is                  TestServerTells, TestLogFiles, TestLogRotation, and in
//	                                                    transport: TestEveryDenialIsTold, TestDenials
//	a start tells what it reads and how far it is       TestStartTells, TestReadyNamesWhatIsRead
//
// Of this package, on disks in memory that fail and lose their power:
//
//	durability    every disk operation fails once            TestEveryOperationFailsOnce
//	              the power fails before each                TestPowerFailsAnywhere, TestPowerFailsOnAShakyDisk
//	              a disk that refuses for a while            TestDiskRefusesForAWhile
//	              what waits at the end is committed         TestNothingIsLostAtTheEnd
//	damage        is noticed and named, wherever it is       TestDamageIsNoticed, TestInspect
//	              a loss that was accepted is none, the next TestAcceptedLoss
//	              one is
//	ends          a start is left, whatever the disk is at   TestStartIsLeft
//	formats       the first one opens and restores for ever  TestFrozenStores, TestFrozenBackup
//	              it gets its id whatever happens            TestFrozenStoreMigratesAtAnyMoment
//	              the next commit is at the disk while one is
//	              applied; one that fails leaves nothing     TestNextCommitIsBegunAhead, TestFailedSyncWithTheNextGathered
//	visibility    a view that is held never changes          TestHeldViewNeverChanges
//	              readers see only what is on the disk       TestReadersSeeWhatIsOnTheDisk
//	              readers, snapshots, streams beside writers TestReadersBesideWriters
//	agreement     random histories against the slow twin     TestHistories
//	streams       bouncers with lost answers, restarts and
//	              power failures                             TestFleets, TestEndsAreToldOnce, TestUnheardIsToldAgain, TestOffer
//	              a full state lists as over what may be held TestStartupListsWhatMayBeHeld
//	              who may hold so many entries holds those that
//	              come first, and never more                 TestShelves, TestShelvesOfParts, TestShelvesBesideWriters
//	time          a step that is taken back changes nothing  TestStepThatIsTakenBack, TestLeapAndBack
//	              one that stays lifts nothing               TestStepThatStays, TestStartWithAWrongClock
//	              clocks set at random                       TestClockAtRandom
//	              one start with a clock years ahead deletes
//	              no key, no machine, no alert               TestStartYearsAhead, TestStartAfterAWrongOne
//	              what was silent while it was off may speak TestSilenceWhileOff
//	values        what was deleted stays deleted             TestNobodyComesBack, TestMachines, TestBouncers
//	brought       what other servers had keeps its numbers
//	              where they are free                        TestBring, TestBringAtRandom, TestBringBesideReaders
//	              … told to streams as one change            TestHeldStreams
//	limits        a queue that is full refuses               TestQueueIsBounded
//	              a writer that gives up is told so only if
//	              nothing is stored                          TestGivingUp, TestEveryWriterIsAnswered
//	              memory of what was forgotten is used again TestPlacesAreUsedAgain
//	              … and what is not goes back to the machine TestMemoryComesBack
//	the history   a commit gives the same as made and as
//	              decoded, for each operation                TestAppliedAsMadeAndAsDecoded, TestCommitOfAnotherState
//	              two engines on one, the writer deposed
//	              under load: nothing answered is lost, both
//	              have the same, no reader notices           TestLeadAndYield, TestFollowerBeginsNothing
//	              what any journal must hold                 TestStoreJournal, TestAgreed
//	              its readers are told what is so            TestCommitsAreTheState, TestCommitsBesideWriters
//	              … slow and dead ones, over restarts        TestScenarios/history
//	why           says what the live query says, and that a
//	              bouncer was told only of what it holds     TestWhyAgrees, TestWhyOfBounds, TestScenarios/why
//	rows          of bouncers and machines against a slice,
//	              views that are held, restarts              TestBouncersAgainstSlice, TestMachineCounts
//	              one takes 450 bytes at most                TestBouncerRowBytes
//	              machines share what they report            TestMachineBytes, TestMachinesShare
//	              a start enters all at once                 TestLoading, BenchmarkManyRows
//	              a key from ever new addresses has so many,
//	              the one idle longest goes                  TestRowsPerKey, TestCertificatesPerName
//	              a name that is taken keeps no bouncer out  TestTakenNames
//	bytes         every decoder: no panic, bounded memory,
//	              one way to write a thing                   TestRecordsAreCanonical and the fuzz targets
//	the log       each decision has its line, and no report
//	              makes it as long as it likes               TestAlertsAreLogged, TestStarting
//	allocation    none for what is asked all the time        TestAnswersAllocateNothing
//	backup        equal to the last bit                      TestBackup, TestBackupBesideWriters, TestDamagedBackup
//	              every released format is read for ever     TestBackupFormats
//	snapshots     there is no state that cannot be written
//	              down, backed up and started from           TestManySections, TestAllowlistOverSections, TestFleet
//	              … nor one that older programs have left    TestGiantsOfOlderPrograms, TestSectionsOfOtherForms
//	              one that fails is a trouble, and logged    TestSnapshotThatFails
//	entries       what bouncers are told is what the slow twin says, with
//	              allowlists that win, clean spellings, restarts      TestEntries, FuzzPieces, TestTooManyPieces
//	lists         a pulled list is replaced in one commit, which
//	              tells what changed                         TestReplacedListTellsWhatChanged
//	              what stays is decided anew in time, a part
//	              at once                                    TestListIsRenewedLittleByLittle
//	              one that shrank by half is held back       TestShrunkenListIsHeldBack
//	bounds        whatever a record is filled with, what is
//	              stored of it is small                      TestEveryTextIsBounded, TestUsageIsBounded
//	              what is as long as it may be is kept whole TestRecordsAtTheirBounds
//	              an alert is stored without its surplus, and
//	              a value is never cut                       TestAlertBeyondTheBounds, TestProfileBeyondTheBounds
//	              a change of a long allowlist costs what
//	              changes; held views never change           TestLongAllowlistChangesCostLittle, TestAllowlistsAtRandom
//	              the console's follows its id there, and
//	              nobody else changes it                     TestConsoleAllowlist, TestConsoleAllowlistEnds
//
// # Limits
//
//	proposals waiting    Options.MaxQueued, MaxQueuedBytes   ErrBusy, nothing is stored
//	one commit           4096 proposals, 8 MiB               the rest waits for the next
//	history for streams  Options.History events              a bouncer further behind starts over
//	brought at once      131 072 alerts or decisions         ErrInvalid
//	history for readers  Options.History events, Options.BookmarkBytes of journal, 64 bookmarks
//	                                                         a reader further behind starts over, and is named
//	a pulled list        4 Mi entries                        ErrInvalid, nothing is stored
//	answers under way    64 to one bouncer                   further ones are told again
//	alerts               Options.Retention                   dropped with their decisions when over
//	a text that a caller
//	says of itself       bounds.go                           ErrInvalid, nothing is stored
//	a text of an alert   bounds.go                           cut; a decision with a longer value is dropped
//	usage metrics        bounds.go, by sender and day        not kept; what they say of their sender is
//	lines of the log     alert_log.go, for alerts and seconds counted in one line
//	a section            1 MiB and one thing more            the next begins
//	rows of one key      Options.BouncersPerKey              the one heard of longest ago is dropped
//
// What machines of a fleet report alike (versions, scenarios, lists of hub items) is
// kept once (inventory.go). While a start brings memory up, rows are found by name in
// one table (loading.go); the indexes that views share are made of all of them at its
// end.
//
// A row of a bouncer or machine costs the same to make, to find, to load and to
// drop, however many there are; the committer looks through all of them once a
// minute only, in steps (survey.go), and learns of visits without looking
// (ledger.go).
package engine
