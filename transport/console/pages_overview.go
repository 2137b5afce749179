package console

import (
	"cmp"
	"fmt"
	"net/url"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// How long somebody may be silent before the overview says so.
const (
	silentBouncer = 10 * time.Minute // whose period is not known
	// briefestSilence is that of one that asks often.
	briefestSilence = time.Minute
	silentMachine   = 10 * time.Minute
	lateBouncer     = time.Minute
	lateExport      = 24 * time.Hour
	certificateIn   = 14 * 24 * time.Hour
	quietMachine    = 48 * time.Hour
	// lowDisk and highMemory are shares of a hundred.
	lowDisk, highMemory = 10, 85
	// mostLookedThrough is how many bouncers, and machines, are looked through for one page.
	mostLookedThrough = 2000
	// mostAttention is how many lines of each kind are told one by one.
	mostAttention = 5
)

// concern is a line of what needs attention.
type concern struct {
	Severity string // critical, high, recommended
	Text     string
	Means    string
	Since    int64 // 0: not known
	Link     string
	Key      string // by which it is silenced: what it is about; "": it cannot be
	rank     int
}

// keyOf is the key of a line about a bouncer, or a machine: of this one, and not of another that gets its name later.
func keyOf(kind, name string, created int64) string {
	return fmt.Sprintf("%s:%s@%s", kind, name, time.Unix(0, created).UTC().Format("20060102T150405.999999999Z"))
}

// Severities, the worst first.
var severities = []string{"critical", "high", "recommended"}

// overviewShown is the first page.
type overviewShown struct {
	Concerns       []concern
	Silenced       []silence
	Spans          []string // for which a line can be silenced
	hidden         map[string]bool
	Running        int64 // decided here
	Others         int64 // by the community and lists
	Alerts         int
	Bouncers       bouncersInAll
	Machines       int
	Waiting        int
	Scenarios      []top
	Origins        []top
	Types          []top
	Memory         uint64 // bytes
	Queued         int
	Newest         []*admin.Alert
	Up             int64
	SparkRunning   string
	SparkAlerts    string
	SparkDecisions string
	SparkLive      string
	LiveRate       string // live queries a second in the last minute that is known, in words; "": none is known
	HitShare       int64  // how many of the last hour's found something, of 100
}

// bouncersInAll counts bouncers by how they stand.
type bouncersInAll struct{ All, InStep, Late, Silent, Never int }

// top is a thing with how much of it there is.
type top struct {
	Name, Link string
	N          int64
	Share      int64 // of the greatest, of 100
}

// overviewPage says how the server is, and what needs somebody.
func (s *Server) overviewPage(q *request) error {
	m := s.options.Engine.Metrics()
	d := overviewShown{Machines: m.Machines, Waiting: m.MachinesWaiting, Queued: m.Queued, Memory: memoryInUse(), Up: s.begun}
	d.Silenced, d.hidden, d.Spans = s.silences.inForce(), s.silences.hides(), silenceSpans
	d.count(s, &m)
	var err error
	if d.Bouncers, err = s.bouncersInAll(q, &d.Concerns); err != nil {
		return err
	}
	if err := s.concerns(q, &d, &m); err != nil {
		return err
	}
	var newest page[*admin.Alert]
	if err := s.call(q, "GET /admin/v1/alerts", asked{query: url.Values{"limit": {"8"}}, into: &newest}); err != nil {
		return err
	}
	if d.Newest = newest.Items; newest.Total != nil {
		d.Alerts = *newest.Total
	}
	hour := shownRates(s.rates.since(s.options.Engine.Now()/int64(time.Second)-3600, 60), 60)
	d.SparkRunning, d.SparkAlerts, d.SparkDecisions, d.SparkLive = spark(hour.Running), spark(hour.Alerts), spark(hour.Begun), spark(hour.Live)
	d.asked(hour)
	return s.page(q, "overview", "Overview", &d)
}

// memoryInUse is what the program has of the machine, in bytes. Nothing stands still for it.
func memoryInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// spark is a list as the points of a line, 100 wide and 30 high; "" for less than three moments.
func spark(list []int64) string {
	if len(list) < 3 {
		return ""
	}
	most := max(slices.Max(list), 1)
	var b strings.Builder
	for i, v := range list {
		fmt.Fprintf(&b, "%.1f,%.1f ", float64(i)*100/float64(len(list)-1), 29-28*float64(v)/float64(most))
	}
	return strings.TrimSpace(b.String())
}

// runningHere is how many decisions run that are not the community's, nor a list's.
func runningHere(m *engine.Metrics) (n int64) {
	for _, c := range m.Running {
		if !elsewhere(c.Origin) {
			n += c.N
		}
	}
	return n
}

// elsewhere is whether an origin is the community's, or a list's: what is not decided here.
func elsewhere(origin string) bool {
	return origin == engine.OriginCAPI || origin == engine.OriginLists || strings.HasPrefix(origin, "lists:")
}

// asked sums how bouncers ask live.
func (d *overviewShown) asked(hour *ratesShown) {
	n := len(hour.Live)
	if n == 0 {
		return
	}
	var all, hits int64
	for i := range hour.Live {
		all, hits = all+hour.Live[i], hits+hour.Hits[i]
	}
	d.LiveRate = fmt.Sprintf("%.1f", float64(hour.Live[n-1])/float64(hour.Step))
	if all > 0 {
		d.HitShare = hits * 100 / all
	}
}

// add tells of something, unless it is silenced.
func (d *overviewShown) add(c concern) {
	if !d.hidden[c.Key] {
		d.Concerns = append(d.Concerns, c)
	}
}

func (d *overviewShown) several() several { return several{to: &d.Concerns, hidden: d.hidden} }

// count sums what runs.
func (d *overviewShown) count(s *Server, m *engine.Metrics) {
	scenarios, origins, types := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, c := range m.Running {
		if origins[c.Origin] += c.N; elsewhere(c.Origin) {
			d.Others += c.N
			continue
		}
		d.Running += c.N
		scenarios[c.Scenario] += c.N
		types[c.Type] += c.N
	}
	d.Scenarios, d.Origins, d.Types = s.tops(scenarios, "scenario"), s.tops(origins, "origin"), s.tops(types, "type")
}

// tops are the ten greatest, each with the list of its decisions.
func (s *Server) tops(of map[string]int64, field string) (list []top) {
	for name, n := range of {
		if n > 0 {
			one := top{Name: name, N: n}
			if name != "" { // what has none cannot be asked for
				one.Link = s.link("/decisions", url.Values{field: {name}})
			}
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b top) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	list = list[:min(len(list), 10)]
	for i := range list {
		list[i].Share = max(list[i].N*100/list[0].N, 1)
	}
	return list
}

// several tells the first few of many lines, and how many are left out.
type several struct {
	to     *[]concern
	hidden map[string]bool // keys of what is silenced
	n      int
	last   concern
}

func (l *several) add(c concern) {
	if l.hidden[c.Key] {
		return
	}
	l.n++
	l.last = c
	if l.n <= mostAttention {
		*l.to = append(*l.to, c)
	}
}

func (l *several) end(what, link string) {
	if more := l.n - mostAttention; more > 0 {
		c := l.last
		c.Text, c.Since, c.Link, c.Key = fmt.Sprintf("%d more %s", more, what), 0, link, ""
		*l.to = append(*l.to, c)
	}
}

// bouncersInAll looks through the bouncers.
func (s *Server) bouncersInAll(q *request, to *[]concern) (all bouncersInAll, err error) {
	now := s.options.Engine.Now()
	hidden := s.silences.hides()
	silent, late, short := several{to: to, hidden: hidden}, several{to: to, hidden: hidden}, several{to: to, hidden: hidden}
	heard, mute := map[string]bool{}, []*admin.Bouncer(nil)
	err = q.admin.EachBouncer(q.Context(), func(b *admin.Bouncer) error {
		if all.All++; all.All > mostLookedThrough {
			return errFull
		}
		link := s.link("/bouncers/"+url.PathEscape(b.Name), nil)
		switch {
		case b.LastPull == 0:
			all.Never++
		case now-b.LastPull > int64(silentAfter(b)):
			all.Silent++
			mute = append(mute, b)
		case b.Lag > int64(lateBouncer):
			all.Late++
			late.add(concern{"high", fmt.Sprintf("Bouncer %s is %d revisions behind", b.Name, b.LagRevisions), "What was decided since is not enforced there yet.", now - b.Lag, link, keyOf("bouncer.late", b.Name, b.CreatedAt), 0})
		default:
			all.InStep++
		}
		if b.LastPull != 0 && now-b.LastPull <= int64(silentAfter(b)) {
			heard[b.Type] = true
		}
		if b.HasReported && b.Expected > 20 && b.Reported*100 < int64(b.Expected)*95 {
			short.add(concern{"high", fmt.Sprintf("Bouncer %s holds %s of %s decisions", b.Name, site.Count(b.Reported), site.Count(b.Expected)), "It reports less than it was told: its firewall may be full, or take no more.", b.ReportedAt, link, keyOf("bouncer.short", b.Name, b.CreatedAt), 0})
		}
		return nil
	})
	for _, b := range mute {
		one := concern{"high", fmt.Sprintf("Bouncer %s is silent", b.Name), "It enforces what it was told last, and nothing newer.", b.LastPull, s.link("/bouncers/"+url.PathEscape(b.Name), nil), keyOf("bouncer.silent", b.Name, b.CreatedAt), 0}
		if !heard[b.Type] {
			one.Severity, one.Means = "critical", "No other of its type is heard of: nothing that was decided since is enforced there."
		}
		silent.add(one)
	}
	silent.end("bouncers are silent", s.link("/bouncers", nil))
	late.end("bouncers are behind", s.link("/bouncers", nil))
	short.end("bouncers hold less than they should", s.link("/bouncers", nil))
	if err == errFull {
		err = nil
	}
	return all, err
}

// concerns finds what else needs attention.
func (s *Server) concerns(q *request, d *overviewShown, m *engine.Metrics) error {
	ready, err := q.admin.Ready(q.Context())
	if err != nil {
		return err
	}
	for _, t := range ready.Troubles {
		severity := "critical"
		if t.Kind.Aside() {
			severity = "high"
		}
		d.add(concern{severity, t.Text, "", t.Since, s.link("/health-page", nil), "trouble:" + string(t.Kind), 0})
	}
	s.surroundingConcerns(d)
	if from := s.guesses.shutOut(); len(from) > 0 {
		d.add(concern{"high", fmt.Sprintf("Somebody tries credentials of the console that do not fit, from %s", strings.Join(from, ", ")), "Each try has to wait by now. The audit says how often.", 0, s.link("/audit", nil), "guesses", 0})
	}
	if err := s.machineConcerns(q, d); err != nil {
		return err
	}
	if err := s.exportConcerns(q, d); err != nil {
		return err
	}
	all := d.Running + d.Others
	for _, o := range d.Origins {
		if all > 1000 && o.N*10 > all*9 && !elsewhere(o.Name) {
			d.add(concern{"recommended", fmt.Sprintf("%s has more than nine tenths of all decisions", o.Name), "Often a large import: bouncers with little room may leave others out.", 0, o.Link, "origin:" + o.Name, 0})
		}
	}
	for i := range d.Concerns {
		d.Concerns[i].rank = slices.Index(severities, d.Concerns[i].Severity)
	}
	slices.SortStableFunc(d.Concerns, func(a, b concern) int { return cmp.Compare(a.rank, b.rank) })
	return nil
}

// surroundingConcerns looks at disk, memory, certificates and configuration. What is not known is not told.
func (s *Server) surroundingConcerns(d *overviewShown) {
	now, link := Surroundings{Reloaded: true}, s.link("/health-page", nil)
	if s.options.Surroundings != nil {
		now = s.options.Surroundings()
	}
	add := func(key, severity, text, means string, since int64) {
		d.add(concern{severity, text, means, since, link, key, 0})
	}
	if s.certificateEnds != 0 && !slices.ContainsFunc(now.Certificates, func(c Certificate) bool { return c.File == s.options.CertFile }) {
		now.Certificates = append(now.Certificates, Certificate{s.options.CertFile, s.certificateEnds})
	}
	for _, c := range now.Certificates {
		switch left := time.Duration(c.Ends - s.options.Engine.Now()); {
		case left <= 0:
			add("certificate.expired:"+c.File, "critical", c.File+" has expired", "Clients that look at certificates refuse it.", c.Ends)
		case left < certificateIn:
			add("certificate.expires:"+c.File, "high", fmt.Sprintf("%s expires in %d days", c.File, left/(24*time.Hour)), "Clients that look at certificates refuse it then.", 0)
		}
	}
	if now.DiskFree >= 0 && now.DiskSize > 0 && now.DiskFree < now.DiskSize/100*lowDisk {
		add("disk", "high", fmt.Sprintf("The disk of the store is nearly full: %s are free of %s", site.Bytes(now.DiskFree), site.Bytes(now.DiskSize)), "When it is full nothing can be decided or ended any more.", 0)
	}
	if now.MemoryLimit > 0 && int64(d.Memory) > now.MemoryLimit/100*highMemory {
		add("memory", "high", fmt.Sprintf("Memory is nearly used up: %s of %s", site.Bytes(int64(d.Memory)), site.Bytes(now.MemoryLimit)), "The machine may end the server when there is none left.", 0)
	}
	if !now.Reloaded {
		add("configuration", "high", "The configuration that was read last is not in force", "It has a fault, which the log names; what was in force before still is.", 0)
	}
}

func (s *Server) machineConcerns(q *request, d *overviewShown) error {
	if d.Machines > mostLookedThrough {
		if d.Waiting > 0 {
			d.add(concern{"recommended", fmt.Sprintf("%d machines wait for validation", d.Waiting), "What they report is refused until then.", 0, s.link("/machines", nil), "machines.wait", 0})
		}
		return nil
	}
	list, err := q.admin.Machines(q.Context())
	if err != nil {
		return err
	}
	silent, quiet, waits := d.several(), d.several(), d.several()
	for i := range list.Machines {
		one := &list.Machines[i]
		switch {
		case !one.Validated:
			waits.add(concern{"recommended", fmt.Sprintf("Machine %s waits for validation", one.ID), "What it reports is refused until then.", one.CreatedAt, s.link("/machines", nil), keyOf("machine.waits", one.ID, one.CreatedAt), 0})
		case one.LastHeartbeat != 0 && list.Now-one.LastHeartbeat > int64(silentMachine):
			silent.add(concern{"high", fmt.Sprintf("Machine %s has no heartbeat", one.ID), "Attacks on what it watches are not seen here.", one.LastHeartbeat, s.link("/machines", nil), keyOf("machine.silent", one.ID, one.CreatedAt), 0})
		case one.LastPush != 0 && list.Now-one.LastPush > int64(quietMachine):
			quiet.add(concern{"recommended", fmt.Sprintf("Machine %s has sent no alert for two days", one.ID), "It did before: its log files may have another name or form by now.", one.LastPush, s.link("/machines", nil), keyOf("machine.quiet", one.ID, one.CreatedAt), 0})
		}
	}
	silent.end("machines have no heartbeat", s.link("/machines", nil))
	quiet.end("machines have sent no alert for two days", s.link("/machines", nil))
	waits.end("machines wait for validation", s.link("/machines", nil))
	return nil
}

func (s *Server) exportConcerns(q *request, d *overviewShown) error {
	list, err := q.admin.Exports(q.Context())
	if err != nil {
		return err
	}
	lines := d.several()
	for i := range list.Exports {
		x := &list.Exports[i]
		link := s.link("/exports/"+url.PathEscape(x.Name), nil)
		switch {
		case x.Held:
			lines.add(concern{"high", fmt.Sprintf("Export %s is held back", x.Name), "It lost too much at once: devices keep the list before.", 0, link, "export.held:" + x.Name, 0})
		case x.LastPull != 0 && x.LastEmpty == x.LastPull:
			lines.add(concern{"high", fmt.Sprintf("Export %s was given empty", x.Name), "The device blocks nothing by it.", x.LastEmpty, link, "export.empty:" + x.Name, 0})
		case x.LastPull != 0 && list.Now-x.LastPull > int64(lateExport):
			lines.add(concern{"high", fmt.Sprintf("Export %s is not pulled any more", x.Name), "The device has an old list.", x.LastPull, link, "export.late:" + x.Name, 0})
		}
	}
	lines.end("exports", s.link("/exports", nil))
	return nil
}
