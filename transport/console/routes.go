package console

import (
	"net/http"

	"lapid/engine"
)

// route is one method of one path, what it needs and who answers it.
type route struct {
	method, path string
	role         engine.Role // the least; RoleNone: everybody may ask
	answer       func(*Server, *request) error
	writes       bool   // it changes something: refused where console.read_only is set
	large        bool   // its body may have maxImport bytes, and it may take importWithin
	long         bool   // its answer has no bound: it may take longWithin, and takes a place of its own kind
	secret       bool   // its answer holds what is shown once
	asks         string // of a form that changes something: the route of the API that it asks, as it stands in routes
}

// Roles, in short.
const (
	anybody  = engine.RoleNone
	viewer   = engine.RoleViewer
	operator = engine.RoleOperator
	admins   = engine.RoleAdmin
)

// routes is the whole of it: what is not here is not served, and each is as open as it says here.
// Verbs that are passed through have a role each (admin.Handler.Role), of which viewer is the least.
var routes = []route{
	{method: "POST", path: "/admin/v1/login", role: anybody, answer: (*Server).login, secret: true},
	{method: "GET", path: "/login", role: anybody, answer: (*Server).enterPage, secret: true},
	{method: "POST", path: "/admin/v1/logout", role: viewer, answer: (*Server).logout},
	{method: "GET", path: "/admin/v1/status", role: viewer, answer: (*Server).status},

	{method: "GET", path: "/admin/v1/decisions", role: viewer, answer: (*Server).listDecisions},
	{method: "POST", path: "/admin/v1/decisions", role: operator, answer: (*Server).addDecision, writes: true},
	{method: "DELETE", path: "/admin/v1/decisions", role: operator, answer: (*Server).deleteDecisions, writes: true},
	{method: "POST", path: "/admin/v1/decisions/import", role: operator, answer: (*Server).importDecisions, writes: true, large: true},
	{method: "POST", path: "/admin/v1/decisions/import/list", role: operator, answer: (*Server).importList, writes: true, large: true},
	{method: "GET", path: "/admin/v1/decisions/export", role: viewer, answer: (*Server).exportDecisions, long: true},
	{method: "POST", path: "/admin/v1/decisions/extend", role: operator, answer: (*Server).extendDecisions, writes: true},
	{method: "POST", path: "/admin/v1/decisions/restore", role: operator, answer: (*Server).restoreDecisions, writes: true},
	{method: "GET", path: "/admin/v1/decisions/{id}", role: viewer, answer: (*Server).getDecision},
	{method: "DELETE", path: "/admin/v1/decisions/{id}", role: operator, answer: (*Server).deleteDecision, writes: true},

	{method: "GET", path: "/admin/v1/alerts", role: viewer, answer: (*Server).listAlerts},
	{method: "DELETE", path: "/admin/v1/alerts", role: operator, answer: (*Server).deleteAlerts, writes: true},
	{method: "GET", path: "/admin/v1/alerts/export", role: viewer, answer: (*Server).exportAlerts, long: true},
	{method: "GET", path: "/admin/v1/alerts/{id}", role: viewer, answer: (*Server).getAlert},
	{method: "DELETE", path: "/admin/v1/alerts/{id}", role: operator, answer: (*Server).deleteAlert, writes: true},

	{method: "GET", path: "/admin/v1/bouncers", role: viewer, answer: (*Server).listBouncers},
	{method: "POST", path: "/admin/v1/bouncers", role: admins, answer: (*Server).addBouncer, writes: true, secret: true},
	{method: "POST", path: "/admin/v1/bouncers/prune", role: admins, answer: (*Server).pruneBouncers, writes: true},
	{method: "GET", path: "/admin/v1/bouncers/{name}", role: viewer, answer: (*Server).getBouncer},
	{method: "PATCH", path: "/admin/v1/bouncers/{name}", role: admins, answer: (*Server).editBouncer, writes: true},
	{method: "DELETE", path: "/admin/v1/bouncers/{name}", role: admins, answer: (*Server).deleteBouncer, writes: true},
	{method: "POST", path: "/admin/v1/bouncers/{name}/rotate", role: admins, answer: (*Server).rotateBouncer, writes: true, secret: true},

	{method: "GET", path: "/admin/v1/machines", role: viewer, answer: (*Server).listMachines},
	{method: "POST", path: "/admin/v1/machines", role: admins, answer: (*Server).addMachine, writes: true, secret: true},
	{method: "POST", path: "/admin/v1/machines/prune", role: admins, answer: (*Server).pruneMachines, writes: true},
	{method: "GET", path: "/admin/v1/machines/{name}", role: viewer, answer: (*Server).getMachine},
	{method: "DELETE", path: "/admin/v1/machines/{name}", role: admins, answer: (*Server).deleteMachine, writes: true},
	{method: "POST", path: "/admin/v1/machines/{name}/validate", role: admins, answer: (*Server).validateMachine, writes: true},

	{method: "GET", path: "/admin/v1/allowlists", role: viewer, answer: (*Server).listAllowlists},
	{method: "POST", path: "/admin/v1/allowlists", role: admins, answer: (*Server).createAllowlist, writes: true},
	{method: "GET", path: "/admin/v1/allowlists/{name}", role: viewer, answer: (*Server).getAllowlist},
	{method: "DELETE", path: "/admin/v1/allowlists/{name}", role: admins, answer: (*Server).deleteAllowlist, writes: true},
	{method: "POST", path: "/admin/v1/allowlists/{name}/items", role: operator, answer: (*Server).addItems, writes: true},
	{method: "DELETE", path: "/admin/v1/allowlists/{name}/items", role: operator, answer: (*Server).removeItems, writes: true},

	{method: "GET", path: "/admin/v1/operators", role: admins, answer: (*Server).listOperators},
	{method: "POST", path: "/admin/v1/operators", role: admins, answer: (*Server).addOperator, writes: true, secret: true},
	{method: "GET", path: "/admin/v1/operators/{name}", role: admins, answer: (*Server).getOperator},
	{method: "PATCH", path: "/admin/v1/operators/{name}", role: admins, answer: (*Server).editOperator, writes: true},
	{method: "DELETE", path: "/admin/v1/operators/{name}", role: admins, answer: (*Server).deleteOperator, writes: true},
	{method: "POST", path: "/admin/v1/operators/{name}/tokens", role: admins, answer: (*Server).grantToken, writes: true, secret: true},
	{method: "DELETE", path: "/admin/v1/operators/{name}/tokens/{id}", role: admins, answer: (*Server).revokeToken, writes: true},

	{method: "GET", path: "/admin/v1/exports", role: viewer, answer: (*Server).listExports},
	{method: "POST", path: "/admin/v1/exports", role: admins, answer: (*Server).addExport, writes: true, secret: true},
	{method: "GET", path: "/admin/v1/exports/{name}", role: viewer, answer: (*Server).getExport},
	{method: "PATCH", path: "/admin/v1/exports/{name}", role: admins, answer: (*Server).editExport, writes: true, secret: true},
	{method: "DELETE", path: "/admin/v1/exports/{name}", role: admins, answer: (*Server).deleteExport, writes: true},
	{method: "POST", path: "/admin/v1/exports/{name}/rotate", role: admins, answer: (*Server).rotateExport, writes: true, secret: true},
	{method: "GET", path: "/admin/v1/exports/{name}/render", role: viewer, answer: (*Server).renderExport},

	{method: "GET", path: "/admin/v1/audit", role: viewer, answer: (*Server).listAudit},
	{method: "GET", path: "/admin/v1/audit/export", role: viewer, answer: (*Server).exportAudit, large: true},
	{method: "GET", path: "/admin/v1/audit/verify", role: admins, answer: (*Server).verifyAudit, large: true},

	{method: "GET", path: "/admin/v1/activity", role: viewer, answer: (*Server).listActivity},
	{method: "GET", path: "/admin/v1/why", role: viewer, answer: (*Server).why},
	{method: "GET", path: "/admin/v1/rates", role: viewer, answer: (*Server).listRates},
	{method: "GET", path: "/admin/v1/metrics", role: viewer, answer: (*Server).metrics},
	{method: "GET", path: "/admin/v1/config", role: admins, answer: (*Server).config},
	{method: "POST", path: "/admin/v1/backup", role: admins, answer: (*Server).backup, large: true, secret: true},
	{method: "POST", path: "/admin/v1/secret/rotate", role: admins, answer: (*Server).rotateSecret, writes: true},
	{method: "POST", path: "/admin/v1/reload", role: admins, answer: (*Server).reload, writes: true},

	{method: "POST", path: "/admin/v1/verbs/{verb...}", role: viewer, answer: (*Server).verb, large: true, secret: true},
}

