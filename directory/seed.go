package directory

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// SeedFile is what a seed may hold, in YAML or JSON.
type SeedFile struct {
	Companies []SeedCompany `yaml:"companies"`
}

// SeedCompany is a company with all that belongs to it.
type SeedCompany struct {
	ID             string       `yaml:"id"`
	Name           string       `yaml:"name"`
	Region         string       `yaml:"region"`
	Offices        []SeedPlace  `yaml:"offices"`
	Departments    []SeedPlace  `yaml:"departments"`
	Rooms          []SeedPlace  `yaml:"rooms"`
	ContactCenters []SeedPlace  `yaml:"contact_centers"`
	Users          []SeedUser   `yaml:"users"`
	Numbers        []SeedNumber `yaml:"numbers"`
}

// SeedPlace is an office, department, room or contact center.
type SeedPlace struct {
	ID      string   `yaml:"id"`
	Name    string   `yaml:"name"`
	Office  string   `yaml:"office"`
	Numbers []string `yaml:"numbers"`
}

// SeedUser is a user with numbers and SIP addresses.
type SeedUser struct {
	ID             string   `yaml:"id"`
	Name           string   `yaml:"name"`
	Email          string   `yaml:"email"`
	State          string   `yaml:"state"`
	Office         string   `yaml:"office"`
	Departments    []string `yaml:"departments"`
	ContactCenters []string `yaml:"contact_centers"`
	Numbers        []string `yaml:"numbers"`
	AORs           []string `yaml:"aors"`
}

// SeedNumber is a number that no one of the above has, or whose status needs saying.
type SeedNumber struct {
	Number string     `yaml:"number"`
	Status string     `yaml:"status"`
	Owner  *SeedOwner `yaml:"owner"`
}

// SeedOwner is whom a number is assigned to.
type SeedOwner struct {
	Kind string `yaml:"kind"`
	ID   string `yaml:"id"`
}

// Seed stores what the YAML or JSON file holds and the directory lacks, all of
// it or nothing. What is there already stays as it is, so a seed may be applied
// at every start without undoing what was changed since.
func (d *Directory) Seed(ctx context.Context, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the seed: %w", err)
	}
	s, err := ParseSeed(b)
	if err != nil {
		return err
	}
	return d.ApplySeed(ctx, s)
}

// ParseSeed reads a seed; JSON is read as the YAML that it is. A key that means
// nothing is an error.
func ParseSeed(b []byte) (*SeedFile, error) {
	var s SeedFile
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read the seed: %w", err)
	}
	return &s, nil
}

// ApplySeed is Seed for a seed already read.
func (d *Directory) ApplySeed(ctx context.Context, s *SeedFile) error {
	now := d.now()
	return d.write(ctx, func(tx *sql.Tx) error {
		for i, c := range s.Companies {
			if err := seedCompany(ctx, tx, c, now); err != nil {
				return fmt.Errorf("cannot seed companies[%d].%w", i, err)
			}
		}
		return nil
	})
}

// within puts the place of an error in the seed before its field.
func within(path string, err error) error {
	var f *FieldError
	if errors.As(err, &f) {
		return &FieldError{Field: path + "." + f.Field, Reason: f.Reason, Kind: f.Kind}
	}
	return fmt.Errorf("%s: %w", path, err)
}

