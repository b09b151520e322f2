package directory_test

import (
	"context"
	"errors"
	"testing"

	"github.com/earshot/earshot/directory"
)

func TestNumberBeginning(t *testing.T) {
	onBoth(t, func(t *testing.T, d *directory.Directory) {
		for _, tc := range []struct{ area, prefix, want, field string }{
			{"", "", "", ""},
			{"415", "", "1415", ""},
			{"(415)", "555-01", "141555501", ""},
			{"", "+1 415", "1415", ""},
			{"", "+44 (0)20", "4420", ""},
			{"", "1 415 5", "14155", ""},
			{"", "415555", "1415555", ""},
			{"415", "+1 415 5", "14155", ""},
			{"415", "+44", "", "number_prefix"},
			{"+1", "", "", "area_code"},
			{"234567", "", "", "area_code"},
			{"x", "", "", "area_code"},
			{"", "#", "", "number_prefix"},
		} {
			got, err := d.NumberBeginning(context.Background(), directory.DefaultCompany, tc.area, tc.prefix)
			var field *directory.FieldError
			if errors.As(err, &field) && field.Field == tc.field && errors.Is(err, directory.ErrInvalid) {
				continue
			}
			if err != nil || got != tc.want || tc.field != "" {
				t.Errorf("area code %q, prefix %q: %q, %v; want %q %s", tc.area, tc.prefix, got, err, tc.want, tc.field)
			}
		}
	})
	if got, err := directory.NumberEnding("01-01"); got != "0101" || err != nil {
		t.Errorf("ending: %q, %v", got, err)
	}
	var field *directory.FieldError
	if _, err := directory.NumberEnding("*"); !errors.As(err, &field) || field.Field != "number_suffix" {
		t.Errorf("ending: %v", err)
	}
}
