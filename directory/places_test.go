package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earshot/earshot/directory"
)

func TestPlacesChange(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		applySeed(t, d)
		ctx := directory.WithActor(t.Context(), ann)
		office := must(d.CreatePlace(ctx, "default", directory.Place{Kind: "office", ID: "graz", Name: "Büro Graz"}))(t)
		must(d.CreatePlace(ctx, "default", directory.Place{Kind: "department", ID: "care", Name: "Care", Office: "hq"}))(t)
		name, to, none := " Kundendienst ", "graz", ""
		got := must(d.UpdatePlace(ctx, "default", "department", "care", directory.PlaceChange{Name: &name, Office: &to}))(t)
		if got.Name != "Kundendienst" || got.Office != "graz" {
			t.Errorf("%+v", got)
		}
		if again := must(d.Place(ctx, "default", "department", "care"))(t); again.Name != got.Name || again.Office != got.Office || !again.CreatedAt.Equal(got.CreatedAt) {
			t.Errorf("%+v, stored %+v", got, again)
		}
		must(d.UpdatePlace(ctx, "default", "department", "care", directory.PlaceChange{Name: &name}))(t) // changes nothing: no entry

		nowhere := "nowhere"
		for field, c := range map[string]directory.PlaceChange{"name": {Name: &none}, "office": {Office: &nowhere}} {
			_, err := d.UpdatePlace(ctx, "default", "department", "care", c)
			wantField(t, err, directory.ErrInvalid, field)
		}
		_, err := d.UpdatePlace(ctx, "default", "office", "graz", directory.PlaceChange{Office: &to})
		wantField(t, err, directory.ErrInvalid, "office")

		// What hangs on a place keeps it.
		for id, want := range map[string]string{"hq": "1 member, 1 number, 1 department, 1 room and 1 contact center", "graz": "still has 1 department;"} {
			err := d.DeletePlace(ctx, "default", "office", id)
			wantField(t, err, directory.ErrConflict, "office")
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", id, err, want)
			}
		}
		for _, x := range [][3]string{{"department", "sales", "1 member and 1 number"}, {"contact_center", "help", "1 member and 1 number"}, {"room", "blue", "1 number"}} {
			if err := d.DeletePlace(ctx, "default", x[0], x[1]); err == nil || !strings.Contains(err.Error(), "still has "+x[2]+";") {
				t.Errorf("%s: %v", x[1], err)
			}
		}
		must(d.UpdatePlace(ctx, "default", "department", "care", directory.PlaceChange{Office: &none}))(t)
		for _, x := range [][2]string{{"office", "graz"}, {"department", "care"}} {
			if err := d.DeletePlace(ctx, "default", x[0], x[1]); err != nil {
				t.Error(err)
			}
			if _, err := d.Place(ctx, "default", x[0], x[1]); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("deleted: %v", err)
			}
			if err := d.DeletePlace(ctx, "default", x[0], x[1]); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("deleted twice: %v", err)
			}
		}
		if _, err := d.Place(ctx, "other", "office", "hq"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("another company's: %v", err)
		}
		entries, _, err := d.Journal(ctx, "default", directory.JournalFilter{Kind: "department", Page: directory.Page{Limit: 4}})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range entries {
			if e.Change.ID == "care" {
				told = append(told, fmt.Sprint(e.Change.Action, e.Change.Fields))
			}
		}
		slices.Reverse(told)
		want := []string{
			"department.create[{name  Care} {office  hq}]",
			"department.update[{name Care Kundendienst} {office hq graz}]",
			"department.update[{office graz }]",
			"department.delete[{name Kundendienst } {office  }]",
		}
		if !slices.Equal(told, want) {
			t.Errorf("journal: %q\nwant     %q", told, want)
		}
		if got := actions(t, d, "default", "office"); !slices.Equal(got, []string{"office.create " + office.ID, "office.delete graz"}) {
			t.Errorf("journal: %q", got)
		}
	})
}

