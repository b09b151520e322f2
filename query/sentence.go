package query

import (
	"fmt"
	"strings"
	"time"
)

// oneWayText says who cannot be heard by whom, since when and how sure that is:
// the sentence that the call's page and its report begin with.
func oneWayText(c *Call) string {
	o := &c.Verdict.OneWayAudio
	switch {
	case c.ConnectedAt.IsZero() && c.State == "live":
		return "The call has not been answered yet."
	case c.ConnectedAt.IsZero():
		return "The call was not answered: there is no audio to judge."
	case o.State == "none":
		return "Both sides could be heard."
	case o.Direction == nil:
		return "One-way audio could not be judged: a direction was not observed long enough."
	}
	when := ""
	if !o.Since.IsZero() {
		from := o.Since.Sub(c.ConnectedAt.Time)
		switch {
		case healed(o):
			when = " from " + offset(from) + " to " + offset(o.Until.Sub(c.ConnectedAt.Time))
		case from < time.Second:
			when = " from the start"
		default:
			when = " since " + offset(from)
		}
	}
	sure := ""
	if o.Confidence != nil {
		sure = fmt.Sprintf(" (%.0f %% sure)", *o.Confidence*100)
	}
	can := map[bool]string{false: "cannot", true: "can probably not"}[o.State == "suspected"]
	speaker, listener := named(c.Target, "the target"), named(c.Contact, "the contact")
	switch *o.Direction {
	case "both":
		probably := map[bool]string{true: "Probably neither"}[o.State == "suspected"]
		if probably == "" {
			probably = "Neither"
		}
		return probably + " side can hear the other" + when + sure + "."
	case "contact_to_target":
		speaker, listener = listener, speaker
	}
	// "the target" begins the sentence; a name is written as it is.
	if s, ok := strings.CutPrefix(speaker, "the "); ok {
		speaker = "The " + s
	}
	return speaker + " " + can + " be heard by " + listener + when + sure + "."
}

// healed says whether audio came back after the span that the state is about.
func healed(o *OneWayAudio) bool {
	for _, s := range o.Spans {
		if s.Healed && s.Since == o.Since && s.Until == o.Until {
			return true
		}
	}
	return false
}

func named(p Party, otherwise string) string {
	switch {
	case p.Name != "" && p.Number != "":
		return p.Name + " (" + p.Number + ")"
	case p.Name != "":
		return p.Name
	case p.Number != "":
		return p.Number
	}
	return otherwise
}

// offset writes a place in a call: 0:06, 1:02:05.
func offset(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
