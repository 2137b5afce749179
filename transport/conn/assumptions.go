package conn

// What is assumed of the HTTP library, fasthttp, besides what its documentation
// promises. Each line has a test of the same name in assumptions_test.go that asks the
// library alone, so that an update that changes any of them is seen before it is taken.
//
//	AnEndSendsHome         io.EOF where a request would begin ends ServeConn, with
//	                       nothing written, no error handler called, and one Close.
//	                       So a connection goes back to a loop, or to another library.
//	TwoDeadlinesARequest   SetReadDeadline is called once before a wait for a request,
//	                       with IdleTimeout, and once when its first byte is there, with
//	                       ReadTimeout, and by nothing in between. So conn.waits tells
//	                       the two apart. Before the first request of a connection it
//	                       is called twice, with ReadTimeout, and not after.
//	FlushedBeforeReading   every answer is written before the library reads from the
//	                       connection again. So a read shows that what was owed has left.
//	PipelinedWithoutFlush  as long as its buffer holds a request it answers that first.
//	EmptyLineWakes         an empty line before a request means nothing, but counts as
//	                       its first byte. So intake wakes the library with one.
//	BodyTimeout            what HeaderReceived gives as ReadTimeout is set as a deadline
//	                       before the body is read.
//	BodiesAreStreamed      with MaxRequestBodySize of readAhead the handler runs before
//	                       a longer body has come, and what it has not read is not
//	                       skipped by a read beyond the body's end.
//	StreamsAreWritten      a body stream with SupportsBodyWriteTo is written by one call
//	                       of WriteTo and closed once, whatever WriteTo says; an error
//	                       ends the connection.
//	ChunksEndInThree       of a stream of unknown size the last chunk, "0\r\n" and "\r\n"
//	                       come in parts, and the end of the last chunk is its CRLF.
//	                       So ending knows when all of it is there.
//	ErrorsNeedAByte        ErrorHandler is called for any error within a head, of which
//	                       one byte at least has come; not for an end, or a deadline,
//	                       between two requests. So intake gives a byte with an error.
//	HijackedWithoutAnswer  with HijackSetNoResponse nothing but what the hijacker writes
//	                       is written, and the connection is closed behind it.
//	ExpectedIsAsked        ExpectHandler runs for Expect: 100-continue before the body is
//	                       read; 100 has the request answered after its body, anything
//	                       else is the answer.

// And of crypto/tls, besides what its documentation promises; session_test.go and
// keyupdate_test.go ask it over a wire:
//
//	TestSessionSplit, TestSessionNewKeys: an error of the connection that is temporary
//	(net.Error) is given on by Read as it is and is not remembered, in the middle of a record,
//	of a message of the handshake, and between them. So a loop asks again.
//
//	TestSessionManyRecords: Read asks the connection for nothing while it has a whole record.
//	On a loop it is given no more than one; so it has nothing left that it did not say.
//
//	TestSessionAllocatesOne: a record that is read costs one allocation of 24 bytes, one that is
//	written none.
//
//	TestSessionNewKeys, TestSessionEnds: what Read has to answer, a change of keys or an alert,
//	is written before it returns, and a farewell is an end behind what was said before it.
