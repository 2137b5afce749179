package capi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// Bounds of what a link names.
const (
	mostList     = 128 << 20 // in bytes
	mostLine     = 64 << 10
	mostRedirect = 5
	linkPatience = 5 * time.Minute
)

// checkLink follows a few redirects, never out of what is encrypted.
func checkLink(q *http.Request, via []*http.Request) error {
	q.Header.Del("Referer") // the address of a list may be a secret
	if len(via) > mostRedirect {
		return fmt.Errorf("more than %d redirects", mostRedirect)
	}
	if via[len(via)-1].URL.Scheme == "https" && q.URL.Scheme != "https" {
		return errors.New("a redirect from https to " + q.URL.Scheme + " is not followed")
	}
	return nil
}

// fetch gets what a link names and hands over its lines, without their ends. since not
// zero: only if it has changed since then. It returns false when it has not. Lines are
// borrowed. Whatever is wrong with an answer is an error, and then nothing of it may be used.
func (c *Client) fetch(ctx context.Context, link string, since time.Time, line func([]byte) error) (bool, error) {
	if u, err := url.Parse(link); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false, errors.New("its link is no http or https address")
	}
	ctx, cancel := c.o.Within(ctx, linkPatience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return false, err
	}
	if !since.IsZero() {
		q.Header.Set("If-Modified-Since", since.UTC().Format(http.TimeFormat))
	}
	a, err := c.links.Do(q)
	if err != nil {
		return false, withoutQuery(err)
	}
	defer a.Body.Close()
	switch {
	case a.StatusCode == http.StatusNotModified && !since.IsZero():
		return false, nil
	case a.StatusCode != http.StatusOK:
		return false, fmt.Errorf("its link was answered with %d", a.StatusCode)
	case a.ContentLength > mostList:
		return false, fmt.Errorf("it has %d bytes, and at most %d MiB are taken", a.ContentLength, mostList>>20)
	}
	return true, eachLine(a.Body, line)
}

// withoutQuery is an error without what an address says behind its path: with links that is
// what lets one in.
func withoutQuery(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		of.URL, _, _ = strings.Cut(of.URL, "?")
	}
	return err
}

