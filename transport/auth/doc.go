// Package auth answers one question: who is asking?
//
// The Gate knows four kinds of callers. A bouncer shows an API key or a client
// certificate and is one row per key and address. A machine shows a token,
// which it gets by logging in with a password or a certificate. Any client may
// register a machine, which an operator then validates. And every request has an
// address, which decides alone about a few questions (address.go).
//
// # What it costs
//
// A bouncer's key is hashed with SHA-512 and a token's signature checked with
// HMAC once; afterwards both are recognised by a keyed 128-bit SipHash whose
// key is made at the start of the process, so that a request costs tens of
// nanoseconds, allocates nothing, and no key or token is kept in clear. A
// recognised bouncer is good until its row is gone, so a deleted key is refused
// by the very next request, and rows that come and go for others, a thousand a
// second, cost it nothing.
//
// A key that comes from ever new addresses gets a row for each, up to the bound of
// the engine (Options.BouncersPerKey); with Options.IPv6Prefix the addresses of one
// prefix share one. A row is called NAME@ADDRESS; where another row has that name
// the address is repeated.
//
// Passwords cost bcrypt, tens of milliseconds each, by design. They are checked, and
// hashed for registrations, by few workers behind one queue (see passwordQueue), so that
// neither a fleet that starts at once nor an attacker that guesses can take the
// processors away from the rest of the server. First come machines that the store knows
// from where they log in, then machines from elsewhere, then addresses that guessed
// wrong too often and registrations without the right token. In each class addresses
// take turns, and machines of the first class do one by one, so that a flood delays only
// its own address. A guess counts from its beginning until it turns out right. A
// password that was right once is recognised for a day without bcrypt. So guessing and
// registering lock no machine out, right after a start, from the same address or behind
// the same proxy neither. An attacker that shares the address of a machine and knows its
// name can do one thing: make that machine's own first login wait among the doubtful.
//
// # What it promises
//
// Secrets are compared in constant time, or by a hash of themselves, and never
// appear in an error or a log line. This package logs no refusal: a Refusal carries the
// reason, and the server counts and logs it (transport/denials.go). Every error that
// leaves the package is either a *Refusal, whose text the caller may be shown, or an
// error of the engine. All methods may be called from any goroutine.
package auth
