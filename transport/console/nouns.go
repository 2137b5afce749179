package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
	"lapid/transport/admin"
)

// done counts what a write did.
type done struct {
	Count int  `json:"count"`
	Dry   bool `json:"dry_run,omitempty"`
}

// status is who asks, and what is there.
func (s *Server) status(q *request) error {
	st, err := q.admin.Status(q.Context())
	if err != nil {
		return err
	}
	ready, err := q.admin.Ready(q.Context())
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]any{
		"operator": loggedIn{q.who.Name, q.who.Role.String()}, "version": st.Program, "revision": st.Revision, "now": moment(st.Now),
		"read_only": s.options.ReadOnly, "troubles": ready.Troubles,
	})
}

// id is a number in the path.
func (q *request) id() (uint64, error) {
	id, err := strconv.ParseUint(q.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		return 0, bad(fmt.Sprintf("%.100q is no number of anything", q.PathValue("id")))
	}
	return id, nil
}

// getDecision is one decision.
func (s *Server) getDecision(q *request) error {
	id, err := q.id()
	if err != nil {
		return err
	}
	d, ok := s.options.Engine.View().Decision(engine.DecisionID(id))
	if !ok {
		return &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: q.PathValue("id")}
	}
	return q.answer(http.StatusOK, decisionOf(d, s.options.Engine.Now()))
}

// newDecision asks for a decision.
type newDecision struct {
	Scope    string `json:"scope"`    // Ip, or Range for a value with a slash, when it is empty
	Value    string `json:"value"`    //
	Type     string `json:"type"`     // ban when it is empty
	Duration string `json:"duration"` // 4h when it is empty
	Reason   string `json:"reason"`
	Bypass   bool   `json:"bypass_allowlist"`
	Dry      bool   `json:"dry_run"`
}

// addDecision adds one.
func (s *Server) addDecision(q *request) error {
	var n newDecision
	if err := q.read(&n); err != nil {
		return err
	}
	d := admin.NewDecision{Scope: n.Scope, Value: n.Value, Type: n.Type, Duration: n.Duration, Reason: n.Reason, Bypass: n.Bypass, Dry: n.Dry}
	if d.Type == "" {
		d.Type = "ban"
	}
	if d.Duration == "" {
		d.Duration = "4h"
	}
	if d.Reason == "" {
		d.Reason = "manual '" + d.Type + "' from '" + q.who.Name + "'"
	}
	if d.Scope == "" {
		if d.Scope = engine.ScopeIP; strings.Contains(d.Value, "/") {
			d.Scope = engine.ScopeRange
		}
	}
	if n.Dry {
		look, err := q.admin.WouldAddDecision(q.Context(), &d)
		if err != nil {
			return err
		}
		return q.answer(http.StatusOK, map[string]any{"dry_run": true, "new": look.New, "known": look.Known})
	}
	warning, err := q.admin.AddDecision(q.Context(), &d)
	if errors.Is(err, engine.ErrRefused) {
		return q.allowlisted(err)
	}
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, map[string]any{"count": 1, "warning": warning})
}

// allowlisted says of a decision that an allowlist refuses how it is added anyway: on a page by its switch, else by its field.
func (q *request) allowlisted(err error) error {
	anyway := "bypass_allowlist adds the decision anyway"
	if viewOf(q.Request) != nil {
		anyway = "tick “Also if an allowlist covers it” to add it anyway"
	}
	status, detail := statusOf(err)
	return &fault{status, detail + ": " + anyway}
}

// ended is which decisions ended, or would.
type ended struct {
	done
	First []admin.Decision `json:"first"`
	At    engine.Revision  `json:"ended_at,omitempty"`
	*listing
}

// listing is said of what a list has, beside what was done with it.
type listing struct {
	AsOf     string          `json:"as_of"`
	Newer    int             `json:"newer"`
	Revision engine.Revision `json:"revision"`
}

func listingOf(l *admin.Listing) *listing {
	if l == nil {
		return nil
	}
	return &listing{l.AsOf.String(), l.Newer, l.Revision}
}

// listed reads what a list has: everything only where all is said, for that is not what a slip asks for. narrows are the
// parameters that say less than all.
func (w *words) listed(s *Server, filter func(*engine.Filter, int64), narrows []string) *admin.Listed {
	l := &admin.Listed{}
	at := s.options.Engine.Now()
	if text := w.plain("as_of"); text != "" {
		var err error
		l.AsOf, err = engine.ParseAsOf(text)
		w.fail(err)
		at = l.AsOf.At
	}
	filter(&l.Filter, at)
	community := w.flag("community")
	narrow := community != nil && !*community
	for _, name := range narrows {
		if value := w.plain(name); value != "" && name != "state" {
			narrow = true
			l.Words += name + "=" + value + " "
		}
	}
	if all := w.yes("all"); narrow == all && w.err() == nil {
		w.wrong("say which are meant, by one parameter of the list at least; or all=true for all of them")
	}
	return l
}