func seedCompany(ctx context.Context, tx *sql.Tx, c SeedCompany, now time.Time) error {
	if !idPattern.MatchString(c.ID) {
		return invalid("id", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	if c.Region == "" {
		c.Region = "US"
	}
	known, err := exists(ctx, tx, "SELECT 1 FROM company WHERE id = $1", c.ID)
	if err != nil {
		return err
	}
	if !known {
		if err := insertCompany(ctx, tx, Company{ID: c.ID, Name: c.Name, Region: c.Region, CreatedAt: now}); err != nil {
			return err
		}
		if err := record(ctx, tx, c.ID, now, Change{Action: "company.create", Kind: "company", ID: c.ID}); err != nil {
			return err
		}
	}
	for _, group := range []struct {
		field, kind string
		places      []SeedPlace
	}{
		{"offices", KindOffice, c.Offices},
		{"departments", KindDepartment, c.Departments},
		{"rooms", KindRoom, c.Rooms},
		{"contact_centers", KindContactCenter, c.ContactCenters},
	} {
		for i, s := range group.places {
			at := fmt.Sprintf("%s[%d]", group.field, i)
			p := Place{Kind: group.kind, ID: s.ID, Name: s.Name, Office: s.Office, CreatedAt: now}
			if err := checkPlace(&p); err != nil {
				return within(at, err)
			}
			if p.Office != "" {
				if err := checkOwner(ctx, tx, c.ID, "office", Owner{Kind: KindOffice, ID: p.Office}); err != nil {
					return within(at, err)
				}
			}
			known, err := exists(ctx, tx, "SELECT 1 FROM place WHERE company = $1 AND kind = $2 AND id = $3", c.ID, p.Kind, p.ID)
			if err != nil {
				return within(at, err)
			}
			if !known {
				if err := insertPlace(ctx, tx, c.ID, p); err != nil {
					return within(at, err)
				}
				if err := record(ctx, tx, c.ID, now, Change{Action: p.Kind + ".create", Kind: p.Kind, ID: p.ID}); err != nil {
					return within(at, err)
				}
			}
			if err := seedNumbers(ctx, tx, c, s.Numbers, &Owner{Kind: group.kind, ID: s.ID}, now); err != nil {
				return within(at, err)
			}
		}
	}
	for i, s := range c.Users {
		if err := seedUser(ctx, tx, c, s, now); err != nil {
			return within(fmt.Sprintf("users[%d]", i), err)
		}
	}
	for i, s := range c.Numbers {
		at := fmt.Sprintf("numbers[%d]", i)
		var owner *Owner
		if s.Owner != nil {
			owner = &Owner{Kind: s.Owner.Kind, ID: s.Owner.ID}
			if err := checkOwner(ctx, tx, c.ID, "owner", *owner); err != nil {
				return within(at, err)
			}
		}
		n, err := ParseNumber(s.Number, c.Region)
		if err != nil {
			return within(at, err)
		}
		if n.Status, err = statusFor(s.Status, owner); err != nil {
			return within(at, err)
		}
		n.Owner = owner
		if err := seedNumber(ctx, tx, c.ID, n, now); err != nil {
			return within(at, err)
		}
	}
	return nil
}

func seedUser(ctx context.Context, tx *sql.Tx, c SeedCompany, s SeedUser, now time.Time) error {
	u := User{ID: s.ID, Name: s.Name, Email: s.Email, State: s.State, Office: s.Office, Departments: s.Departments, ContactCenters: s.ContactCenters, AORs: s.AORs}
	if u.State == "" {
		u.State = StateActive
	}
	if err := checkUser(&u); err != nil {
		return err
	}
	known, err := exists(ctx, tx, "SELECT 1 FROM users WHERE company = $1 AND id = $2", c.ID, u.ID)
	if err != nil || known {
		return err
	}
	if err := checkUserRefs(ctx, tx, c.ID, u); err != nil {
		return err
	}
	u = ordered(u)
	if err := insertUser(ctx, tx, c.ID, u, now); err != nil {
		return err
	}
	if err := record(ctx, tx, c.ID, now, userChange("user.create", "", User{ID: u.ID}, u)...); err != nil {
		return err
	}
	if u.State == StateDeleted {
		return nil // owns nothing
	}
	if err := replaceAORs(ctx, tx, c.ID, u.ID, u.AORs); err != nil {
		return err
	}
	if err := replaceMemberships(ctx, tx, c.ID, u); err != nil {
		return err
	}
	return seedNumbers(ctx, tx, c, s.Numbers, &Owner{Kind: KindUser, ID: u.ID}, now)
}

// seedNumbers adds numbers, each a moment after the one before: the first is an
// owner's number to show.
func seedNumbers(ctx context.Context, tx *sql.Tx, c SeedCompany, values []string, owner *Owner, now time.Time) error {
	for i, value := range values {
		n, err := ParseNumber(value, c.Region)
		if err != nil {
			return invalid(fmt.Sprintf("numbers[%d]", i), "is not a valid number")
		}
		n.Status, n.Owner = owner.Kind, owner
		if err := seedNumber(ctx, tx, c.ID, n, now.Add(time.Duration(i)*time.Microsecond)); err != nil {
			return err
		}
	}
	return nil
}

// seedNumber adds a number where the company does not have it.
func seedNumber(ctx context.Context, tx *sql.Tx, company string, n Number, now time.Time) error {
	known, err := exists(ctx, tx, "SELECT 1 FROM number WHERE company = $1 AND number = $2", company, n.Number)
	if err != nil || known {
		return err
	}
	return addNumbers(ctx, tx, company, []Number{n}, "", now)
}
