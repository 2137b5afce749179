package admin

import "time"

// OperatorObject is an operator in JSON, as the verbs and the API give it. Moments that never were are null; Tokens is never
// null. Its keys are promised.
type OperatorObject struct {
	Name      string                `json:"name"`
	Role      string                `json:"role"`
	Password  bool                  `json:"password"`
	Disabled  bool                  `json:"disabled"`
	CreatedAt *time.Time            `json:"created_at"`
	UpdatedAt *time.Time            `json:"updated_at"`
	LastLogin *time.Time            `json:"last_login"`
	Tokens    []OperatorTokenObject `json:"tokens"`
}

// OperatorTokenObject is a token of an OperatorObject; ExpiresAt null: never.
type OperatorTokenObject struct {
	ID        uint32     `json:"id"`
	Comment   string     `json:"comment"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// Object is the operator as an OperatorObject.
func (o *Operator) Object() OperatorObject {
	out := OperatorObject{o.Name, o.Role, o.Password, o.Disabled, timeAt(o.CreatedAt), timeAt(o.UpdatedAt), timeAt(o.LastLogin), []OperatorTokenObject{}}
	for i := range o.Tokens {
		t := &o.Tokens[i]
		out.Tokens = append(out.Tokens, OperatorTokenObject{t.ID, t.Comment, timeAt(t.CreatedAt), timeAt(t.ExpiresAt)})
	}
	return out
}