// deleteDecisions ends what the filter names. Without any it is refused: all is not what a slip asks for.
// With listed the parameters are those of the list.
func (s *Server) deleteDecisions(q *request) error {
	w := q.words()
	if w.yes("listed") {
		f := &admin.DecisionFilter{Dry: w.yes("dry_run"), Listed: w.listed(s, w.decisions, decisionFields)}
		if err := w.err(); err != nil {
			return err
		}
		return s.endDecisions(q, f)
	}
	f := admin.DecisionFilter{
		Dry: w.yes("dry_run"), Address: w.plain("ip"), Inside: w.yes("contains_only"), Type: w.text("type"), Value: w.text("value"),
		Scenario: w.text("scenario"), Origin: w.text("origin"), Batch: w.plain("batch"), List: w.plain("list"),
	}
	all := w.yes("all")
	if err := w.err(); err != nil {
		return err
	}
	if f.Narrows() == all {
		return bad("say which decisions are to end, by ip, value, type, scenario, origin, batch or list; or all=true for all of them")
	}
	return s.endDecisions(q, &f)
}

// deleteDecision ends one.
func (s *Server) deleteDecision(q *request) error {
	w := q.words()
	dry := w.yes("dry_run")
	id, err := q.id()
	if err == nil {
		err = w.err()
	}
	if err != nil {
		return err
	}
	return s.endDecisions(q, &admin.DecisionFilter{ID: id, Dry: dry})
}

func (s *Server) endDecisions(q *request, f *admin.DecisionFilter) error {
	e, err := q.admin.DeleteDecisions(q.Context(), f)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, ended{done{e.N, f.Dry}, e.First, e.At, listingOf(e.Listing)})
}

// newImport is a list of values to add.
type newImport struct {
	Batch    string      `json:"batch"` // a name, by which it can be taken back
	Type     string      `json:"type"`
	Duration string      `json:"duration"`
	Reason   string      `json:"reason"`
	Items    importItems `json:"items"`
	Dry      bool        `json:"dry_run"`
}

// importItems are admin.MaxChunk at most: more are refused before they are made.
type importItems []newDecision

// UnmarshalJSON implements json.Unmarshaler.
func (n *importItems) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("items is a list")
	}
	for d.More() {
		if len(*n) == admin.MaxChunk {
			return fmt.Errorf("items has 1 to %d values at once", admin.MaxChunk)
		}
		*n = append(*n, newDecision{})
		if err := d.Decode(&(*n)[len(*n)-1]); err != nil {
			return err
		}
	}
	return nil
}

// importDecisions adds admin.MaxChunk decisions at most, all or none.
func (s *Server) importDecisions(q *request) error {
	var n newImport
	if err := q.read(&n); err != nil {
		return err
	}
	if len(n.Items) == 0 || len(n.Items) > admin.MaxChunk {
		return bad(fmt.Sprintf("items has 1 to %d values at once", admin.MaxChunk))
	}
	head := &admin.ImportHead{Source: "the console", Scope: engine.ScopeIP, Type: n.Type, Duration: n.Duration, Reason: n.Reason, Batch: n.Batch, First: n.Batch != "", Dry: n.Dry}
	if head.Type == "" {
		head.Type = "ban"
	}
	if head.Duration == "" {
		head.Duration = "4h"
	}
	for i := range n.Items {
		one := &n.Items[i]
		if one.Bypass || one.Dry {
			return bad("bypass_allowlist and dry_run are not for single items")
		}
		if one.Scope == "" && strings.Contains(one.Value, "/") {
			one.Scope = engine.ScopeRange
		}
	}
	var in admin.Imported
	err := q.admin.Import(q.Context(), head, func(to *admin.Chunks) error {
		for i := range n.Items {
			one := &n.Items[i]
			if err := to.Add(&admin.Item{Value: one.Value, Scope: one.Scope, Type: one.Type, Duration: one.Duration, Reason: one.Reason}); err != nil {
				return err
			}
		}
		return to.End()
	}, func(stored *admin.Imported) { in = *stored })
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if n.Dry {
		status = http.StatusOK
	}
	return q.answer(status, map[string]any{"count": in.Stored, "alert_id": in.Alert, "allowlisted": len(in.Allowlisted), "warning": in.Warning, "dry_run": n.Dry})
}