// asksInAddress are the routes of the API that take parameters, and refuse those they do not know. To any other, and to
// the forms of pages, none are given: what is asked to be tried only, with dry_run, is not to be done, and what is
// asked to be a part is not to be the whole.
var asksInAddress = map[string]bool{
	"GET /admin/v1/decisions": true, "GET /admin/v1/decisions/export": true, "GET /admin/v1/alerts": true, "GET /admin/v1/alerts/export": true,
	"GET /admin/v1/bouncers": true, "GET /admin/v1/machines": true, "GET /admin/v1/allowlists": true, "GET /admin/v1/operators": true, "GET /admin/v1/exports": true, "GET /admin/v1/exports/{name}/render": true,
	"GET /admin/v1/audit": true, "GET /admin/v1/audit/export": true, "GET /admin/v1/audit/verify": true, "GET /admin/v1/activity": true, "GET /admin/v1/why": true, "GET /admin/v1/rates": true,
	"POST /admin/v1/decisions/import/list": true,
	"DELETE /admin/v1/decisions":           true, "DELETE /admin/v1/decisions/{id}": true, "DELETE /admin/v1/alerts": true, "DELETE /admin/v1/allowlists/{name}": true, "DELETE /admin/v1/allowlists/{name}/items": true,
}

// heedsMatch are the routes of the API that heed If-Match. All others refuse it: who sends it relies on it.
var heedsMatch = map[string]bool{
	"PATCH /admin/v1/bouncers/{name}": true, "PATCH /admin/v1/operators/{name}": true, "PATCH /admin/v1/exports/{name}": true,
}

// mux finds the route. What it has no path for is 404, another method 405.
func (s *Server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, table := range [][]route{routes, s.described(), sitePages} {
		for i := range table {
			r := &table[i]
			mux.Handle(r.method+" "+s.options.BasePath+r.path, s.handler(r))
		}
	}
	mux.HandleFunc("GET "+s.options.BasePath+"/assets/{name}", s.asset)
	mux.HandleFunc("GET "+s.options.BasePath+"/events", s.events)
	if s.options.BasePath != "" {
		mux.Handle("GET "+s.options.BasePath, http.RedirectHandler(s.options.BasePath+"/", http.StatusPermanentRedirect))
	}
	return mux
}