// Names are found by any part of them, in any case, a page at a time.
func TestPlacesFind(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := t.Context()
		for i := range 25 {
			must(d.CreatePlace(ctx, "default", directory.Place{Kind: "room", ID: fmt.Sprintf("r%02d", i), Name: fmt.Sprintf("Zimmer %02d", i)}))(t)
			must(d.CreatePlace(ctx, "default", directory.Place{Kind: "room", ID: fmt.Sprintf("x%02d", i), Name: fmt.Sprintf("Äpfel %02d", i)}))(t)
		}
		for q, want := range map[string]int{"": 50, "äPFEL": 25, " ÄPFEL 1": 10, "r0": 10, "%": 0, "x07": 1} {
			n := 0
			f := directory.PlaceFilter{Query: q, Page: directory.Page{Limit: 4}}
			for {
				places, next, err := d.Places(ctx, "default", "room", f)
				if err != nil || len(places) > 4 {
					t.Fatal(len(places), err)
				}
				n += len(places)
				if f.Cursor = next; next == "" {
					break
				}
			}
			if n != want {
				t.Errorf("%q: %d rooms, want %d", q, n, want)
			}
		}
	})
}

func TestUpdateCompany(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx := directory.WithActor(t.Context(), ann)
		must(d.CreateCompany(ctx, directory.Company{ID: "new", Name: "New"}))(t)
		name, region, bad := "Newer", "AT", "XX"
		if got := must(d.UpdateCompany(ctx, "new", directory.CompanyChange{Name: &name, Region: &region}))(t); got.Name != name || got.Region != region {
			t.Errorf("%+v", got)
		}
		if got := must(d.Company(ctx, "new"))(t); got.Name != name || got.Region != region {
			t.Errorf("stored %+v", got)
		}
		_, err := d.UpdateCompany(ctx, "new", directory.CompanyChange{Region: &bad})
		wantField(t, err, directory.ErrInvalid, "region")
		if _, err := d.UpdateCompany(ctx, "nowhere", directory.CompanyChange{Name: &name}); !errors.Is(err, directory.ErrNotFound) {
			t.Error(err)
		}
		if got := actions(t, d, "new", "company"); !slices.Equal(got, []string{"company.create new", "company.update new"}) {
			t.Errorf("journal: %q", got)
		}
	})
}

// Users who are deleted do not keep an office from being deleted, nor are they
// left in one that is not there: they can be changed, and are not in an office
// that gets its id.
func TestADeletedOfficeFreesDeletedUsers(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		ctx, c := t.Context(), withClock(d)
		office := directory.Place{Kind: directory.KindOffice, ID: "north", Name: "North"}
		must(d.CreatePlace(ctx, "default", office))(t)
		for i := range 110 {
			id := fmt.Sprintf("u%03d", i)
			must(d.CreateUser(ctx, "default", directory.User{ID: id, Name: "User " + id, Office: "north"}))(t)
			if err := d.DeleteUser(ctx, "default", id); err != nil {
				t.Fatal(err)
			}
		}
		before := c.t
		c.after(time.Hour)
		if err := d.DeletePlace(ctx, "default", directory.KindOffice, "north"); err != nil {
			t.Fatal(err)
		}
		name := "Renamed"
		if u := must(d.UpdateUser(ctx, "default", "u007", directory.UserChange{Name: &name}))(t); u.Name != name || u.Office != "" || u.State != directory.StateDeleted {
			t.Errorf("%+v", u)
		}
		must(d.CreatePlace(ctx, "default", office))(t)
		if found := must(first(d.Users(ctx, "default", directory.UserFilter{Office: "north"})))(t); len(found) != 0 {
			t.Errorf("%d users are in the new office", len(found))
		}
		if in := must(d.MembershipsAt(ctx, "default", "u007", before))(t); in.Office != "north" {
			t.Errorf("where the user was: %+v", in)
		}

		// One that an older program left in an office that is gone.
		if _, err := d.DB().ExecContext(ctx, "UPDATE users SET office_id = 'south' WHERE company = 'default' AND id = 'u008'"); err != nil {
			t.Fatal(err)
		}
		if u := must(d.UpdateUser(ctx, "default", "u008", directory.UserChange{Name: &name}))(t); u.Name != name || u.Office != "" {
			t.Errorf("%+v", u)
		}
		wrong := "nowhere"
		_, err := d.UpdateUser(ctx, "default", "u009", directory.UserChange{Office: &wrong})
		wantField(t, err, directory.ErrInvalid, "office")
	})
}
