package calls_test

import (
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// A number that is transferred while a call runs was whose it was when the call
// began: what comes later names the new owner, who has no part in this call.
func TestACallInProgressKeepsItsOwner(t *testing.T) {
	alice := &telemetry.Identity{UserId: "alice", Name: "Alice", Number: "+14155550101", OfficeId: "hq"}
	sales := &telemetry.Identity{Name: "Sales", Number: "+14155550101", DepartmentId: "sales"}
	for name, owners := range map[string][2]*telemetry.Identity{"to a department": {alice, sales}, "from a department": {sales, alice}} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.caller, s.callee = owners[0], &telemetry.Identity{Number: "+13125550000"}
			s.answered().talk(2, 10)
			s.caller = owners[1]
			s.reinvite(11, 0, 20, "sendrecv", "sendrecv")
			s.bye(14, 0)
			c := last(t, s.run(20))
			got := c.Target.GetIdentity()
			if want := owners[0]; got.GetUserId() != want.UserId || got.GetDepartmentId() != want.DepartmentId || got.GetName() != want.Name {
				t.Errorf("got %v, want %v\n%s", got, want, explain(c))
			}
		})
	}
}
