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
	writes       bool // it changes something: refused where console.read_only is set
	large        bool // its body may have maxImport bytes, and it may take importWithin
	secret       bool // its answer holds what is shown once
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
	{"POST", "/admin/v1/login", anybody, (*Server).login, false, false, true},
	{"GET", "/login", anybody, (*Server).enterPage, false, false, true},
	{"POST", "/admin/v1/logout", viewer, (*Server).logout, false, false, false},
	{"GET", "/admin/v1/status", viewer, (*Server).status, false, false, false},

	{"GET", "/admin/v1/decisions", viewer, (*Server).listDecisions, false, false, false},
	{"POST", "/admin/v1/decisions", operator, (*Server).addDecision, true, false, false},
	{"DELETE", "/admin/v1/decisions", operator, (*Server).deleteDecisions, true, false, false},
	{"POST", "/admin/v1/decisions/import", operator, (*Server).importDecisions, true, true, false},
	{"GET", "/admin/v1/decisions/{id}", viewer, (*Server).getDecision, false, false, false},
	{"DELETE", "/admin/v1/decisions/{id}", operator, (*Server).deleteDecision, true, false, false},

	{"GET", "/admin/v1/alerts", viewer, (*Server).listAlerts, false, false, false},
	{"GET", "/admin/v1/alerts/{id}", viewer, (*Server).getAlert, false, false, false},
	{"DELETE", "/admin/v1/alerts/{id}", operator, (*Server).deleteAlert, true, false, false},

	{"GET", "/admin/v1/bouncers", viewer, (*Server).listBouncers, false, false, false},
	{"POST", "/admin/v1/bouncers", admins, (*Server).addBouncer, true, false, true},
	{"GET", "/admin/v1/bouncers/{name}", viewer, (*Server).getBouncer, false, false, false},
	{"DELETE", "/admin/v1/bouncers/{name}", admins, (*Server).deleteBouncer, true, false, false},

	{"GET", "/admin/v1/machines", viewer, (*Server).listMachines, false, false, false},
	{"POST", "/admin/v1/machines", admins, (*Server).addMachine, true, false, true},
	{"GET", "/admin/v1/machines/{name}", viewer, (*Server).getMachine, false, false, false},
	{"DELETE", "/admin/v1/machines/{name}", admins, (*Server).deleteMachine, true, false, false},
	{"POST", "/admin/v1/machines/{name}/validate", admins, (*Server).validateMachine, true, false, false},

	{"GET", "/admin/v1/allowlists", viewer, (*Server).listAllowlists, false, false, false},
	{"POST", "/admin/v1/allowlists", admins, (*Server).createAllowlist, true, false, false},
	{"GET", "/admin/v1/allowlists/{name}", viewer, (*Server).getAllowlist, false, false, false},
	{"DELETE", "/admin/v1/allowlists/{name}", admins, (*Server).deleteAllowlist, true, false, false},
	{"POST", "/admin/v1/allowlists/{name}/items", operator, (*Server).addItems, true, false, false},
	{"DELETE", "/admin/v1/allowlists/{name}/items", operator, (*Server).removeItems, true, false, false},

	{"GET", "/admin/v1/operators", admins, (*Server).listOperators, false, false, false},
	{"POST", "/admin/v1/operators", admins, (*Server).addOperator, true, false, true},
	{"GET", "/admin/v1/operators/{name}", admins, (*Server).getOperator, false, false, false},
	{"PATCH", "/admin/v1/operators/{name}", admins, (*Server).editOperator, true, false, false},
	{"DELETE", "/admin/v1/operators/{name}", admins, (*Server).deleteOperator, true, false, false},
	{"POST", "/admin/v1/operators/{name}/tokens", admins, (*Server).grantToken, true, false, true},
	{"DELETE", "/admin/v1/operators/{name}/tokens/{id}", admins, (*Server).revokeToken, true, false, false},

	{"GET", "/admin/v1/exports", viewer, (*Server).listExports, false, false, false},
	{"POST", "/admin/v1/exports", admins, (*Server).addExport, true, false, true},
	{"GET", "/admin/v1/exports/{name}", viewer, (*Server).getExport, false, false, false},
	{"PATCH", "/admin/v1/exports/{name}", admins, (*Server).editExport, true, false, true},
	{"DELETE", "/admin/v1/exports/{name}", admins, (*Server).deleteExport, true, false, false},
	{"POST", "/admin/v1/exports/{name}/rotate", admins, (*Server).rotateExport, true, false, true},
	{"GET", "/admin/v1/exports/{name}/render", viewer, (*Server).renderExport, false, false, false},

	{"GET", "/admin/v1/audit", viewer, (*Server).listAudit, false, false, false},
	{"GET", "/admin/v1/audit/export", viewer, (*Server).exportAudit, false, true, false},
	{"GET", "/admin/v1/audit/verify", admins, (*Server).verifyAudit, false, true, false},

	{"GET", "/admin/v1/why", viewer, (*Server).why, false, false, false},
	{"GET", "/admin/v1/rates", viewer, (*Server).listRates, false, false, false},
	{"GET", "/admin/v1/metrics", viewer, (*Server).metrics, false, false, false},
	{"GET", "/admin/v1/config", admins, (*Server).config, false, false, false},
	{"POST", "/admin/v1/backup", admins, (*Server).backup, false, true, true},
	{"POST", "/admin/v1/reload", admins, (*Server).reload, true, false, false},

	{"POST", "/admin/v1/verbs/{verb...}", viewer, (*Server).verb, false, true, true},
}

// asksInAddress are the writes that take parameters, and refuse those they do not know. To any other
// write none are given: what is asked to be tried only, with dry_run, is not to be done.
var asksInAddress = map[string]bool{
	"DELETE /admin/v1/decisions": true, "DELETE /admin/v1/decisions/{id}": true, "DELETE /admin/v1/allowlists/{name}/items": true,
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