// getAlert is one alert, with its decisions and events.
func (s *Server) getAlert(q *request) error {
	id, err := q.id()
	if err != nil {
		return err
	}
	a, err := q.admin.Alert(q.Context(), id)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, a.Alert)
}

// deleteAlert deletes one, with its decisions.
func (s *Server) deleteAlert(q *request) error {
	id, err := q.id()
	if err != nil {
		return err
	}
	d, err := q.admin.DeleteAlerts(q.Context(), &admin.AlertDeletion{ID: id})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: d.N})
}

// deletedAlerts is which alerts were deleted, or would be.
type deletedAlerts struct {
	done
	First []deletedAlert `json:"first"`
	*listing
}

type deletedAlert struct {
	ID        uint64 `json:"id"`
	Scope     string `json:"scope"`
	Value     string `json:"value"`
	Scenario  string `json:"scenario"`
	Decisions int    `json:"decisions"`
}

// deleteAlerts deletes what a list has, with its decisions.
func (s *Server) deleteAlerts(q *request) error {
	w := q.words()
	ask := &admin.AlertDeletion{Dry: w.yes("dry_run"), Listed: w.listed(s, w.alerts, alertFields)}
	if err := w.err(); err != nil {
		return err
	}
	d, err := q.admin.DeleteAlerts(q.Context(), ask)
	if err != nil {
		return err
	}
	out := deletedAlerts{done{d.N, ask.Dry}, []deletedAlert{}, listingOf(d.Listing)}
	for _, a := range d.First {
		out.First = append(out.First, deletedAlert(a))
	}
	return q.answer(http.StatusOK, out)
}

// machineShown is a machine in a list.
type machineShown struct {
	Name          string     `json:"name"`
	AuthType      string     `json:"auth_type"`
	Validated     bool       `json:"validated"`
	Address       string     `json:"ip_address"`
	Version       string     `json:"version"`
	OS            string     `json:"os"`
	CreatedAt     *time.Time `json:"created_at"`
	UpdatedAt     *time.Time `json:"updated_at"`
	LastPush      *time.Time `json:"last_push"`
	LastHeartbeat *time.Time `json:"last_heartbeat"`
}

func machineOf(m *admin.Machine) machineShown {
	return machineShown{
		m.ID, m.AuthType, m.Validated, m.IP, m.Version, strings.Trim(m.OS.Name+"/"+m.OS.Version, "/"), moment(m.CreatedAt), moment(m.UpdatedAt),
		moment(m.LastPush), moment(m.LastHeartbeat),
	}
}

// listMachines is a page of machines, in order of creation.
func (s *Server) listMachines(q *request) error {
	p, err := q.counted()
	if err != nil {
		return err
	}
	list, err := q.admin.Machines(q.Context())
	if err != nil {
		return err
	}
	out := page[machineShown]{Items: []machineShown{}}
	for i := range list.Machines {
		take, more := p.next()
		if take {
			out.Items = append(out.Items, machineOf(&list.Machines[i]))
		}
		if err = more; err != nil {
			break
		}
	}
	if out.Next, err = p.end(err); err != nil {
		return err
	}
	return q.answer(http.StatusOK, out)
}

// newMachine asks for a machine, validated.
type newMachine struct {
	Name     string `json:"name"`
	Password string `json:"password"` // made up when it is empty
}

// addMachine adds one, and shows a password that was made up, this once.
func (s *Server) addMachine(q *request) error {
	var n newMachine
	if err := q.read(&n); err != nil {
		return err
	}
	if n.Password == "" {
		n.Password = rand.Text() + rand.Text()
	}
	if len(n.Password) > 72 {
		return bad("a machine's password has 72 bytes at most")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(n.Password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	if err := q.admin.AddMachine(q.Context(), &admin.NewMachine{ID: n.Name, PasswordHash: hash}); err != nil {
		return err
	}
	return q.answer(http.StatusCreated, map[string]string{"name": n.Name, "password": n.Password})
}

func (s *Server) getMachine(q *request) error {
	m, err := q.admin.Machine(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, machineOf(m))
}

func (s *Server) deleteMachine(q *request) error {
	if err := q.admin.DeleteMachine(q.Context(), q.PathValue("name")); err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: 1})
}

func (s *Server) validateMachine(q *request) error {
	if err := q.admin.ValidateMachine(q.Context(), q.PathValue("name")); err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: 1})
}

// counted is a page of a list that has no ids: the cursor counts what was before it.
type counted struct{ skip, limit, seen int }

func (q *request) counted() (*counted, error) {
	w := q.words()
	p := &counted{limit: w.limit(), skip: int(w.cursor())}
	return p, w.err()
}