// eachLine hands over the lines of a body. One that is too long is handed over as no line.
func eachLine(body io.Reader, line func([]byte) error) error {
	in := &io.LimitedReader{R: body, N: mostList + 1}
	lines := bufio.NewReaderSize(in, mostLine)
	for {
		b, err := lines.ReadSlice('\n')
		if in.N <= 0 {
			return fmt.Errorf("it is longer than %d MiB", mostList>>20)
		}
		for long := false; errors.Is(err, bufio.ErrBufferFull); long = true {
			if !long {
				if err := line(nil); err != nil {
					return err
				}
			}
			b = nil
			if _, err = lines.ReadSlice('\n'); in.N <= 0 {
				return fmt.Errorf("it is longer than %d MiB", mostList>>20)
			}
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("it broke off: %w", err)
		}
		if b != nil && (len(b) > 0 || err == nil) {
			if err := line(bytes.TrimRight(b, "\r\n")); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// lists fetches third-party lists, each by itself, and returns those that failed.
func (c *Client) lists(ctx context.Context, st *state, links []blocklistLink, force bool) (failed []blocklistLink) {
	for i, l := range links {
		if slices.ContainsFunc(links[:i], func(o blocklistLink) bool { return o.Name == l.Name }) {
			c.log.Warn("two lists of the Central API have one name: the second is not used", "list", l.Name)
			continue
		}
		if err := c.list(ctx, st, &l, force); err != nil {
			c.warn(ctx, "a list stays as it is", "list", l.Name, "error", err)
			if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
				c.o.Figures.list(l.Name, "", err.Error())
			}
			failed = append(failed, l)
		}
	}
	return failed
}

// list fetches one third-party list and puts it in force.
func (c *Client) list(ctx context.Context, st *state, l *blocklistLink, force bool) error {
	lasts, err := engine.ParseDuration(l.Duration)
	if err != nil || lasts <= 0 {
		return fmt.Errorf("its duration %q is none", l.Duration)
	}
	now, digest := c.o.Now(), c.digest(l)
	var since time.Time
	if known := st.Lists[l.Name]; known != nil && (known.Link == digest || known.Link == "") && !force && c.mayStay(l.Name, lasts) {
		since = known.Fetched
	}
	g := engine.ListGroup{Scope: engine.CanonicalScope(l.Scope), Type: l.Remediation, Scenario: l.Name}
	long := 0
	changed, err := c.fetch(ctx, l.URL, since, func(line []byte) error {
		if line == nil {
			long++
			return nil
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			g.Values = append(g.Values, engine.ListValue{Value: string(line), Lasts: lasts})
		}
		if most := c.o.MostEntries; most > 0 && len(g.Values) > most {
			return errNoRoom
		}
		if len(g.Values) > mostValues {
			return fmt.Errorf("it has more than %d entries", mostValues)
		}
		return nil
	})
	if errors.Is(err, errNoRoom) {
		c.noRoom(l.Name, fmt.Sprintf("the list %q", l.Name), c.o.MostEntries+1, 0)
		return nil
	}
	if err != nil {
		return err
	}
	if !changed {
		c.o.Figures.list(l.Name, "", "")
		return nil
	}
	if long > 0 {
		c.log.Warn("lines of a list are too long and not used", "list", l.Name, "lines", long)
	}
	if len(g.Values) > 0 && !readable([]engine.ListGroup{g}) { // a page of somebody else's, perhaps
		return fmt.Errorf("none of its %d lines is an address or range", len(g.Values))
	}
	change, err := c.replace(ctx, &engine.List{
		Origin: engine.OriginLists, Name: l.Name, Groups: []engine.ListGroup{g}, Shrunken: c.o.Shrunken, Outlast: outlast,
	}, fmt.Sprintf("the list %q", l.Name))
	if err != nil || change.Held {
		return err // a list that is held back is asked for again whole
	}
	st.Lists[l.Name] = &knownList{Link: digest, Fetched: now}
	c.keep(ctx, st)
	return nil
}

// digest tells links apart, and what is made of what they name.
func (c *Client) digest(l *blocklistLink) string {
	b, err := json.Marshal(l)
	if err != nil {
		panic("BUG: a link cannot be written as JSON: " + err.Error())
	}
	if len(c.o.Whitelist) > 0 {
		b = fmt.Appendln(b, c.o.Whitelist)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// mayStay tells whether an unchanged list need not be fetched: each of its decisions runs
// for another period and for half of its length.
func (c *Client) mayStay(name string, lasts time.Duration) bool {
	first, any := c.firstEnd(engine.OriginLists, name)
	return any && first >= c.o.Now().Add(max(outlast, lasts/2)).UnixNano()
}

// allowlist fetches an allowlist of the console and makes the list that stands for it hold
// the same, in one commit.
func (c *Client) allowlist(ctx context.Context, l *allowlistLink) error {
	var items []engine.AllowlistItem
	unreadable := 0
	_, err := c.fetch(ctx, l.URL, time.Time{}, func(line []byte) error {
		var entry struct {
			Value       string    `json:"value"`
			Description string    `json:"description"`
			Expiration  time.Time `json:"expiration"`
		}
		if line == nil || json.Unmarshal(line, &entry) != nil {
			return errors.New("a line of it is no JSON")
		}
		it := engine.AllowlistItem{Value: entry.Value, Comment: shortened(entry.Description)}
		if entry.Expiration.Year() > 1 {
			it.ExpiresAt = engine.StampOf(entry.Expiration).At
		}
		var err error
		if it.Prefix, err = engine.ParseTarget(entry.Value); err != nil {
			unreadable++
			return nil
		}
		items = append(items, it)
		if len(items) > mostValues {
			return fmt.Errorf("it has more than %d items", mostValues)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if unreadable > 0 {
		c.log.Warn("items of an allowlist of the console are no addresses and not used", "list", l.Name, "items", unreadable)
	}
	return c.setAllowlist(ctx, l, items)
}

// setAllowlist makes the list of that id hold items and nothing else.
func (c *Client) setAllowlist(ctx context.Context, l *allowlistLink, items []engine.AllowlistItem) error {
	list := engine.Allowlist{Name: l.Name, Description: shortened(l.Description), ConsoleID: l.ID, Items: items}
	if c.shrunken(l, items) {
		return nil
	}
	change, err := c.o.Engine.PutConsoleAllowlist(ctx, &list, c.o.Now().UnixNano())
	if errors.Is(err, engine.ErrExists) {
		return errors.New("another list of that name is there already, and is not touched: delete it to have the console's")
	}
	if err == nil && change != (engine.AllowlistChange{}) {
		c.log.Info("an allowlist of the console was pulled", "list", l.Name, "items", len(items), "new", change.Added, "gone", change.Removed, "ended_decisions", change.Ended)
	}
	return err
}

// allowlistName is what figures call an allowlist: a list may have its name.
func allowlistName(name string) string { return "allowlist " + name }

// shrunken holds back an allowlist that is empty, or lost more than half of what counts, and
// says so: applied, it would let lists ban what it held.
func (c *Client) shrunken(l *allowlistLink, items []engine.AllowlistItem) bool {
	now := c.o.Now().UnixNano()
	counts := func(items []engine.AllowlistItem) int {
		each := map[string]bool{}
		for i := range items {
			if !items[i].Expired(now) {
				each[items[i].Value] = true
			}
		}
		return len(each)
	}
	old := c.o.Engine.View().ConsoleAllowlist(l.ID)
	if old == nil || c.o.Shrunken {
		c.o.Figures.list(allowlistName(l.Name), "", "")
		return false
	}
	before, after := counts(old.Items), counts(items)
	if 2*after >= before {
		c.o.Figures.list(allowlistName(l.Name), "", "")
		return false
	}
	c.o.Figures.list(allowlistName(l.Name), fmt.Sprintf("%d items came, %d are in force: if it is right, %s", after, before, believe), "")
	c.log.Warn(fmt.Sprintf("the allowlist %q of the console is held back: it has %d items, and %d of it are in force and stay so. If the list is right, %s", l.Name, after, before, believe))
	return true
}

// believe is what an operator does about a list that is held back.
const believe = "set capi_shrunken_lists: accept in lapid.yaml and reload"
