package verbs

import (
	"time"

	"lapid/transport/admin"
)

// machineObject is a machine in JSON. Names and their order are the
// reference's, in which words are joined in two manners.
type machineObject struct {
	CreatedAt *time.Time `json:"created_at"`
	UpdatedAt *time.Time `json:"updated_at"`
	// LastPush is the creation until the machine pushes for the first time, as in the
	// reference; the others are null or left out for what never was.
	LastPush      *time.Time `json:"last_push,omitempty"`
	LastHeartbeat *time.Time `json:"last_heartbeat,omitempty"`
	ID            string     `json:"machineId"`
	IP            string     `json:"ipAddress"`
	Version       string     `json:"version,omitempty"`
	Validated     bool       `json:"isValidated,omitempty"`
	AuthType      string     `json:"auth_type"`
	OS            string     `json:"os,omitempty"`
	FeatureFlags  []string   `json:"featureflags,omitempty"`
	// DataSources counts the sources of logs by kind, as the machine has told last.
	DataSources map[string]int64 `json:"datasources,omitempty"`
}

// machineObjects are machines as JSON has them; never null.
func machineObjects(ms []admin.Machine) []machineObject {
	out := make([]machineObject, 0, len(ms))
	for i := range ms {
		out = append(out, machineObjectOf(&ms[i]))
	}
	return out
}

// machineObjectOf is one machine as JSON has it.
func machineObjectOf(m *admin.Machine) machineObject {
	o := machineObject{
		CreatedAt: moment(m.CreatedAt), UpdatedAt: moment(m.UpdatedAt), LastPush: moment(m.LastPush),
		LastHeartbeat: moment(m.LastHeartbeat), ID: m.ID, IP: m.IP, Version: m.Version, Validated: m.Validated,
		AuthType: m.AuthType, OS: osText(m.OS), FeatureFlags: m.FeatureFlags,
	}
	if o.LastPush == nil { // as the reference, which dates the first push from the creation
		o.LastPush = o.CreatedAt
	}
	for _, d := range m.DataSources {
		if o.DataSources == nil {
			o.DataSources = map[string]int64{}
		}
		o.DataSources[d.Name] = d.N
	}
	return o
}