// errFull ends a walk through a list whose page is full.
var errFull = fmt.Errorf("the page is full")

// next says whether the next entry belongs to the page, and errFull behind its end.
func (p *counted) next() (take bool, more error) {
	p.seen++
	if p.seen > p.skip+p.limit {
		return false, errFull
	}
	return p.seen > p.skip, nil
}

// end is the cursor behind the page.
func (p *counted) end(err error) (next string, _ error) {
	if errors.Is(err, errFull) { // the client of the verbs says which one it was
		return cursorAt(uint64(p.skip + p.limit)), nil
	}
	return "", err
}

// allowlistShown is an allowlist; lists of them leave the items out.
type allowlistShown struct {
	Name        string               `json:"name"`
	Description string               `json:"description"`
	CreatedAt   *time.Time           `json:"created_at"`
	UpdatedAt   *time.Time           `json:"updated_at"`
	FromConsole bool                 `json:"from_console"`
	Count       int                  `json:"count"`
	Items       []allowlistItemShown `json:"items,omitempty"`
}

type allowlistItemShown struct {
	Value     string     `json:"value"`
	Comment   string     `json:"comment"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func allowlistOf(l *admin.Allowlist, items bool) allowlistShown {
	out := allowlistShown{l.Name, l.Description, moment(l.CreatedAt), moment(l.UpdatedAt), l.FromConsole, len(l.Items), nil}
	for i := range l.Items {
		if !items {
			break
		}
		it := &l.Items[i]
		out.Items = append(out.Items, allowlistItemShown{it.Value, it.Comment, moment(it.CreatedAt), moment(it.ExpiresAt)})
	}
	return out
}

func (s *Server) listAllowlists(q *request) error {
	w := q.words()
	if err := w.err(); err != nil {
		return err
	}
	list, err := q.admin.Allowlists(q.Context())
	if err != nil {
		return err
	}
	out := page[allowlistShown]{Items: []allowlistShown{}}
	for i := range list.Allowlists {
		out.Items = append(out.Items, allowlistOf(&list.Allowlists[i], false))
	}
	return q.answer(http.StatusOK, out)
}

func (s *Server) getAllowlist(q *request) error {
	l, err := q.admin.Allowlist(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, allowlistOf(l, true))
}

func (s *Server) createAllowlist(q *request) error {
	var n struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	if err := q.read(&n); err != nil {
		return err
	}
	made, err := q.admin.CreateAllowlist(q.Context(), &admin.NewAllowlist{Name: n.Name, Description: n.Description})
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, struct {
		Name string `json:"name"`
		warned
	}{n.Name, warned{made.Warnings}})
}

// warned is what there is to be said of a change that was made.
type warned struct {
	Warnings []string `json:"warnings,omitempty"`
}

// deleteAllowlist refuses a list that bouncers or exports name, unless it is forced.
func (s *Server) deleteAllowlist(q *request) error {
	w := q.words()
	force := w.yes("force")
	if err := w.err(); err != nil {
		return err
	}
	gone, err := q.admin.DeleteAllowlist(q.Context(), &admin.AllowlistDeletion{Name: q.PathValue("name"), Force: force})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, struct {
		done
		warned
	}{done{Count: 1}, warned{gone.Warnings}})
}

// newItems are items for an allowlist.
type newItems struct {
	Items []newItem `json:"items"`
	Dry   bool      `json:"dry_run"`
}

type newItem struct {
	Value   string `json:"value"`
	Comment string `json:"comment"`
	Expires string `json:"expires"` // a duration; "": never
}

// addItems adds items, and ends the decisions that they cover.
func (s *Server) addItems(q *request) error {
	var n newItems
	if err := q.read(&n); err != nil {
		return err
	}
	a := admin.AllowlistAddition{Name: q.PathValue("name"), Dry: n.Dry}
	for _, it := range n.Items {
		item := admin.NewAllowlistItem{Value: it.Value, Comment: it.Comment}
		if it.Expires != "" {
			d, err := engine.ParseDuration(it.Expires)
			if err != nil || d <= 0 {
				return bad(fmt.Sprintf("expires of %.100q is a duration such as 12h or 7d, not %.100q", it.Value, it.Expires))
			}
			item.Lasts = int64(d)
		}
		a.Items = append(a.Items, item)
	}
	if len(a.Items) == 0 {
		return bad("items is empty")
	}
	out, err := q.admin.AddToAllowlist(q.Context(), &a)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]any{"count": out.Added, "ended": out.Ended, "present": out.Present, "refused": out.Bad, "dry_run": n.Dry})
}

// removeItems takes values out, by the parameter value, which may be given more than once.
func (s *Server) removeItems(q *request) error {
	parameters := q.URL.Query()
	values := parameters["value"]
	if delete(parameters, "value"); len(parameters) > 0 {
		return bad(fmt.Sprintf("items are removed by value, and by nothing else: %.200q", parameters.Encode()))
	}
	if len(values) == 0 {
		return bad("say which values are to go, as ?value=…")
	}
	n, err := q.admin.RemoveFromAllowlist(q.Context(), &admin.AllowlistRemoval{Name: q.PathValue("name"), Values: values})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: n})
}

// why says why something is decided against, or is not.
func (s *Server) why(q *request) error {
	w := q.words()
	ask := admin.WhyRequest{Target: w.plain("target"), Bouncer: w.plain("bouncer"), Ago: w.span("ago"), EveryRow: w.yes("every_row")}
	if err := w.err(); err != nil {
		return err
	}
	if ask.Target == "" {
		return bad("say what it is about, as ?target=192.0.2.7")
	}
	out, err := q.admin.Why(q.Context(), &ask)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, out)
}

// metrics are the figures, as Prometheus reads them.
func (s *Server) metrics(q *request) error {
	if s.options.Metrics == nil {
		return &fault{http.StatusNotFound, "there are no figures here"}
	}
	r := q.Request.Clone(q.Context())
	r.URL.Path, r.URL.RawPath = "/metrics", "" // and nothing else of what is served there
	s.options.Metrics.ServeHTTP(q.w, r)
	return nil
}

// config is what is in force. Nothing of it is secret.
func (s *Server) config(q *request) error {
	if s.options.Config == nil {
		return &fault{http.StatusNotFound, "the configuration is not told here"}
	}
	return q.answer(http.StatusOK, s.options.Config())
}

// backup streams a backup of the store as it is at one moment. One that breaks off has no end mark.
func (s *Server) backup(q *request) error {
	body, err := q.admin.Backup(q.Context())
	if err != nil {
		return err
	}
	defer body.Close()
	q.w.Header().Set("Content-Type", "application/octet-stream")
	q.w.Header().Set("Content-Disposition", `attachment; filename="lapid.backup"`)
	if _, err := io.Copy(q.w, body); err != nil {
		panic(http.ErrAbortHandler) // the client must see that it is cut off
	}
	return nil
}

// reload reads the configuration again; what comes of it stands in the log.
func (s *Server) reload(q *request) error {
	if s.options.Reload == nil {
		return &fault{http.StatusNotFound, "the configuration cannot be read again from here"}
	}
	if err := s.options.Reload(); err != nil {
		return err
	}
	s.log.Info("operator: asked for a reload", "by", q.who.Name, "address", q.address.String())
	return q.answer(http.StatusAccepted, map[string]string{"detail": "the configuration is read again; the log says what came of it"})
}

// verb passes a verb of the operator's socket through, for lapid --remote: the same handler answers with the same bytes.
func (s *Server) verb(q *request) error {
	verb := "/" + q.PathValue("verb")
	least := s.options.Verbs.Role(verb)
	switch {
	case least == engine.RoleNone:
		return &fault{http.StatusNotFound, fmt.Sprintf("%.100q is no verb that is served over HTTP", verb)}
	case q.who.Role < least:
		s.denied(q, admin.ActionOf(verb), "role "+q.who.Role.String())
		return &fault{http.StatusForbidden, fmt.Sprintf("this needs the role %s, and '%s' is %s", least, q.who.Name, q.who.Role)}
	case s.options.ReadOnly && s.options.Verbs.Writes(verb):
		s.denied(q, admin.ActionOf(verb), "read only")
		return errReadOnly
	}
	r := q.Request.Clone(q.remote().On(q.Context()))
	r.URL.Path, r.URL.RawPath, r.Body = verb, "", q.Body
	if !s.options.Verbs.Streams(verb) { // what is read whole takes many times its size
		r.Body = http.MaxBytesReader(q.w, q.Body, maxVerb)
	}
	// A verb that reads piece by piece sets deadlines of its own, each time anew; all of it ends with the request's.
	stop := context.AfterFunc(q.Context(), func() { _ = http.NewResponseController(q.w).SetReadDeadline(time.Now()) })
	defer stop()
	r.Body = &endingBody{r.Body, q.Context()}
	s.options.Verbs.ServeHTTP(q.w, r)
	return nil
}

// endingBody is a body that ends with its request's time, however slowly it comes.
type endingBody struct {
	io.ReadCloser
	ctx context.Context
}

// Read fails once the time is over.
func (b *endingBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}
