package directory

import (
	"context"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// NumberBeginning reads an area code and a prefix, either of which may be empty,
// as the digits that E.164 numbers begin with, the country code first. Without +
// they are national digits in the company's region; a prefix beside an area code
// is what follows it.
func (d *Directory) NumberBeginning(ctx context.Context, company, areaCode, prefix string) (string, error) {
	if areaCode == "" && prefix == "" {
		return "", nil
	}
	region, err := companyRegion(ctx, d.db, company)
	if err != nil {
		return "", err
	}
	country := strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))
	area := ""
	if areaCode != "" {
		digits, plus, ok := writtenDigits(areaCode)
		if ok {
			area = nationalDigits(digits, region)
		}
		if !ok || plus || area == "" || len(area) > 5 {
			return "", invalid("area_code", "must be 1 to 5 digits")
		}
	}
	if prefix == "" {
		return country + area, nil
	}
	digits, plus, ok := writtenDigits(prefix)
	switch {
	case !ok:
		return "", invalid("number_prefix", "must be digits")
	case plus && area != "" && !strings.HasPrefix(digits, country+area):
		return "", invalid("number_prefix", "contradicts area_code")
	case plus:
		return digits, nil
	case area != "":
		return country + area + digits, nil
	}
	return country + nationalDigits(digits, region), nil
}

// NumberEnding reads the digits that numbers end in.
func NumberEnding(suffix string) (string, error) {
	if suffix == "" {
		return "", nil
	}
	digits, _, ok := writtenDigits(suffix)
	if !ok {
		return "", invalid("number_suffix", "must be digits")
	}
	return digits, nil
}
